"""Live sessions: the frames of a whole recording, whatever the blocks in which it comes."""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.parity import relative_error
from float_research.inference.session import LiveFrame, LiveSession

RATE_HZ = 16000
SHORT = {"look_ahead_s": 0.2, "context_s": 0.8}


@pytest.fixture(scope="module")
def pipeline(load: Callable[..., Pipeline]) -> Pipeline:
    return load("solver=euler", "nfe=3", "chunking.window_s=0.4")


@pytest.fixture(scope="module")
def waveform(speech: Callable[[float], Path]) -> np.ndarray:
    """The start of the example recording, 1.51 s: three windows of 0.4 s and a part of one."""
    return soundfile.read(speech(1.51), dtype="float32")[0]


def spoken(session: LiveSession, samples: np.ndarray, size: int) -> Iterator[LiveFrame]:
    """Gives samples in blocks of `size`, then finishes."""
    for start in range(0, len(samples), size):
        yield from session.feed(samples[start : start + size])
    yield from session.finish()


def both(frames: Iterator[LiveFrame]) -> tuple[np.ndarray, torch.Tensor]:
    made = list(frames)
    return np.stack([frame.image for frame in made]), torch.stack([frame.motion for frame in made])


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 11025])
def test_frames_do_not_depend_on_the_blocks(
    pipeline: Pipeline, portrait: Path, waveform: np.ndarray, rate_hz: int
) -> None:
    found = []
    for size in (1, 997, 10 * rate_hz):
        with pipeline.live(portrait, rate_hz=rate_hz, **SHORT) as session:
            found.append(both(spoken(session, waveform[:16000], size)))
    images, motion = found[0]
    assert len(images) == -(-16000 * 25 // rate_hz)
    assert len(np.unique(images, axis=0)) > 1
    for other in found[1:]:
        assert np.array_equal(other[0], images)
        assert torch.equal(other[1], motion)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["stitch=crossfade", "stitch.overlap_frames=4", "noise=correlated", "noise.rho=0.5"],
        ["emotion=keyframes", "emotion.keyframes=[{time_s: 0.0, emotion: sad}, {time_s: 1.0, emotion: happy}]"],
        ["emotion=windowed", "emotion.window_s=0.3", "emotion.hop_s=0.2", "chunking.previous_frames=3"],
        ["video.fps=30"],
        ["video.fps=12"],
    ],
    ids=lambda settings: settings[0] if settings else "default",
)
def test_a_session_that_hears_all_samples_what_a_call_does(
    pipeline: Pipeline, portrait: Path, waveform: np.ndarray, settings: list[str]
) -> None:
    sibling = pipeline.using(*settings)
    whole = sibling(portrait, waveform, rate_hz=RATE_HZ)
    with sibling.live(portrait, rate_hz=RATE_HZ, look_ahead_s=100, context_s=100) as session:
        images, motion = both(chain(session.feed(waveform), session.finish()))
    assert relative_error(motion, whole.track.motion) < 1e-4
    difference = np.abs(images.astype(int) - np.stack(list(whole.frames())))
    assert difference.max() <= 1
    assert session.cost == whole.cost
    assert session.num_frames == len(images)


def test_frames_come_once_their_window_and_the_look_ahead_have(
    pipeline: Pipeline, portrait: Path, waveform: np.ndarray
) -> None:
    with pipeline.live(portrait, rate_hz=RATE_HZ, look_ahead_s=0.2, context_s=0.4) as session:
        assert list(session.feed(waveform[:9600])) == []
        assert len(list(session.feed(waveform[9600:9601]))) == 10
        assert session.heard_s == 9601 / RATE_HZ
        assert len(list(session.finish())) == 6


def test_frames_that_were_not_asked_for_come_later(pipeline: Pipeline, portrait: Path, waveform: np.ndarray) -> None:
    with pipeline.live(portrait, rate_hz=RATE_HZ, **SHORT) as session:
        first = session.feed(waveform)
        next(first)
        assert len(list(session.finish())) == 37
        assert list(first) == []


def test_silence_is_speech_and_memory_is_constant(pipeline: Pipeline, portrait: Path) -> None:
    second, held = np.zeros(RATE_HZ, dtype=np.int16), []
    with pipeline.live(portrait, rate_hz=RATE_HZ, **SHORT) as session:
        motion = []
        for _ in range(8):
            motion += [frame.motion for frame in session.feed(second)]
            held.append(sum(map(len, session._hearing.buffer.blocks)))
    assert len(motion) == 190
    assert torch.stack(motion).std(0).mean() > 1e-3
    assert max(held) <= (0.8 + 0.4 + 0.2) * RATE_HZ + len(second)
    assert held[-1] <= held[2]


def test_an_end_without_speech_has_no_frames(pipeline: Pipeline, portrait: Path) -> None:
    with pipeline.live(portrait, rate_hz=RATE_HZ) as session:
        assert list(session.feed(np.zeros(0, np.float32))) == []
        assert list(session.finish()) == []
    with pipeline.live(portrait, rate_hz=48000) as session:
        assert len([*session.feed(np.zeros(5, np.float32)), *session.finish()]) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate_hz": 100}, "live sound has a sampling rate of 100 Hz, outside "),
        ({"rate_hz": True}, "rate_hz=True must be a whole number of samples per second, such as 16000"),
        ({"look_ahead_s": -1}, "look_ahead_s=-1 must be 0 or more seconds"),
        ({"look_ahead_s": float("nan")}, "look_ahead_s=nan must be 0 or more seconds"),
        ({"context_s": 0.1}, "context_s=0.1 must be 0.4 or more seconds"),
        ({"emotion": "glad"}, "emotion 'glad' is unknown"),
        ({"stitch": "averaged", "chunking.window_s": 2}, "stitch Averaged samples all windows of a clip together"),
        ({"search": "best_of"}, "search BestOf compares whole clips"),
        ({"motion": "smooth"}, "edits of motion are not applied in a live session; use motion=none"),
        ({"composite": "paste"}, "a live session yields the network's frames; use composite=none"),
    ],
)
def test_what_cannot_be_live_is_refused(pipeline: Pipeline, portrait: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        pipeline.live(portrait, **{"rate_hz": RATE_HZ, **given})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (np.full(9, np.nan, np.float32), "a block of samples contains NaN or infinite samples"),
        (np.zeros((2, 9), np.float32), "audio must be one channel of samples, not shape (2, 9)"),
        ([0.0, 0.1], "a block of samples cannot be a list; give an array or a tensor"),
    ],
)
def test_a_bad_block_is_refused_and_costs_nothing(pipeline: Pipeline, portrait: Path, block: Any, said: str) -> None:
    with pipeline.live(portrait, rate_hz=RATE_HZ) as session:
        with pytest.raises(UserError, match=re.escape(said)):
            session.feed(block)
        assert session.heard_s == 0
        assert len([*session.feed(torch.zeros(640)), *session.finish()]) == 1


def test_a_session_that_has_ended_refuses(pipeline: Pipeline, portrait: Path, waveform: np.ndarray) -> None:
    session = pipeline.live(portrait, rate_hz=RATE_HZ, **SHORT)
    left = session.feed(waveform)
    session.close()
    assert list(left) == []
    for act in (session.finish, lambda: session.feed(waveform)):
        with pytest.raises(UserError, match="the live session has ended; open another"):
            act()
