"""Videos with known motion, made by warping photographs in the public domain (`landmarks.pictures`)."""

from collections.abc import Sequence

import cv2
import numpy as np
from landmarks.pictures import ADMIRAL, ASTRONAUT, picture

from float_research.landmarks.points import (
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    LIPS_OUTER_LOWER,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from float_research.types import Image

MOUTH_INSIDE = (40, 15, 15)


def astronaut() -> Image:
    """Returns her face in 256 pixels; the distance of her eyes is 42."""
    return np.ascontiguousarray(picture(ASTRONAUT)[:256, 96:352])


def admiral() -> Image:
    """Returns his face, with closed lips, in 320 pixels; the distance of his eyes is 82."""
    return np.ascontiguousarray(picture(ADMIRAL)[20:340, 100:420])


def placed(image: Image, *, turned_deg: float = 0, right_px: float = 0, down_px: float = 0, scale: float = 1) -> Image:
    """Returns a picture turned clockwise about its middle, scaled and shifted; its edges are repeated."""
    height, width = image.shape[:2]
    there = cv2.getRotationMatrix2D((width / 2, height / 2), -turned_deg, scale)
    there[:, 2] += right_px, down_px
    return cv2.warpAffine(image, there, (width, height), borderMode=cv2.BORDER_REPLICATE)


def opened(image: Image, points: np.ndarray, by_px: float) -> Image:
    """Returns a picture in which a closed mouth is opened by a number of pixels in its middle half, less at its sides.

    What lies below the lips is shifted down, less and less towards the neck, and the gap is dark.
    """
    lips = points[[*LIPS_INNER_UPPER, *LIPS_INNER_LOWER[1:-1]], :2]
    left, right = lips[:, 0].min(), lips[:, 0].max()
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    upper, lower = (points[list(part), :2] for part in (LIPS_INNER_UPPER, LIPS_INNER_LOWER))
    line = np.interp(x[0], upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2)
    share = np.clip(2 - 2 * np.abs(2 * (x[0] - left) / (right - left) - 1), 0, 1)
    reach = 2 * np.ptp(points[list(LIPS_OUTER_LOWER), 1]) + 4 * by_px
    below = y - line - by_px * share
    moved = by_px * share * np.clip(1 - below / reach, 0, 1)
    made = cv2.remap(image, x, np.where(below >= 0, y - moved, y).astype(np.float32), cv2.INTER_LINEAR)
    made[(y > line) & (below < 0)] = MOUTH_INSIDE
    return made


def shut(image: Image, points: np.ndarray) -> Image:
    """Returns a picture whose eyes are covered by the skin above the upper lids."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    source = y.copy()
    for upper, lower in ((RIGHT_LID_UPPER, RIGHT_LID_LOWER), (LEFT_LID_UPPER, LEFT_LID_LOWER)):
        above, below = (points[list(part), :2][np.argsort(points[list(part), 0])] for part in (upper, lower))
        columns = (x[0] > above[0, 0]) & (x[0] < above[-1, 0])
        top, bottom = (np.interp(x[0], part[:, 0], part[:, 1]) for part in (above, below))
        start = top - 1.2 * np.max(below[:, 1] - above[:, 1])
        inside = (y > start) & (y < bottom) & columns
        source = np.where(inside, start + (y - start) * (top - start - 1) / (bottom - start), source)
    return cv2.remap(image, x, source.astype(np.float32), cv2.INTER_LINEAR)


def video(image: Image, num_frames: int, **motions: Sequence[float]) -> list[Image]:
    """Returns a picture placed differently in each frame."""
    return [placed(image, **{name: float(values[k]) for name, values in motions.items()}) for k in range(num_frames)]
