"""Faces, points and pose of pictures and shots: against MediaPipe's (`make_golden.py`), and under known motions."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from float_research.landmarks import heap, regions
from float_research.landmarks import points as names
from float_research.landmarks.landmarker import FaceLandmarker
from float_research.landmarks.pose import angles_deg, fit_pose, procrustes
from float_research.metrics.precision import computing_in
from landmarks.pictures import ADMIRAL, ASTRONAUT, picture

GOLDEN = Path(__file__).parents[1] / "data" / "landmarks" / "golden.safetensors"
WHOLE = {"astronaut": ASTRONAUT, "admiral": ADMIRAL}


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(torch.device("cpu"))


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    return {name: value.astype(float) for name, value in load_file(GOLDEN).items()}


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return picture(ASTRONAUT)


def moved(
    image: np.ndarray, *, angle_deg: float = 0, scale: float = 1, right: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the astronaut turned about her face, in 384 px, and the map from the picture's pixels."""
    centre = 224, 120
    there = cv2.getRotationMatrix2D(centre, angle_deg, scale)
    there[:, 2] += np.array([192 + right, 192]) - centre
    return cv2.warpAffine(image, there, (384, 384)), there


@pytest.mark.parametrize("name", WHOLE)
def test_a_picture_is_seen_as_by_mediapipe(
    name: str, landmarker: FaceLandmarker, golden: Mapping[str, np.ndarray]
) -> None:
    image, true = picture(WHOLE[name]), golden[f"whole.{name}.points"]
    points, scores = landmarker.faces(image)
    assert scores.shape == (1,)
    away = np.abs(points[0] - true).max(axis=0)
    assert (away < [0.1, 0.1, 1.0]).all(), "the detector's boxes differ by rounding, to which depth is most sensitive"
    described = landmarker._described(true[None], np.ones(1), image.shape[:2])
    np.testing.assert_allclose(described.blendshapes[0], golden[f"whole.{name}.blendshapes"], atol=1e-3)
    np.testing.assert_allclose(described.pose[0], golden[f"whole.{name}.pose"], atol=1e-3)
    turned = angles_deg(described.pose) - angles_deg(golden[f"whole.{name}.pose"][None])
    assert np.abs(turned).max() < 0.01


