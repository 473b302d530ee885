"""The Python API."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir, version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from packaging.version import Version
from PIL import Image as PillowImage

import float_research
from float_research.data.audio import listen
from float_research.data.clips import ClipLoader
from float_research.data.examples import example
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.stopwatch import Stopwatch
from float_research.types import Clip
from float_research.video.reader import probe

Load = Callable[..., Pipeline]
Speech = Callable[[float], Path]


def test_the_three_line_example(portrait: Path, speech: Speech, tmp_path: Path) -> None:
    pipeline = float_research.load(
        overrides=["model=tiny", "checkpoint=random", "face=none", "solver=midpoint", "nfe=3"]
    )
    result = pipeline(str(portrait), str(speech(1.0)))
    result.save(tmp_path / "out.mp4")
    info = probe(tmp_path / "out.mp4")
    assert info.num_frames == len(result.motion) == 25
    assert info.audio_s == pytest.approx(1, abs=0.04)
    assert result.cost == result.declared
    assert result.cost.evaluations == 4
    assert sum(result.emotion.values()) == pytest.approx(1)


def test_the_video_has_the_sound_that_the_model_uses(load: Load, portrait: Path, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(example("speech"), dtype="float32")
    soundfile.write(tmp_path / "a.wav", np.stack([samples, -samples], axis=1), rate_hz)
    result = load("nfe=2")(portrait, tmp_path / "a.wav")
    heard = listen(result.save(tmp_path / "a.mp4"), rate_hz)
    assert heard.facts["channels"] == 1, "the channel that was used, because both cancel each other"
    assert np.corrcoef(heard.waveform[: len(samples)], samples)[0, 1] > 0.95


def test_loading_restores_the_callers_hydra(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    environment, place = dict(os.environ), Path.cwd()
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        HydraConfig.instance().set_config(compose("mine", return_hydra_config=True))
        run, stored = HydraConfig.get(), deepcopy(ConfigStore.instance().repo)
        hydra = GlobalHydra.instance().hydra
        float_research.load(["model=tiny", "checkpoint=random", "face=none"])
        assert GlobalHydra.instance().hydra is hydra
        assert compose("mine", overrides=["a=2"]).a == 2
        assert version.getbase() == Version("1.2")
        assert HydraConfig.get() is run
        assert ConfigStore.instance().repo == stored
    assert (dict(os.environ), Path.cwd()) == (environment, place)
    with pytest.raises(UserError, match=r"unknown setting nfee \(did you mean nfe\?\)"):
        float_research.load(["nfee=3"])
    assert not GlobalHydra.instance().is_initialized()


def test_frames_are_lazy_and_repeatable(load: Load, portrait: Path, speech: Speech) -> None:
    result = load("nfe=3", "decoding.frames_per_batch=4")(portrait, speech(0.4))
    frames = result.frames()
    first = next(frames)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert 1 + len(list(frames)) == 10
    assert np.array_equal(next(result.frames()), first)


def test_paths_arrays_and_tensors_are_the_same_clip(load: Load, portrait: Path, speech: Speech) -> None:
    pipeline, path = load("nfe=3"), speech(0.6)
    pixels = np.asarray(PillowImage.open(portrait).convert("RGB"))
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 16000
    expected = pipeline(portrait, path).motion
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    for image in (pixels, tensor, tensor / 255):
        for audio in (samples, torch.from_numpy(samples)[None], (samples * 32767).round().astype(np.int16)):
            torch.testing.assert_close(pipeline(image, audio, rate_hz=rate_hz).motion, expected, atol=2e-4, rtol=1e-3)
    fast = np.repeat(samples, 2)
    assert len(pipeline(pixels, fast, rate_hz=32000).motion) == len(expected)


def test_an_emotion_can_be_given_for_a_clip(load: Load, portrait: Path, speech: Speech) -> None:
    result = load("nfe=3")(portrait, speech(0.4), emotion="fear")
    assert result.emotion["fear"] == 1
    with pytest.raises(UserError, match="'dread' is unknown"):
        load("nfe=3")(portrait, speech(0.4), emotion="dread")


@pytest.mark.parametrize(
    ("image", "audio", "message"),
    [
        (np.zeros((8, 8), np.uint8), None, r"\(h, w, 3\) uint8"),
        (np.zeros((8, 8, 3)), None, "float64"),
        (None, np.zeros((2, 16000), np.float32), "one channel"),
        (None, np.zeros(16000, np.float32), "silent"),
        (None, np.full(16000, np.nan, np.float32), "NaN"),
        (None, np.ones(10, np.float32), "less than one frame"),
    ],
)
def test_invalid_inputs_are_rejected(image: Any, audio: Any, message: str, load: Load, portrait: Path) -> None:
    with pytest.raises(UserError, match=message):
        rate_hz = None if audio is None else 16000
        pipeline = load("nfe=3")
        pipeline(portrait if image is None else image, example("speech") if audio is None else audio, rate_hz=rate_hz)


def test_only_mp4_is_written(load: Load, portrait: Path, speech: Speech, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.mp4"):
        load("nfe=3")(portrait, speech(0.2)).save(tmp_path / "out.avi")


def test_batches_of_clips_give_the_frames_of_single_clips(load: Load, portrait: Path, speech: Speech) -> None:
    """In float32 to 1e-5: batched or single, with independent noise."""
    pipeline = load("nfe=4", "noise=independent")
    loader: ClipLoader = pipeline.loader
    loaded = [loader(Clip(id=str(s), image=portrait, audio=speech(s))) for s in (2.3, 4.4, 0.5)]
    with torch.inference_mode():
        prepared = [pipeline.core.prepare(clip, Stopwatch(pipeline.device)) for clip in loaded]
        motion: list[list[torch.Tensor]] = [[] for _ in prepared]
        for window in pipeline.core.motion(prepared, Stopwatch(pipeline.device)):
            motion[window.index].append(window.motion)
        decode = pipeline.core.model.motion_autoencoder.decode
        for clip, windows in zip(prepared, motion, strict=True):
            alone = torch.cat([window.motion for window in pipeline.core.motion([clip], Stopwatch(pipeline.device))])
            together = torch.cat(windows)
            frames = [decode(clip.features, clip.identity + m) for m in (alone, together)]
            torch.testing.assert_close(frames[0], frames[1], atol=1e-5, rtol=0)


@pytest.mark.gpu
def test_gpu_and_cpu_motion_agree(load: Load, portrait: Path, speech: Speech) -> None:
    expected = load("nfe=4", "trainer.accelerator=cpu")(portrait, speech(2.5)).motion
    torch.testing.assert_close(load("nfe=4")(portrait, speech(2.5)).motion.cpu(), expected, atol=1e-3, rtol=1e-2)
