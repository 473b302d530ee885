"""Lips of planted faces that rest or move where planted speech is silent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from planted import NOBODY, moved, photo, plant, still
from subjects import subject, watched

from float_research.errors import UserError
from float_research.landmarks.landmarker import Landmarks
from float_research.landmarks.points import LIPS_INNER_LOWER, LIPS_INNER_UPPER
from float_research.metrics import silent_lips
from float_research.metrics.landmarks import eye_distance
from float_research.metrics.metric import Findings, Need
from float_research.metrics.silent_lips import SilentLips, speed
from float_research.types import Image

__all__ = ["photo", "still"]
SPEECH = [(0, 0.96)]
"""Frames 0 to 24 of 50 have speech; 25 and 26 are within 0.1 s of it."""


@dataclass(frozen=True)
class Grey:
    """Reads the brightness of a frame as its mouth opening."""

    def __call__(self, portrait: Image, /) -> Callable[[np.ndarray], np.ndarray]:
        return lambda images: images[:, 0, 0, 0] / 255


def measured(
    monkeypatch: pytest.MonkeyPatch, images: list[Image], speech: Sequence[tuple[float, float]] = SPEECH, **clip: Any
) -> Findings:
    monkeypatch.setattr(silent_lips, "speech_segments", lambda sound: list(speech))
    return watched(SilentLips(toy_mouth=Grey(), margin_s=0.1), images, subject(len(images), **clip))


def toy(levels: np.ndarray) -> list[Image]:
    return [np.full((8, 8, 3), value, np.uint8) for value in levels]


def test_a_frozen_mouth_rests_in_silence(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    found = measured(monkeypatch, plant(monkeypatch, [still] * 50))
    assert found.metrics == {"silent_lip_motion": 0, "silence_share": 0.5}
    assert found.absent["silent_lip_motion_share"] == "needs speech in which the lips are seen to move"


def test_a_planted_motion_has_its_speed(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """The mouth opens by 1 % of the eyes' distance from frame to frame and closes again."""
    points = still.points.copy()
    points[:, LIPS_INNER_LOWER] = points[:, LIPS_INNER_UPPER]
    shut = still._replace(points=points)
    ajar, wide = (moved(shut, LIPS_INNER_LOWER, (0, part * eye_distance(points)[0])) for part in (0.01, 0.03))
    shown = [shut, wide] * 12 + [shut] * 3 + [shut, ajar] * 11 + [shut]
    found = measured(monkeypatch, plant(monkeypatch, shown))
    assert found.metrics["silent_lip_motion"] == pytest.approx(25 * 0.01)
    assert found.metrics["silent_lip_motion_share"] == pytest.approx(1 / 3)
    assert found.traces["speech"].tolist() == [1] * 25 + [0] * 25


def test_lips_that_come_to_rest_after_speech_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.zeros(50)
    levels[:25:2], levels[25], levels[26] = 100, 80, 40
    found = measured(monkeypatch, toy(levels), toy=True)
    assert found.metrics["silent_lip_motion"] == 0
    levels[30] = 100
    found = measured(monkeypatch, toy(levels), toy=True)
    assert found.metrics["silent_lip_motion"] == pytest.approx(25 * 2 * 100 / 255 / 22)


def test_what_cannot_be_measured_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    hidden = measured(monkeypatch, plant(monkeypatch, [still] * 24 + [NOBODY] * 26))
    assert hidden.absent["silent_lip_motion"] == "a face was found in 24 of 50 frames"
    spoken = measured(monkeypatch, plant(monkeypatch, [still] * 50), [(0, 2)])
    assert spoken.absent["silent_lip_motion"] == "needs a silence of 0.3 s, and the recording has none"
    assert spoken.metrics == {"silence_share": 0}
    away = measured(monkeypatch, plant(monkeypatch, [still] * 27 + [NOBODY, still] * 11 + [NOBODY]))
    assert away.absent["silent_lip_motion"] == "no two frames in a row show a face in silence"
    no_portrait = measured(monkeypatch, toy(np.zeros(9)), toy=True, missing={Need.PORTRAIT: "none was given"})
    assert no_portrait.absent["silent_lip_motion"] == "needs the portrait, and none was given"


def test_speed_skips_missing_neighbours() -> None:
    opening = np.array([0, 1, np.nan, 5, 7, 0.0])
    assert speed(opening, np.array([True] * 5 + [False]), 10) == pytest.approx(15)
    assert np.isnan(speed(opening, np.zeros(6, bool), 10))


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(UserError, match="margin_s=-1 must be 0 or more"):
        SilentLips(toy_mouth=Grey(), margin_s=-1)
