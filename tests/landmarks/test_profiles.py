"""Heads turned to their sides: read with the right yaw, or counted as not found."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from float_research.landmarks.landmarker import FaceLandmarker
from float_research.landmarks.points import NUM_RIGID
from float_research.landmarks.pose import angles_deg
from landmarks.pictures import ADMIRAL, ASTRONAUT, picture
from landmarks.turned import surface, turned

PEOPLE = {"astronaut": ASTRONAUT, "admiral": ADMIRAL}
SHARE = 0.65, 0.9
"""Of a turn by 30° or 45° that the pose tells: the mesh network flattens faces that it sees from the side."""

Heads = Callable[[str, float], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(torch.device("cpu"))


@pytest.fixture(scope="module")
def head(landmarker: FaceLandmarker) -> Heads:
    """Returns a function from name and yaw to the picture of a turned head and its points."""

    @cache
    def made(name: str, yaw_deg: float) -> tuple[np.ndarray, np.ndarray]:
        image = picture(PEOPLE[name])
        return turned(image, surface(landmarker, image), yaw_deg)

    return made


@pytest.mark.parametrize("name", PEOPLE)
def test_a_turned_head_is_read_with_its_yaw(name: str, landmarker: FaceLandmarker, head: Heads) -> None:
    for yaw_deg in (-45, -30, 0, 30, 45):
        image, points = head(name, yaw_deg)
        seen = landmarker.landmarks(image[None])
        away = np.linalg.norm(seen.points[0, :NUM_RIGID, :2] - points[:NUM_RIGID, :2], axis=1).mean()
        assert away < 0.04 * np.ptp(points[:NUM_RIGID, 1]), "of the height of the face"
        read = angles_deg(seen.pose)[0, 0]
        if yaw_deg == 0:
            assert abs(read) < 3
        else:
            assert SHARE[0] < read / yaw_deg < SHARE[1]


@pytest.mark.parametrize("yaw_deg", [-90, -75, 75, 90])
@pytest.mark.parametrize("name", PEOPLE)
def test_a_profile_is_detected_but_not_misread(
    name: str, yaw_deg: float, landmarker: FaceLandmarker, head: Heads
) -> None:
    """Of a full profile there are no points; before it there may be, and then they look to the right side."""
    image, _ = head(name, yaw_deg)
    seen = landmarker.landmarks(image[None])
    assert seen.num_faces.tolist() == [1]
    assert np.isnan(seen.points).all() == (not seen.found[0])
    if seen.found[0]:
        assert abs(yaw_deg) < 90
        assert angles_deg(seen.pose)[0, 0] / yaw_deg > 0.6


def test_a_head_that_turns_away_and_back_is_lost_and_found(landmarker: FaceLandmarker, head: Heads) -> None:
    turns = np.array([0, 30, 45, 90, 90, 45, 30, 0, -30, -90])
    seen = landmarker.landmarks(np.stack([head("astronaut", yaw_deg)[0] for yaw_deg in turns]))
    assert seen.found.tolist() == (abs(turns) < 90).tolist()
    assert set(seen.num_faces[np.isfinite(seen.num_faces)]) == {1}
    read = angles_deg(seen.pose[seen.found])[:, 0]
    assert np.abs(read - turns[seen.found]).max() < 16
