"""Models and outputs are reused only if everything they depend on is equal."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from float_research import cache, compose
from float_research.cache import Cache
from float_research.data.cropping import Box
from float_research.data.examples import example
from float_research.data.face import Dlib, Mtcnn, NoCrop, Sfd
from float_research.errors import UserError
from float_research.inference import reuse
from float_research.inference.api import Pipeline
from float_research.models.checkpoint import Random, parameter_shapes
from float_research.types import Clip, Image

BASE = ("model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "output_dir=out")


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    reuse.forget_models()


def loaded(*overrides: str) -> tuple[Any, bool]:
    job = compose.build_job(compose.compose_config([*BASE, *overrides]))
    return reuse.loaded_model(job.build_model, job.checkpoint, job.config)


@pytest.mark.parametrize("override", ["nfe=20", "solver=rk4", "seed=3", "guidance.audio.scale=3", "noise=independent"])
def test_sampling_settings_share_a_model(override: str) -> None:
    first, reused = loaded()
    assert not reused
    second, reused = loaded(override)
    assert reused
    assert second is first


@pytest.mark.parametrize(
    "override",
    ["checkpoint.seed=1", "model.fmt.depth=1", "chunking.attention_window=3", "trainer.precision=bf16-true"],
)
def test_changed_dependencies_load_another_model(override: str) -> None:
    first, _ = loaded()
    second, reused = loaded(override)
    assert not reused
    assert second is not first


def test_weights_that_change_on_disk_are_reloaded(tmp_path: Path) -> None:
    job = compose.build_job(compose.compose_config(list(BASE)))
    with torch.device("meta"):
        shapes = parameter_shapes(job.build_model())
    file = tmp_path / "weights.safetensors"
    here = ["checkpoint=unified", f"checkpoint.file={file}"]
    save_file(Random(seed=0).tensors(shapes), file)
    first, _ = loaded(*here)
    assert loaded(*here) == (first, True)
    save_file(Random(seed=1).tensors(shapes), file)
    assert loaded(*here)[1] is False
    file.unlink()
    with pytest.raises(UserError, match="does not exist"):
        loaded(*here)


def test_at_most_max_models_are_kept() -> None:
    for seed in range(reuse.MAX_MODELS + 2):
        loaded(f"checkpoint.seed={seed}")
    assert loaded("checkpoint.seed=0")[1] is False, "the oldest was evicted"
    assert loaded(f"checkpoint.seed={reuse.MAX_MODELS + 1}")[1] is True


def test_a_run_does_not_change_its_model(portrait: Path, speech: Any, tmp_path: Path) -> None:
    inputs = [f"data.image={portrait}", f"data.audio={speech(0.5)}", "nfe=3", f"output_dir={tmp_path}"]
    for reused in (False, True):
        content = compose.build_job(compose.compose_config([*BASE[:-1], *inputs])).run(Console(quiet=True))
        assert content is not None
        assert content["model_reused"] is reused
    used, _ = loaded()
    reuse.forget_models()
    fresh, _ = loaded()
    for (name, value), (_, original) in zip(used.state_dict().items(), fresh.state_dict().items(), strict=True):
        assert torch.equal(value, original), name
    assert used.training is fresh.training is False
    assert {parameter.requires_grad for parameter in used.parameters()} == {False}


AUDIO, EMOTION, IMAGE = ALL = ["audio_encoder", "emotion_encoder", "motion_autoencoder"]
SAMPLING = ("nfe=3", "solver=midpoint", "seed=3", "guidance=none", "noise=independent", "decoding.frames_per_batch=3")


@pytest.fixture
def reused(portrait: Path, speech: Any, tmp_path: Path) -> Callable[..., list[str]]:
    """Returns the outputs that a run in a new process reuses from earlier runs."""
    threads, audio = torch.get_num_threads(), speech(0.5)
    inputs = [f"data.image={portrait}", f"data.audio={audio}", "nfe=2", f"cache.folder={tmp_path / 'cache'}"]

    def run(*overrides: str) -> list[str]:
        cache.forget()
        config = compose.compose_config([*BASE[:-1], *inputs, f"output_dir={tmp_path / 'run'}", *overrides])
        try:
            content = compose.build_job(config).run(Console(quiet=True))
        finally:
            torch.set_num_threads(threads)
        assert content is not None
        return content["clips"][0]["reused"]

    assert run() == []
    assert run() == ALL
    return run


def test_sampling_settings_share_network_outputs(reused: Callable[..., list[str]]) -> None:
    for override in SAMPLING:
        assert reused(override) == ALL, override


def test_changed_inputs_are_recomputed(reused: Callable[..., list[str]], speech: Any) -> None:
    assert reused(f"data.audio={speech(0.6)}") == [IMAGE]
    assert reused(f"data.image={example('portrait')}") == [AUDIO, EMOTION]
    assert reused("emotion=label", "emotion.label=happy") == [AUDIO, IMAGE]
    assert reused("emotion=windowed", "emotion.window_s=0.3") == [AUDIO, IMAGE]


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ("checkpoint.seed=1", []),
        ("trainer.precision=bf16-true", []),
        ("trainer.precision=bf16-mixed", []),
        ("model.motion_autoencoder.num_directions=3", [AUDIO, EMOTION]),
        ("model.audio_encoder.only_last_features=true", [EMOTION, IMAGE]),
        ("model.emotion_encoder.segment_frames=9", [AUDIO, IMAGE]),
        ("chunking.attention_window=3", ALL),
    ],
)
def test_changed_dependencies_are_recomputed(override: str, kept: list[str], reused: Callable[..., list[str]]) -> None:
    assert reused(override) == kept
    assert reused(override) == ALL


def test_outputs_of_other_devices_and_code_are_not_reused(
    reused: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reused(f"threads={torch.get_num_threads() + 1}") == []
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "code", lambda *modules: "edited")
        assert reused() == []
    assert reused() == ALL


def test_frames_are_the_same_with_and_without_reuse(
    load: Callable[..., Pipeline], portrait: Path, speech: Any, tmp_path: Path
) -> None:
    made, audio = [], speech(0.5)
    for cached in ("cache=none", f"cache.folder={tmp_path}", f"cache.folder={tmp_path}"):
        cache.forget()
        result = load(cached, "nfe=3")(portrait, audio)
        made.append((result.motion, torch.from_numpy(np.stack(list(result.frames())))))
    assert result.clip.reused == ALL
    for motion, frames in made[1:]:
        assert torch.equal(motion, made[0][0])
        assert torch.equal(frames, made[0][1])


class WholeImage(Mtcnn):
    """Detects one face that fills the image."""

    def detect(self, image: Image) -> list[Box]:
        return [Box(0, 0, *image.shape[1::-1], score=1)]


def test_a_crop_depends_on_every_face_setting(portrait: Path, tmp_path: Path) -> None:
    face = WholeImage(margin=1.6, min_score=0.5, select="first")
    base = dataclasses.replace(
        compose.build_loader(compose.compose_config(list(BASE))),
        cache=Cache(folder=str(tmp_path / "cache"), memory_mb=0, disk_mb=9),
        face=face,
    )
    (tmp_path / "other.png").write_bytes(portrait.read_bytes() + b"0")
    clip = Clip(id="a", image=portrait, audio=portrait)
    clips = [
        dataclasses.replace(clip, image=tmp_path / "other.png"),
        dataclasses.replace(clip, crop=(0, 0, 20, 20)),
        dataclasses.replace(clip, crop=(0, 0, 20, 21)),
        dataclasses.replace(clip, face=0),
    ]
    loaders = [
        base,
        dataclasses.replace(base, background="white"),
        dataclasses.replace(base, image_size=32),
        dataclasses.replace(base, face=NoCrop()),
        dataclasses.replace(base, face=dataclasses.replace(face, margin=2.0)),
        dataclasses.replace(base, face=dataclasses.replace(face, min_score=0.6)),
        dataclasses.replace(base, face=dataclasses.replace(face, select="largest")),
    ]
    for _ in range(2):
        for loader in loaders:
            loader.portrait(clip)
        for other in clips:
            base.portrait(other)
        assert len(list(tmp_path.rglob("*.safetensors"))) == len(loaders) + len(clips)


def test_a_crop_depends_on_the_detector_and_its_weights(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"margin": 1.6, "min_score": 0.5, "select": "first"}
    weights = tmp_path / "weights"
    states = [Sfd(**settings, weights=str(weights)).state]
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        states.append(Sfd(**settings, weights=str(weights)).state)
    states += [Dlib(**settings).state, Mtcnn(**settings).state]
    assert len({str(state) for state in states}) == 5
