"""Directions: a planted map is found, and a model's atlas serves the edits of its runs, and of no other."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from filming import film
from PIL import Image as Pictures
from rich.console import Console
from torch import Tensor

from float_research import compose, studies
from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.inference.directions import ReadClip, fit
from float_research.motion.atlas import load_atlas
from float_research.types import Meaning

M = 4
MEANINGS = [Meaning("yaw", "head", "°"), Meaning("jaw", "mouth", "share"), Meaning("teeth", "mouth", "share")]
TINY = "overrides=[model=tiny,checkpoint=random,face=none,trainer.accelerator=cpu,nfe=2]"
EDITS = {
    "scale": ["motion.scale.strength=0.5"],
    "freeze": ["motion.freeze.end_s=0.2"],
    "offset": ["motion.offset.coordinates={0: 0.5}"],
    "smooth": [],
    "blend": ["motion.blend.meanings={jaw: 0.5}"],
    "lips_only": [],
    "calm": ["motion.calm.around=mean"],
    "amplify_lips": [],
    "no_blinks": [],
    "pose": ["motion.pose.yaw=3"],
    "video": ["motion.video.file=VIDEO", "motion.video.take=[head]"],
    "dub": [],
}


def clips(num: int, planted: Tensor, *, noise: float) -> list[ReadClip]:
    """Returns clips in which each person's face is read with an offset, some frames show none, and teeth are unread."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for person in range(num):
        coordinates = torch.randn(60, M, generator=generator, dtype=torch.float64)
        read = coordinates @ planted.T + person + noise * torch.randn(60, 3, generator=generator, dtype=torch.float64)
        read[:5], read[:, 2] = torch.nan, torch.nan
        found.append(ReadClip(coordinates, read))
    return found


def test_a_planted_map_is_found_whatever_the_people() -> None:
    planted = torch.randn(3, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    atlas, absent = fit(clips(7, planted, noise=0.0), [], MEANINGS, "w")
    assert atlas.names == ["yaw", "jaw"]
    assert list(absent) == ["teeth"]
    torch.testing.assert_close(atlas.map, planted[:2])
    torch.testing.assert_close(atlas.r2_within, torch.ones(2).double())
    assert float(atlas.r2.max()) < 0.9, "a new person's offset is not known"
    noisy, _ = fit(clips(7, planted, noise=1.0), [], MEANINGS, "w")
    assert 0.3 < float(noisy.residual[0]) < 1.3
    assert float(noisy.r2_within[0]) < 0.95
    with pytest.raises(UserError, match="saw no face that moves"):
        fit(
            [ReadClip(clip.coordinates, clip.read * torch.nan) for clip in clips(3, planted, noise=0)],
            [],
            MEANINGS,
            "w",
        )


@pytest.fixture(scope="module")
def folder(speech: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas of the tiny model."""
    folder = tmp_path_factory.mktemp("directions")
    told = [TINY, f"audios=[{speech(1.2)},{speech(1.3)}]", "seeds=[0]", f"output={folder}"]
    studies.build_directions(compose.compose_config(told, "directions")).run(Console(quiet=True))
    return folder


def test_it_writes_an_atlas_tables_and_a_picture(folder: Path) -> None:
    atlas = load_atlas(folder / "atlas.safetensors")
    num = len(atlas.mean)
    assert {"yaw", "jaw", "lids"} <= set(atlas.names)
    rows = list(csv.DictReader((folder / "directions.csv").open()))
    assert [row["direction"] for row in rows] == [str(k) for k in range(num)]
    assert set(atlas.names) < rows[0].keys()
    assert len(list(csv.DictReader((folder / "pairs.csv").open()))) == num * (num - 1) // 2
    with Pictures.open(folder / "directions.png") as picture:
        assert picture.size[1] == 96 * num


def content(edits: Sequence[str], folder: Path, speech: Path, output: Path) -> Any:
    overrides = TINY.removeprefix("overrides=[").removesuffix("]").split(",")
    given = [f"data.audio={speech}", f"atlas={folder / 'atlas.safetensors'}", f"output_dir={output}", "metrics=none"]
    return compose.build_job(compose.compose_config([*overrides, *given, *edits])).run(Console(quiet=True))


def test_every_edit_runs_and_says_what_it_changed(
    folder: Path, load: Callable[..., Any], portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    audio = speech(0.6)
    plain = load("nfe=2", f"atlas={folder / 'atlas.safetensors'}", "trainer.accelerator=cpu")
    options = {path.stem for path in (compose.config_folder() / "motion").glob("*.yaml")}
    assert options == {*EDITS, "none"}
    picture = cv2.resize(read_image(portrait, "black"), (64, 64))
    video = film(tmp_path / "drive.mp4", (np.roll(picture, number, axis=1) for number in range(8)))
    motion = plain(portrait, audio).motion
    for option, given in EDITS.items():
        settings = [setting.replace("VIDEO", str(video)) for setting in given]
        edited = plain.using(f"motion={option}", *settings)(video if option == "dub" else portrait, audio).motion
        assert edited.shape == motion.shape
        assert not torch.equal(edited, motion) or option == "no_blinks", option
    together = content(["motion=[calm,smooth]"], folder, audio, tmp_path / "both")["clips"][0]
    assert together["edits"]["names"] == ["calm", "smooth"]
    assert max(together["edits"]["rms"].values()) > 0
    assert together["declared"] == together["measured"], "edits cost no evaluations"


def test_an_atlas_of_other_weights_is_refused(
    folder: Path, load: Callable[..., Any], speech: Callable[[float], Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"atlas .*atlas.safetensors was made from other weights than this run uses"):
        content(["motion=calm", "checkpoint.seed=1"], folder, speech(0.5), tmp_path)
    with pytest.raises(UserError, match="was made from other weights"):
        load("motion=calm")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[]", "seeds=.* must be one or more integers"),
        ("seeds=[a]", "each of seeds=a must be an integer"),
        ("images=[1]", "each of images=1 must be a string"),
    ],
)
def test_invalid_settings_are_told(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        studies.build_directions(compose.compose_config([TINY, override], "directions"))
