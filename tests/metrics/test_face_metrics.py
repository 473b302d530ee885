"""Face metrics with known results: a real photo, and its points with known changes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from planted import NOBODY, SIZE_PX, moved, photo, plant, still
from subjects import subject, watched

from float_research.errors import UserError
from float_research.landmarks.landmarker import Landmarks
from float_research.landmarks.points import (
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from float_research.metrics.face import Face
from float_research.metrics.identity import Identity
from float_research.metrics.landmark_distance import LandmarkDistance, mean_distance
from float_research.metrics.landmarks import LIPS, eye_distance, read_faces
from float_research.metrics.metric import Frames
from float_research.types import Image

__all__ = ["photo", "still"]
UPPER_LIDS = [*RIGHT_LID_UPPER[1:-1], *LEFT_LID_UPPER[1:-1]]
LOWER_LIDS = [*RIGHT_LID_LOWER[1:-1], *LEFT_LID_LOWER[1:-1]]


def shut(face: Landmarks) -> Landmarks:
    """Returns a face whose upper lids are four fifths of the way down."""
    points = face.points.copy()
    points[:, UPPER_LIDS] += 0.8 * (points[:, LOWER_LIDS] - points[:, UPPER_LIDS])
    return face._replace(points=points)


def test_parts_of_a_clip_show_the_same_face(photo: Image) -> None:
    """Two faces of about the same size, of which the first was larger; the parts are read as one shot is."""
    small = cv2.resize(photo, (230, 230))
    first = np.concatenate([photo, cv2.copyMakeBorder(small, 0, 26, 0, 0, cv2.BORDER_CONSTANT)], axis=1)
    later = np.concatenate([cv2.copyMakeBorder(small, 0, 26, 0, 26, cv2.BORDER_CONSTANT), photo], axis=1)
    carried: dict[Any, Any] = {}
    noses = [read_faces(Frames(np.stack(part), carried)).points[:, 4, 0] for part in ([first], [later] * 9, [later])]
    assert np.concatenate(noses).max() < SIZE_PX, "the face on the left, though the other is larger now"
    assert read_faces(Frames(np.stack([later]))).points[0, 4, 0] > SIZE_PX


def test_a_frozen_face_neither_blinks_nor_turns(photo: Image) -> None:
    found = watched(Face(closed=0.6), [photo] * 12).metrics
    assert found["blinks_per_min"] == 0
    assert (found["yaw_range_deg"], found["mouth_aspect_std"]) == pytest.approx((0, 0), abs=1e-3)
    assert found["face_share"] == 1
    assert found["mouth_aspect_mean"] > 0


def test_planted_blinks_are_counted(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Three blinks in 4 s; a frame without a face within one of them does not split it."""
    shown = [still] * 100
    for frame in (10, 11, 40, 41, 42, 80):
        shown[frame] = shut(still)
    shown[41] = NOBODY
    found = watched(Face(closed=0.6), plant(monkeypatch, shown))
    assert found.metrics["blinks_per_min"] == pytest.approx(3 * 60 / (99 / 25))
    assert found.metrics["face_share"] == 0.99
    assert np.isnan(found.traces["eye_aspect"][41])


def test_a_planted_mouth_is_measured(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    points = still.points.copy()
    points[:, LIPS_INNER_LOWER] = points[:, LIPS_INNER_UPPER]
    width = np.linalg.norm(points[0, LIPS_INNER_LOWER[0]] - points[0, LIPS_INNER_LOWER[-1]])
    opened = moved(still._replace(points=points), LIPS_INNER_LOWER[1:-1], (0, width / 2))
    found = watched(Face(closed=0.6), plant(monkeypatch, [opened] * 10))
    assert found.metrics["mouth_aspect_mean"] == pytest.approx(0.5)
    assert found.metrics["mouth_aspect_std"] == pytest.approx(0)


def test_a_turned_photo_rolls_by_as_much(photo: Image) -> None:
    def turned(degrees: float) -> Image:
        middle = cv2.getRotationMatrix2D((SIZE_PX / 2, SIZE_PX / 2), -degrees, 1)
        return cv2.warpAffine(photo, middle, (SIZE_PX, SIZE_PX), borderMode=cv2.BORDER_REPLICATE)

    found = watched(Face(closed=0.6), [turned(degrees) for degrees in np.linspace(-5, 5, 21)])
    assert found.metrics["roll_range_deg"] == pytest.approx(9, abs=1.5), "5th to 95th percentile"
    assert found.traces["roll_deg"][-1] > found.traces["roll_deg"][0] + 8


def test_the_same_person_is_recognised(photo: Image) -> None:
    clip = subject(4, portrait=photo)
    darker = (photo * 0.8).astype(np.uint8)
    squeezed = cv2.resize(photo, (3 * SIZE_PX // 4, SIZE_PX))
    same = watched(Identity(every_frames=1), [photo] * 4, clip)
    assert same.metrics == pytest.approx({"identity_cosine": 1, "identity_l2": 0}, abs=1e-5)
    like, unlike = (watched(Identity(every_frames=2), [image] * 4, clip) for image in (darker, squeezed))
    assert 0 < like.metrics["identity_l2"] < 0.4
    assert unlike.metrics["identity_l2"] > like.metrics["identity_l2"]
    assert like.metrics["identity_cosine"] > 0.97
    assert np.isfinite(like.traces["identity_l2"]).tolist() == [True, False, True, False]


def test_without_a_face_there_is_no_number(photo: Image) -> None:
    blank = [np.zeros_like(photo)] * 3
    assert watched(Face(closed=0.6), blank).absent["blinks_per_min"] == "a face was found in 0 of 3 frames"
    assert (
        watched(Identity(every_frames=1), blank, subject(3, portrait=photo)).absent["identity_l2"].startswith("a face")
    )
    none = watched(Identity(every_frames=1), [photo], subject(1))
    assert none.absent["identity_cosine"] == "no face was found in the portrait"


def test_landmark_distances_are_in_units_of_the_face(still: Landmarks) -> None:
    points = still.points
    twice = mean_distance(points, 2 * points + 30, range(468))
    assert twice == pytest.approx(0, abs=1e-9), "independent of position and scale"
    opened = moved(still, LIPS[:10], (0, 10)).points
    shares = np.array([10 / 40, 30 / 40])
    assert mean_distance(points, opened, LIPS) == pytest.approx(2 * shares.prod() * 10 / eye_distance(points))


def test_a_video_is_its_own_reference(photo: Image, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    others = [np.roll(photo, 3, axis=1)] * 2

    def found(read: list[Image]) -> Any:
        clip = subject(3, read=lambda path, fps: iter(read))
        return watched(LandmarkDistance(reference=str(tmp_path)), [photo] * 3, clip, batch=2)

    assert found([photo] * 3).metrics == {"landmark_distance": 0, "mouth_landmark_distance": 0}
    assert found(others).metrics["landmark_distance"] < 0.1
    assert np.isnan(found(others).traces["landmark_distance"]).tolist() == [False, False, True]
    assert "a face was found in 0 of 0 frames of both videos" in found([]).absent["landmark_distance"]
    assert "metrics.landmark_distance.reference=PATH" in str(LandmarkDistance(reference=None).lacks())


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"metrics\.face\.closed=1"):
        Face(closed=1.0)
    with pytest.raises(UserError, match=r"metrics\.identity\.every_frames=0"):
        Identity(every_frames=0)
