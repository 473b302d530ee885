"""Results of the Python API: one line of text, a video in a notebook, metrics, motion files, decoding, encoding."""

import re
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import float_research
from float_research.data.image import to_tensor
from float_research.errors import UserError
from float_research.inference import result as results
from float_research.inference.api import Pipeline
from float_research.inference.inputs import read_portrait
from float_research.inference.result import Result
from float_research.video.reader import probe, read_frames

Load = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def pipeline(load: Load) -> Pipeline:
    return load("nfe=2")


@pytest.fixture(scope="module")
def result(pipeline: Pipeline, portrait: Path, speech: Callable[[float], Path]) -> Result:
    return pipeline(portrait, speech(2.2), id="<b>&'\n")


def test_it_prints_as_one_line(result: Result) -> None:
    assert repr(result) == r"""Result("<b>&'\\n", 55 frames, 2.2 s at 25 fps, 64 × 64 px, 2 evaluations)"""


def test_a_notebook_shows_the_video(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = result._repr_html_()
    found = re.fullmatch(
        r'<video controls src="data:video/mp4;base64,([\w+/=]+)"></video><div><small>(.+)</small></div>', page
    )
    assert found
    (tmp_path / "a.mp4").write_bytes(b64decode(found[1]))
    info = probe(tmp_path / "a.mp4")
    assert (info.num_frames, info.audio_s) == (55, pytest.approx(2.2, abs=0.05))
    assert "&lt;b&gt;&amp;&#x27;" in found[2]
    assert "<b>" not in page
    monkeypatch.setattr(results, "MAX_INLINE_S", 1.0)
    assert "longer than 1 s: save it to watch it" in result._repr_html_()
    assert "<video" not in result._repr_html_()


def test_show_needs_a_notebook(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"show\(\) needs a notebook; elsewhere result\.save"):
        result.show()
    shown: list[Any] = []
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    result.show()
    assert shown == [result]


def test_metrics(result: Result, caplog: pytest.LogCaptureFixture) -> None:
    numbers = result.metrics(["motion", "flicker"])
    assert numbers["motion_amplitude"] > 0
    assert numbers["flicker"] > 0
    assert set(numbers) == set(result.findings(["flicker", "motion"]).metrics)
    found = result.findings(["motion"])
    assert all(len(trace) == 55 for trace in found.traces.values())
    assert 0 < result.metrics(["sampling"])["sampling_error"] < 1
    sharp = result.metrics(["sharpness", "csim"])
    assert set(sharp) == {"sharpness"}
    assert "not measured: csim: needs weights" in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["motio"], r"metrics=motio is unknown \(did you mean motion\?\)"),
        (["motion", "fid"], "fid compares all videos of a run, not one clip"),
        ("motion", r"metrics are a list; give \['motion'\]"),
    ],
)
def test_metrics_that_are_refused(names: Any, message: str, result: Result) -> None:
    with pytest.raises(UserError, match=message):
        result.pipeline.settings.metrics(names) if isinstance(names, str) else result.metrics(names)


def test_motion_is_saved_loaded_and_decoded(
    result: Result, pipeline: Pipeline, portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    path = result.save(tmp_path / "a.motion.safetensors")
    track = float_research.load_motion(path)
    assert torch.equal(track.motion, result.motion)
    assert track.window_starts.tolist() == [0, 50]
    expected = list(result.frames())
    for motion in (path, str(path), track, track.motion, track.motion.numpy()):
        assert np.array_equal(list(pipeline.decode(portrait, motion).frames()), expected)
    silent = pipeline.decode(portrait, track)
    assert repr(silent) == "DecodedClip('decoded', 55 frames, 2.2 s at 25 fps, 64 × 64 px)"
    assert probe(silent.save(tmp_path / "silent.mp4")).audio_s is None
    sound = pipeline.decode(portrait, track, speech(2.2))
    assert probe(sound.save(tmp_path / "sound.mp4")).audio_s == pytest.approx(2.2, abs=0.05)
    with pytest.raises(UserError, match=r"must end in \.mp4, the only supported format"):
        silent.save(tmp_path / "b.motion.safetensors")
    with pytest.raises(UserError, match=r"must end in \.mp4, or in \.motion\.safetensors for its motion"):
        result.save(tmp_path / "b.safetensors")


def test_a_motion_file_has_the_frames_of_the_video(
    pipeline: Pipeline, portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    faster = pipeline.using("video.fps=50")
    result = faster(portrait, speech(2.2))
    track = float_research.load_motion(result.save(tmp_path / "a.motion.safetensors"))
    assert (len(result.motion), len(track.motion), len(track.emotion)) == (55, 110, 110)
    assert np.array_equal(list(faster.decode(portrait, track).frames()), list(result.frames()))


def test_motion_is_encoded(result: Result, pipeline: Pipeline, portrait: Path, tmp_path: Path) -> None:
    crop = read_portrait(pipeline.loader, portrait).crop
    expected = result.clip.conditions.reference[None]
    for frames in ([crop], crop[None], torch.from_numpy(crop).permute(2, 0, 1)[None]):
        torch.testing.assert_close(pipeline.encode_motion(frames), expected, atol=1e-5, rtol=1e-4)
    video = result.save(tmp_path / "a.mp4")
    together = pipeline.encode_motion(video)
    assert together.shape == (55, 32)
    torch.testing.assert_close(pipeline.encode_motion(read_frames(video)), together)
    torch.testing.assert_close(pipeline.encode_motion(video.read_bytes()), together)
    wide = np.concatenate([crop, crop], axis=1)
    with pytest.raises(UserError, match="frames of 128 × 64 pixels are not square; crop them to the face"):
        pipeline.encode_motion([wide], crop=False)
    assert pipeline.encode_motion([wide]).shape == (1, 32), "face=none takes the whole of it"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames to encode"),
        (np.zeros((64, 64, 3), np.uint8), r"frames must be \(n, h, w, 3\) uint8 .*, not \(64, 64, 3\)"),
        ("nothing.mp4", r"video nothing\.mp4 does not exist"),
        (b"mp4", "video of 3 bytes cannot be read"),
    ],
)
def test_frames_that_cannot_be_encoded(frames: Any, message: str, pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match=message):
        pipeline.encode_motion(frames)


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (np.zeros((3, 5), np.float32), r"motion must be \(frames, 32\) for these weights, not \(3, 5\)"),
        (np.full((3, 32), np.nan, np.float32), "not finite"),
        (np.zeros((0, 32), np.float32), r"not \(0, 32\)"),
        ("nothing.motion.safetensors", r"motion file nothing\.motion\.safetensors does not exist"),
    ],
)
def test_motion_that_cannot_be_decoded(motion: Any, message: str, pipeline: Pipeline, portrait: Path) -> None:
    with pytest.raises(UserError, match=message):
        pipeline.decode(portrait, motion)


def test_a_portrait_alone_is_encoded_as_in_a_clip(result: Result, pipeline: Pipeline, portrait: Path) -> None:
    crop = read_portrait(pipeline.loader, portrait).crop
    with pipeline.computing():
        alone = pipeline.core.portrait(to_tensor(crop, 64))
    assert torch.equal(alone.identity, result.clip.identity)
