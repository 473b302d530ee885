"""Face metrics with known results: a real photo, and its landmarks with known changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from subjects import subject, watched

from float_research.data.examples import example
from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.metrics import landmarks
from float_research.metrics.face import Face
from float_research.metrics.head_pose import RIGID, head_pose_deg
from float_research.metrics.identity import Identity
from float_research.metrics.landmark_distance import LandmarkDistance, mean_distance
from float_research.types import Image

SIZE_PX = 256
Plant = Callable[[list[np.ndarray]], list[Image]]


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(read_image(Path(example("photo")), "black")[:SIZE_PX, 96 : 96 + SIZE_PX])


@pytest.fixture(scope="module")
def still(photo: Image) -> np.ndarray:
    return landmarks.points(photo)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, photo: Image) -> Plant:
    """Makes frames show given landmarks, one after the other."""

    def planted(shown: list[np.ndarray]) -> list[Image]:
        remaining = iter(shown)
        monkeypatch.setattr(landmarks, "points", lambda image: next(remaining))
        return [photo] * len(shown)

    return planted


def test_landmarks_are_on_the_face(still: np.ndarray) -> None:
    assert np.isfinite(still).all()
    left, right = still[36:42].mean(0), still[42:48].mean(0)
    assert left[0] < right[0]
    assert still[48:68, 1].mean() > left[1] + 20, "the mouth is below the eyes"
    assert 25 < landmarks.face_size(still[None])[0] < 60


def test_a_frozen_face_neither_blinks_nor_turns(photo: Image) -> None:
    found = watched(Face(closed=0.6), [photo] * 6).metrics
    assert found["blinks_per_min"] == 0
    assert (found["yaw_range_deg"], found["mouth_aspect_std"], found["face_share"]) == (0, 0, 1)
    assert found["mouth_aspect_mean"] > 0


def test_planted_blinks_are_counted(plant: Plant, still: np.ndarray) -> None:
    """Three blinks in 4 s; a frame without a face within one of them does not split it."""
    shut = still.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[upper] = shut[lower] + (still[upper] - still[lower]) * 0.2
    shown = [still] * 100
    for frame in (10, 11, 40, 41, 42, 80):
        shown[frame] = shut
    shown[41] = np.full((68, 2), np.nan)
    found = watched(Face(closed=0.6), plant(shown))
    assert found.metrics["blinks_per_min"] == pytest.approx(3 * 60 / (99 / 25))
    assert found.metrics["face_share"] == 0.99
    assert np.isnan(found.traces["eye_aspect"][41])


def test_a_planted_mouth_is_measured(plant: Plant, still: np.ndarray) -> None:
    opened = still.copy()
    for upper, lower in landmarks.INNER_LIPS:
        opened[lower] = still[upper] + (0, 0.5 * np.linalg.norm(still[60] - still[64]))
    found = watched(Face(closed=0.6), plant([opened] * 10))
    assert found.metrics["mouth_aspect_mean"] == pytest.approx(0.5)
    assert found.metrics["mouth_aspect_std"] == pytest.approx(0)


def projected(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Returns the rigid landmarks of a head turned by these degrees, 60 units away."""
    turn = [cv2.Rodrigues(np.radians(axis))[0] for axis in ([pitch, 0, 0], [0, -yaw, 0], [0, 0, roll])]
    x, y, z = (turn[2] @ turn[1] @ turn[0] @ np.array(list(RIGID.values())).T) + [[1], [2], [60]]
    points = np.zeros((68, 2))
    points[list(RIGID)] = np.stack([x / z, y / z], axis=1) * SIZE_PX + SIZE_PX / 2
    return points


@pytest.mark.parametrize("pose", [(0, 0, 0), (20, 0, 0), (0, -15, 0), (0, 0, 10), (-12, 8, 5)])
def test_a_planted_pose_is_found(pose: tuple[float, float, float]) -> None:
    assert head_pose_deg(projected(*pose), SIZE_PX) == pytest.approx(pose, abs=0.01)


def test_right_and_down_are_positive() -> None:
    """The nostrils are closest to the camera, so they move where the face turns."""
    ahead, turned, bowed = (projected(*pose)[[31, 35]].mean(0) for pose in ((0, 0, 0), (20, 0, 0), (0, 20, 0)))
    eyes = projected(0, 0, 10)[[36, 45]]
    assert turned[0] > ahead[0]
    assert bowed[1] > ahead[1]
    assert eyes[1, 1] > eyes[0, 1], "a head that leans to the right lowers its right eye"


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


def test_landmark_distances_are_in_units_of_the_face(still: np.ndarray) -> None:
    opened = still.copy()
    opened[65:68, 1] += 10
    size = landmarks.face_size(still[None])[0]
    moved = mean_distance(still[None], 2 * still[None] + 30, range(68))
    assert moved == pytest.approx(0, abs=1e-9), "independent of position and scale"
    shares = np.array([3 / 20, 17 / 20])
    assert mean_distance(still[None], opened[None], range(48, 68)) == pytest.approx(2 * shares.prod() * 10 / size)


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
