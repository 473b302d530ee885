"""Frames whose faces are known: that of a real photo, with known changes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from float_research.data.examples import example
from float_research.data.image import read_image
from float_research.landmarks.landmarker import FaceLandmarker, Landmarks
from float_research.metrics.landmarks import read_face
from float_research.types import Image

SIZE_PX = 256
UNSEEN = (np.full((1, *shape), np.nan) for shape in ((478, 3), (52,), (4, 4)))
NOBODY = Landmarks(*UNSEEN, found=np.zeros(1, bool), num_faces=np.zeros(1))


@dataclass
class Planted:
    """Sees given faces, one after the other."""

    remaining: Iterator[Landmarks]

    def __call__(self, images: np.ndarray) -> Landmarks:
        seen = [next(self.remaining) for _ in images]
        return Landmarks(*(np.concatenate(values) for values in zip(*seen, strict=True)))


def plant(monkeypatch: pytest.MonkeyPatch, faces: Sequence[Landmarks]) -> list[Image]:
    """Returns grey frames that show given faces."""
    monkeypatch.setattr(FaceLandmarker, "follow", lambda self: Planted(iter(faces)))
    return [np.full((SIZE_PX, SIZE_PX, 3), 127, np.uint8)] * len(faces)


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.ascontiguousarray(read_image(Path(example("photo")), "black")[:SIZE_PX, 96 : 96 + SIZE_PX])


@pytest.fixture(scope="module")
def still(photo: Image) -> Landmarks:
    return read_face(photo)


def moved(face: Landmarks, part: Sequence[int], by: Any) -> Landmarks:
    """Returns a face of which some points are moved by x, y in pixels."""
    points = face.points.copy()
    points[:, part, :2] += np.asarray(by)
    return face._replace(points=points)
