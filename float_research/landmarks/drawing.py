"""Landmarks drawn on frames."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from float_research.landmarks.landmarker import Frames, Landmarks
from float_research.landmarks.points import (
    LEFT_BROW_LOWER,
    LEFT_BROW_UPPER,
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    LIPS_OUTER_LOWER,
    LIPS_OUTER_UPPER,
    OVAL,
    RIGHT_BROW_LOWER,
    RIGHT_BROW_UPPER,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from float_research.types import Image

FACE, BROWS, LIDS, LIPS = (255, 255, 255), (255, 200, 0), (0, 220, 255), (255, 60, 120)
CONTOURS: Sequence[tuple[tuple[int, ...], bool, tuple[int, int, int]]] = (
    (OVAL, True, FACE),
    *((edge, False, BROWS) for edge in (RIGHT_BROW_LOWER, RIGHT_BROW_UPPER, LEFT_BROW_LOWER, LEFT_BROW_UPPER)),
    *((edge, False, LIDS) for edge in (RIGHT_LID_LOWER, RIGHT_LID_UPPER, LEFT_LID_LOWER, LEFT_LID_UPPER)),
    *((edge[1:], True, LIDS) for edge in (RIGHT_IRIS, LEFT_IRIS)),
    *((edge, False, LIPS) for edge in (LIPS_OUTER_LOWER, LIPS_OUTER_UPPER, LIPS_INNER_LOWER, LIPS_INNER_UPPER)),
)
"""Points of each contour, whether it is closed, its colour."""
MIN_PX = 384
"""The least width and height on which the contours can be told apart."""
SHIFT = 4
"""OpenCV's fractional bits of a coordinate."""


def drawn(frames: Frames, seen: Landmarks) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Returns frames with the contours of the faces in them, enlarged by a whole number to `MIN_PX` at least.

    A frame without a face has none.
    """
    times = -(-MIN_PX // min(frames.shape[1:3]))
    images = frames.repeat(times, axis=1).repeat(times, axis=2)
    for number in np.flatnonzero(seen.found):
        draw(images[number], (seen.points[number] + 0.5) * times - 0.5)
    return images


def draw(image: Image, points: Float[np.ndarray, "478 3"]) -> None:
    """Draws the contours of a face into an image, thicker in larger ones."""
    places = np.round(points[:, :2] * 2**SHIFT).astype(np.int32)
    thick = max(1, round(min(image.shape[:2]) / 400))
    for contour, closed, colour in CONTOURS:
        cv2.polylines(image, [places[list(contour)]], closed, colour, thick, cv2.LINE_AA, SHIFT)