def test_points_follow_a_known_motion(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    times = np.arange(12) / 25
    made = [
        moved(astronaut, angle_deg=12 * np.sin(4 * t), scale=1.2 + 0.1 * t, right=20 * np.sin(5 * t)) for t in times
    ]
    seen = landmarker.landmarks(np.stack([image for image, _ in made]))
    assert seen.found.all()
    back = [
        (at[:, :2] - there[:, 2]) @ np.linalg.inv(there[:, :2]).T
        for at, (_, there) in zip(seen.points, made, strict=True)
    ]
    away = np.linalg.norm(back - np.mean(back, axis=0), axis=-1)
    assert away.mean() < 0.5, "pixels of the picture, in which the face is 90 wide"
    roll = angles_deg(seen.pose)[:, 2]
    turned = -12 * np.sin(4 * times)  # OpenCV turns to the left
    np.testing.assert_allclose(roll - roll[0], turned - turned[0], atol=1.0)


def test_a_batch_sees_what_tracking_frame_by_frame_sees(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    frames = np.stack([moved(astronaut, right=2 * k, scale=1.5)[0] for k in range(11)])
    points = landmarker.landmarks(frames).points
    one, _ = landmarker._look(frames[:1])
    for frame, many in zip(frames, points, strict=True):
        one = landmarker._read(frame[None], regions.from_points(one))
        assert np.linalg.norm(one[0, :, :2] - many[:, :2], axis=-1).mean() < 0.6, "of 135 pixels"


def test_a_frozen_video_does_not_move(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    seen = landmarker.landmarks(np.stack([astronaut] * 11))
    assert np.ptp(seen.points, axis=0).max() < 1e-2
    assert np.ptp(seen.blendshapes, axis=0).max() < 1e-3


def test_a_face_that_leaves_is_missing_and_found_again(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    frames = np.stack([astronaut] * 12)
    frames[3:9] = 127
    frames[10:] = np.roll(frames[10:], 250, axis=2)
    seen = landmarker.landmarks(frames)
    assert seen.found.tolist() == [True] * 3 + [False] * 6 + [True] * 3
    for values in (seen.points, seen.blendshapes, seen.pose):
        assert np.array_equal(np.isfinite(values).reshape(12, -1).all(1), seen.found)
        assert np.array_equal(np.isnan(values).reshape(12, -1).all(1), ~seen.found)
    assert np.mean(seen.points[11] - seen.points[0], axis=0)[0] == pytest.approx(250, abs=1)


def test_no_face_and_no_frame(landmarker: FaceLandmarker) -> None:
    assert not landmarker.landmarks(np.full((2, 90, 60, 3), 127, np.uint8)).found.any()
    assert landmarker.landmarks(np.zeros((0, 90, 60, 3), np.uint8)).points.shape == (0, 478, 3)


def test_two_faces_are_kept_apart(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    pair = np.concatenate([astronaut[:300, 100:350], cv2.resize(picture(ADMIRAL), (350, 410))[40:340]], axis=1)
    (faces,) = landmarker.detect(pair[None])
    assert len(faces.scores) == 2
    seen = landmarker.landmarks(np.stack([pair] * 9))
    where = seen.points[:, 1, 0]
    assert set(seen.num_faces[np.isfinite(seen.num_faces)]) == {2}
    assert np.ptp(where) < 1
    assert where[0] > 250, "the admiral's face is larger"


@pytest.mark.parametrize("share", [0.5, 0.07])
def test_small_faces_are_found(share: float, landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    side = round(95 / share)
    image = cv2.copyMakeBorder(
        astronaut[20:240, 110:330], 0, max(0, side - 220), 0, max(0, side - 220), cv2.BORDER_REPLICATE
    )
    points, _ = landmarker.faces(image)
    assert np.linalg.norm(points[0, 1, :2] - [111, 110]) < 20


def test_points_have_their_names(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    points = landmarker.landmarks(astronaut[None]).points[0, :, :2]
    for upper, lower in (
        (names.LIPS_INNER_UPPER, names.LIPS_INNER_LOWER),
        (names.LIPS_OUTER_UPPER, names.LIPS_OUTER_LOWER),
        (names.RIGHT_LID_UPPER, names.RIGHT_LID_LOWER),
        (names.LEFT_LID_UPPER, names.LEFT_LID_LOWER),
    ):
        assert (upper[0], upper[-1]) == (lower[0], lower[-1])
        above, below = points[list(upper)[1:-1]], points[list(lower)[1:-1]]
        assert (above[:, 1] < below[:, 1]).all()
        assert np.abs(above[:, 0] - below[:, 0]).max() < 3, "they face each other"
    for iris, lid in ((names.RIGHT_IRIS, names.RIGHT_LID_LOWER), (names.LEFT_IRIS, names.LEFT_LID_LOWER)):
        low, high = sorted(points[[lid[0], lid[-1]], 0])
        assert low < points[iris[0], 0] < high
    assert points[names.RIGHT_IRIS[0], 0] < points[names.LEFT_IRIS[0], 0]
    brows = [*names.RIGHT_BROW_LOWER, *names.LEFT_BROW_UPPER]
    assert points[brows, 1].max() < points[list(names.RIGHT_LID_UPPER), 1].min()
    assert len(names.BLENDSHAPES) == len(set(names.BLENDSHAPES)) == 52


def test_a_pose_is_recovered(landmarker: FaceLandmarker) -> None:
    geometry = landmarker._networks.geometry
    canonical, weights = geometry.canonical.double().numpy(), geometry.weights.double().numpy()
    for yaw, pitch, roll in ((20, 0, 0), (0, 15, 0), (0, 0, 10), (-20, 10, -5)):
        y, x, z = np.radians([yaw, pitch, -roll])
        turn = (
            cv2.Rodrigues(np.array([0, y, 0]))[0]
            @ cv2.Rodrigues(np.array([x, 0, 0]))[0]
            @ cv2.Rodrigues(np.array([0, 0, z]))[0]
        )
        pose = procrustes(canonical, (2 * canonical @ turn.T + [1, 2, -50])[None], weights)
        np.testing.assert_allclose(angles_deg(pose)[0], [yaw, pitch, roll], atol=1e-6)
        np.testing.assert_allclose(pose[0, :3], np.column_stack([2 * turn, [1, 2, -50]]), atol=1e-6)
        seen = canonical @ turn.T + [1, 2, -40]  # through the virtual camera, with depth in the scale of the face
        focal = 240 / np.tan(np.radians(63 / 2))
        depth = -seen[:, 2]
        x_px, y_px = 320 + focal * seen[:, 0] / depth, 240 - focal * seen[:, 1] / depth
        flat = np.column_stack([x_px, y_px, focal * depth / depth.mean()])
        found = fit_pose(flat[None], (480, 640), canonical, weights)
        np.testing.assert_allclose(angles_deg(found)[0], [yaw, pitch, roll], atol=1.0)


def test_the_callers_precision_does_not_matter(golden: Mapping[str, np.ndarray], astronaut: np.ndarray) -> None:
    with computing_in(torch.float64), torch.autocast("cpu", torch.bfloat16):
        points, _ = FaceLandmarker(torch.device("cpu")).faces(astronaut)
    assert np.abs(points[0, :, :2] - golden["whole.astronaut.points"][:, :2]).max() < 0.1


@pytest.mark.gpu
def test_a_gpu_sees_the_same(landmarker: FaceLandmarker, astronaut: np.ndarray) -> None:
    frames = np.stack([moved(astronaut, right=2 * k)[0] for k in range(70)])
    ours, others = landmarker.landmarks(frames), FaceLandmarker(torch.device("cuda")).landmarks(frames)
    np.testing.assert_allclose(ours.points, others.points, atol=0.01)
    np.testing.assert_allclose(ours.blendshapes, others.blendshapes, atol=1e-3)


def test_no_network_is_used(monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert FaceLandmarker(torch.device("cpu")).landmarks(astronaut[None]).found.all()


@pytest.mark.parametrize("chosen", [None, "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_freed_memory_is_kept_unless_the_user_chose(chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, name: int, value: int) -> None:
            given.append((name, value))

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library())
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    if chosen:
        monkeypatch.setenv(chosen, "1")
    heap.keep_freed_memory.__wrapped__()
    assert given == ([] if chosen else [(-1, 64 * 2**20), (-3, 32 * 2**20)])
