"""Boxes of faces, and the official crop: its box is found at a height of 360 px, and it is cut from the full image."""

from typing import NamedTuple

import cv2
import numpy as np

from float_research.errors import UserError
from float_research.types import Image, Region

DETECTION_HEIGHT_PX = 360


class Box(NamedTuple):
    """A detected face, in pixels of the image at detection height."""

    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)

    def distance_to_centre(self, width: float) -> float:
        return float(np.hypot((self.left + self.right - width) / 2, (self.top + self.bottom - DETECTION_HEIGHT_PX) / 2))


class Calibration(NamedTuple):
    """How a detector's box becomes the square that S3FD would give, in units of the box's larger half side.

    The official weights were trained on crops around S3FD's boxes. Those are known from one photograph, the official
    example: the half side is 1.07 × MTCNN's, and the centre lies 0.4 % of the image's width lower, which is some 0.02
    half sides. That it also lies 1.5 % further left is not used, since on the mirrored photograph it would lie further
    right; but MTCNN's boxes lie 0.02 half sides too far right on pictures and mirror images alike. The other detectors
    are calibrated to MTCNN on six photographs at four scales and their mirror images: the ratio of the half sides
    varies by 4 % (landmarker) and 8 % (dlib), the centre by 4 % and 10 % of the half side.
    """

    scale: float
    right: float
    down: float

    def __call__(self, box: Box) -> Box:
        half = max(box.right - box.left, box.bottom - box.top) / 2
        x, y = (box.left + box.right) / 2 + self.right * half, (box.top + box.bottom) / 2 + self.down * half
        half *= self.scale
        return Box(x - half, y - half, x + half, y + half, box.score)


def detection_scale(image: Image) -> float:
    return DETECTION_HEIGHT_PX / image.shape[0]


def resize(image: Image, width: int, height: int, *, shrinking: bool) -> Image:
    """Resizes with OpenCV: area interpolation when shrinking, else cubic."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def at_detection_height(image: Image) -> Image:
    """Returns the image scaled to a height of 360 px."""
    scale = detection_scale(image)
    return resize(image, max(1, int(image.shape[1] * scale)), DETECTION_HEIGHT_PX, shrinking=scale < 1)


def crop_region(image: Image, box: Box, *, margin: float) -> Region:
    """Returns the square of half side `margin` × the face's larger half side."""
    scale = detection_scale(image)
    left, top, right, bottom = (int(value / scale) for value in box[:4])
    radius = int(max(int((right - left) / 2), int((bottom - top) / 2)) * margin)
    if radius < 1:
        raise UserError(
            f"the face at x {left} to {right}, y {top} to {bottom} is smaller than a pixel; use a larger image"
        )
    x, y = int((left + right) / 2), int((top + bottom) / 2)
    return Region(x - radius, y - radius, 2 * radius, 2 * radius)


def crop_face(image: Image, box: Box, *, margin: float, size_px: int) -> Image:
    """Cuts the crop's region from the image and resizes it to `size_px`."""
    left, top, side, _ = crop_region(image, box, margin=margin)
    return resize(cut_square(image, left, top, side), size_px, size_px, shrinking=detection_scale(image) < 1)


def placed(image: Image, region: Region) -> dict[str, int]:
    """Returns the facts by which `composite=paste` undoes a crop: the size of the image, and the region."""
    size = {"picture_width": image.shape[1], "picture_height": image.shape[0]}
    return {**size, **{f"crop_{name}": value for name, value in region._asdict().items()}}


def cut_square(image: Image, left: int, top: int, side: int) -> Image:
    """Cuts a square from the image, black outside of it."""
    height, width = image.shape[:2]
    rows, columns = (np.clip((start, start + side), 0, end) for start, end in ((top, height), (left, width)))
    # Padding the whole image first would copy it, and it may be large.
    square = np.zeros((side, side, 3), dtype=np.uint8)
    square[slice(*rows - top), slice(*columns - left)] = image[slice(*rows), slice(*columns)]
    return square
