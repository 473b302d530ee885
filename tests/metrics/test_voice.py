"""The voice activity detector against silero-vad's own output for the same sounds (`make_voice.py`)."""

import json

import numpy as np
import pytest
from make_voice import FILE as GOLDEN
from make_voice import recordings
from safetensors import safe_open

from float_research.metrics import voice
from float_research.metrics.convert_voice import METADATA
from float_research.metrics.voice import (
    CHUNK,
    RATE_HZ,
    silent_frames,
    speech_frames,
    speech_probabilities,
    speech_segments,
)

PUBLISHED = json.loads(GOLDEN.read_text(encoding="utf-8"))
SOUNDS = recordings()


@pytest.mark.parametrize("name", SOUNDS)
def test_probabilities_and_segments_equal_the_original(name: str) -> None:
    found = speech_probabilities(SOUNDS[name])
    np.testing.assert_allclose(found, PUBLISHED[name]["probabilities"], atol=0.01, rtol=0)
    assert np.abs(found - PUBLISHED[name]["probabilities"]).mean() < 3e-4
    segments = [[round(end * RATE_HZ) for end in segment] for segment in speech_segments(SOUNDS[name])]
    assert segments == PUBLISHED[name]["segments"]


def test_the_sounds_have_all_kinds_of_segments() -> None:
    assert [len(PUBLISHED[name]["segments"]) for name in SOUNDS] == [1, 1, 4, 0]


def test_many_chunks_are_computed_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = speech_probabilities(SOUNDS["arctic"])
    monkeypatch.setattr(voice, "AT_ONCE", 7)
    np.testing.assert_allclose(speech_probabilities(SOUNDS["arctic"]), whole, atol=1e-6)


def test_an_empty_or_short_recording_holds_no_speech() -> None:
    assert speech_segments(np.zeros(0, np.float32)) == []
    assert speech_segments(np.zeros(CHUNK // 2, np.float32)) == []


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ("___SSSSSSS_____", []),  # 7 chunks are too short
        ("___SSSSSSSSSS_____", [(3, 13)]),
        ("_SSSSSSSSSS____SSSSSSSSSS", [(1, 25)]),  # 4 silent chunks are no pause
        ("_SSSSSSSSSS-----SSSSSSSSSS_____", [(1, 26)]),  # nor are chunks in doubt
        ("_SSSSSSSSSS_____SSSSSSSSSS_____", [(1, 11), (16, 26)]),
    ],
)
def test_segments_follow_the_rules(
    chunks: str, expected: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S: speech, -: in doubt, _: silence."""
    known = {"S": 0.9, "-": 0.4, "_": 0.1}
    monkeypatch.setattr(voice, "speech_probabilities", lambda sound: np.array([known[letter] for letter in chunks]))
    found = speech_segments(np.zeros(len(chunks) * CHUNK, np.float32))
    assert [(round(begin * RATE_HZ), round(end * RATE_HZ)) for begin, end in found] == [
        (max(0, begin * CHUNK - 480), min(len(chunks) * CHUNK, end * CHUNK + 480)) for begin, end in expected
    ]


def test_frames_of_speech_and_silence() -> None:
    speaking = speech_frames([(0.4, 1.0), (1.3, 1.5)], 50, 25)
    assert np.flatnonzero(~speaking).tolist() == [*range(10), *range(26, 32), *range(38, 50)]
    silent = silent_frames(speaking, 25)
    assert np.flatnonzero(silent).tolist() == [*range(10), *range(38, 50)], "6 frames are less than 0.3 s"
    assert not silent_frames(np.ones(50, bool), 25).any()
    assert silent_frames(np.zeros(50, bool), 25).all()


def test_weights_are_small_and_name_their_source() -> None:
    with safe_open(voice.FILE, framework="pt") as file:
        assert file.metadata() == METADATA
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    assert voice.FILE.stat().st_size < 5e5
