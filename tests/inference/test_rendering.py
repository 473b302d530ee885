"""Saved motion: rendered again it gives the same bytes, on other portraits another video, and edited anew."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.processes import script
from rich.console import Console
from safetensors.torch import load_file, save_file

from float_research import compose
from float_research.data.examples import example
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.rendering import MotionRendering
from float_research.motion.edit import Freeze, Scale
from float_research.tracking.record import read_mapping

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
SUFFIX = ".motion.safetensors"
Load = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def spoken(speech: Callable[[float], Path]) -> Path:
    return speech(3.0)


@pytest.fixture(scope="module")
def run(spoken: Path, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the videos of a run at another frame rate, of two windows."""
    folder = tmp_path_factory.mktemp("run")
    given = [f"data.audio={spoken}", f"data.image={portrait}", "nfe=2", "metrics=none", "video.fps=30", "name=a"]
    compose.build_job(compose.compose_config([*TINY, *given, f"output_dir={folder}"])).run(Console(quiet=True))
    return folder / "videos"


def test_a_motion_is_rendered_again_with_any_portrait(
    load: Load, run: Path, spoken: Path, portrait: Path, tmp_path: Path
) -> None:
    rendering = MotionRendering(
        load=lambda: load("video.fps=30"),
        motions=[run / f"a{SUFFIX}"],
        images=[portrait, Path(example("portrait"))],
        audio=spoken,
        output=tmp_path,
    )
    first, second = rendering.run(lambda line: None)["videos"]
    assert (tmp_path / first["video"]).with_suffix(SUFFIX).read_bytes() == (run / f"a{SUFFIX}").read_bytes()
    assert first["edits"] is None
    assert (tmp_path / second["video"]).read_bytes() != (run / "a.mp4").read_bytes()


def test_the_command_renders_motions(run: Path, portrait: Path, tmp_path: Path) -> None:
    settings = [*TINY, "video.fps=30", "--output", str(tmp_path)]
    ended = script("render", [str(run / f"a{SUFFIX}"), "--image", str(portrait), *settings], run)
    assert ended.code == 0, ended.error
    (made,) = read_mapping(tmp_path / "render.json")["videos"]
    assert (tmp_path / made["video"]).is_file()


def test_it_is_edited_anew(load: Load, run: Path, portrait: Path, tmp_path: Path) -> None:
    rendering = MotionRendering(
        load=lambda: load("video.fps=30", "motion=scale", "motion.scale.strength=0"),
        motions=[run / f"a{SUFFIX}"],
        images=[portrait],
        audio=None,
        output=tmp_path,
    )
    told = rendering.run(lambda line: None)
    motion = load_file(tmp_path / f"{portrait.stem}-a{SUFFIX}")
    coordinates = motion["motion"] @ motion["directions"]
    torch.testing.assert_close(coordinates, coordinates[:1].expand_as(coordinates), rtol=0, atol=1e-5)
    assert told["videos"][0]["edits"]["names"] == ["scale"]


def test_the_frames_are_those_of_the_run(load: Load, run: Path, spoken: Path, portrait: Path) -> None:
    """Frames, not files: x264 does not always encode the same frames of 64 pixels to the same bytes."""
    pipeline = load("nfe=2", "video.fps=30")
    result = pipeline(portrait, spoken, id=read_mapping(run / "a.json")["id"])
    again = pipeline.decode(portrait, run / f"a{SUFFIX}")
    assert list(again.window_starts) == list(result.window_starts)
    assert len(again.window_starts) == 2
    for one, other in zip(result.frames(), again.frames(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_edits_are_callables(load: Load, run: Path, portrait: Path, spoken: Path) -> None:
    pipeline = load("nfe=2")
    motion = pipeline(portrait, spoken).motion
    assert torch.equal(pipeline.edit(motion), motion)
    still = Scale(directions=None, strength=0, around="mean")
    frozen = pipeline.edit(motion, still, Freeze(directions=None, start_s=0, end_s=None, strength=1), image=portrait)
    q = pipeline.core.directions
    torch.testing.assert_close(frozen @ q, (motion @ q).mean(0).expand(len(motion), -1), rtol=1e-4, atol=1e-4)
    scaled = pipeline.using("motion=scale", "motion.scale.strength=0")
    torch.testing.assert_close(scaled.edit(motion, image=portrait), scaled(portrait, spoken).motion)
    assert scaled(portrait, spoken).findings(["sampling"]).absent


def test_bad_motions_are_told_in_a_sentence(
    load: Callable[..., Pipeline], run: Path, portrait: Path, tmp_path: Path
) -> None:
    wide = load_file(run / f"a{SUFFIX}")
    extra = torch.zeros(wide["motion"].shape[1], 4)
    wide["directions"] = torch.cat([wide["directions"], torch.zeros(4, wide["directions"].shape[1])])
    wide["motion"] = torch.cat([wide["motion"], wide["motion"] @ extra], 1)
    save_file(wide, tmp_path / f"wide{SUFFIX}")
    with pytest.raises(UserError, match=r"motion must be \(frames, \d+\) for these weights, not \(90, \d+\)"):
        load().decode(portrait, tmp_path / f"wide{SUFFIX}")
    for arguments, message in {
        (str(tmp_path / f"none{SUFFIX}"), "--image", str(portrait)): "does not exist",
        ("motion=calm", "--image", str(portrait)): "give a motion",
        (str(run / f"a{SUFFIX}"), "--image", str(portrait), str(portrait)): "two videos would be called",
    }.items():
        ended = script("render", [*arguments], tmp_path)
        assert ended.code != 0
        assert message in ended.error
