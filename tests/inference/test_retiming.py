"""Motion at the video's frame rate."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from float_research import compose
from float_research.data.audio import listen
from float_research.data.examples import example
from float_research.inference.retiming import Retiming
from float_research.loading import load
from float_research.metrics.track import SUFFIX, load_track
from float_research.types import Cost, MotionWindow
from float_research.video.reader import probe

TINY = ("model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=3")


def retimed(motion: torch.Tensor, lengths: Sequence[int], fps: float) -> list[MotionWindow]:
    total = round(len(motion) * fps / 25)
    retiming, made, start = Retiming(num_frames=len(motion), num_video_frames=total, step=25 / fps), [], 0
    for length in lengths:
        part = motion[start : start + length]
        made.append(retiming(MotionWindow(index=0, start=start, motion=part, cost=Cost(1, 1))))
        start += length
    return made


@pytest.mark.parametrize("fps", [1, 12, 24, 29.97, 30, 50, 60, 240])
@pytest.mark.parametrize("lengths", [[100], [50, 50], [1] * 100, [1, 98, 1], [7, 3, 60, 30]])
def test_motion_is_linear_between_frames_for_any_windows(fps: float, lengths: list[int]) -> None:
    motion = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    windows = retimed(motion, lengths, fps)
    made = torch.cat([window.motion for window in windows]).numpy()
    times = np.arange(len(made)) * 25 / fps
    expected = np.stack([np.interp(times, np.arange(100), column) for column in motion.numpy().T], axis=1)
    assert np.allclose(made, expected)
    assert abs(len(made) / fps - 4) <= 0.5 / fps
    starts = np.cumsum([0, *(len(window.motion) for window in windows)])[:-1]
    assert [window.start for window in windows] == starts.tolist()
    assert len(windows[-1].motion), "a clip ends with its last window"


def test_the_models_rate_leaves_motion_unchanged() -> None:
    motion = torch.randn(100, 3)
    assert all(window.motion is not None for window in retimed(motion, [50, 50], 25))
    assert torch.equal(torch.cat([window.motion for window in retimed(motion, [50, 50], 25)]), motion)


@pytest.mark.parametrize(("fps", "frames"), [(24, 96), (29.97, 120), (60, 240)])
def test_a_video_has_its_own_rate_and_the_same_length(fps: float, frames: int, tmp_path: Path) -> None:
    pipeline = load([*TINY, f"video.fps={fps}"])
    result = pipeline(example("portrait"), example("speech"))
    info = probe(result.save(tmp_path / "a.mp4"))
    assert (info.num_frames, info.fps) == (frames, pytest.approx(fps, abs=1e-4))
    assert info.video_s == pytest.approx(4, abs=1 / fps)
    assert info.audio_s == pytest.approx(4, abs=1 / fps)
    assert len(result.motion) == 100
    assert sum(1 for _ in pipeline.stream(example("portrait"), example("speech"))) == frames


def test_frames_between_model_frames_show_interpolated_motion(tmp_path: Path) -> None:
    """They are neither blended nor repeated; the sound is unchanged."""
    clip = example("portrait"), example("speech")
    usual, twice = load(TINY)(*clip), load([*TINY, "video.fps=50"])(*clip)
    assert torch.equal(usual.motion, twice.motion)
    with torch.inference_mode():
        between = torch.lerp(usual.motion[:4], usual.motion[1:5], 0.5)
        decoded = torch.cat(list(usual.pipeline.core.frames(usual.clip, between))).numpy()
    frames = list(islice(twice.frames(), 8))
    assert np.array_equal(frames[1::2], decoded)
    assert np.array_equal(frames[::2], list(islice(usual.frames(), 4)))
    spoken = [listen(result.save(tmp_path / "a.mp4"), 48000).waveform for result in (usual, twice)]
    assert np.array_equal(*spoken)


def test_a_run_renders_videos_at_the_chosen_rate(tmp_path: Path) -> None:
    """All files beside them use the frames of the video."""
    cfg = compose.compose_config([*TINY, "video.fps=50", "metrics=[motion]", f"output_dir={tmp_path}"])
    (clip,) = compose.build_job(cfg).run(Console(quiet=True))["clips"]
    assert (clip["num_frames"], probe(tmp_path / clip["video"]).num_frames) == (200, 200)
    track = load_track((tmp_path / clip["video"]).with_suffix(SUFFIX))
    assert len(track.motion) == len(track.emotion) == 200
