"""Rotated squares around faces, as MediaPipe defines them: what the mesh network sees of a picture.

A region is centre x and y, side and angle in radians, in pixels of the picture; positive angles turn clockwise as seen.
"""

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from float_research.landmarks.networks import MESH_PX
from float_research.landmarks.points import LEFT_LID_LOWER, RIGHT_LID_LOWER

MARGIN = 1.5
"""Side of a region in units of the longer side of what it encloses."""
S3FD_SCALE, S3FD_DOWN = 1.19, -0.07
"""The half side of S3FD's square around a face, and how much lower its centre lies, in units of the larger half side of
the box around the points. `data/cropping.py` tells how they were found."""
EYES = RIGHT_LID_LOWER[0], LEFT_LID_LOWER[0]

Regions = Float[np.ndarray, "n 4"]
Points = Float[np.ndarray, "n 478 3"]


def from_detections(boxes: Float[np.ndarray, "n 4"], keypoints: Float[np.ndarray, "n 6 2"]) -> Regions:
    """Returns the regions of detected faces, upright by the key points of the eyes."""
    return _regions(boxes[:, :2], boxes[:, 2:], keypoints[:, 0], keypoints[:, 1])


def from_points(points: Points) -> Regions:
    """Returns the regions in which a face is looked for next, from the points that were found."""
    flat = points[..., :2]
    return _regions(flat.min(1), flat.max(1), flat[:, EYES[0]], flat[:, EYES[1]])


def _regions(
    low: Float[np.ndarray, "n 2"],
    high: Float[np.ndarray, "n 2"],
    right_eye: Float[np.ndarray, "n 2"],
    left_eye: Float[np.ndarray, "n 2"],
) -> Regions:
    across = left_eye - right_eye
    side = MARGIN * (high - low).max(1)
    return np.column_stack([(low + high) / 2, side, np.arctan2(across[:, 1], across[:, 0])])


def s3fd_squares(points: Points) -> Float[np.ndarray, "n 3"]:
    """Returns centre x, centre y and half side of the squares that S3FD would give."""
    low, high = points[..., :2].min(1), points[..., :2].max(1)
    half, centre = (high - low).max(1) / 2, (low + high) / 2
    return np.column_stack([centre[:, 0], centre[:, 1] + S3FD_DOWN * half, S3FD_SCALE * half])


def crop(
    images: UInt8[np.ndarray, "n h w 3"], regions: Regions, size_px: int, border: int = cv2.BORDER_REPLICATE
) -> UInt8[np.ndarray, "n s s 3"]:
    """Cuts one region out of each picture, by bilinear interpolation."""
    crops = np.empty((len(images), size_px, size_px, 3), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for image, (x, y, side, angle), out in zip(images, regions, crops, strict=True):
        step = side / size_px * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corner = np.array([x, y]) - step @ np.full(2, size_px / 2)
        map_back = np.column_stack([step, corner])
        cv2.warpAffine(np.ascontiguousarray(image), map_back, (size_px, size_px), out, flags=flags, borderMode=border)
    return crops


def project(points: Points, regions: Regions) -> Points:
    """Maps points from pixels of the crops to pixels of the pictures. Depth is in pixels too, smaller nearer by."""
    x, y, z = np.moveaxis(points / MESH_PX, -1, 0)
    centre_x, centre_y, side, angle = (column[:, None] for column in regions.T)
    x, y, sine, cosine = x - 0.5, y - 0.5, np.sin(angle), np.cos(angle)
    return np.stack(
        [centre_x + side * (cosine * x - sine * y), centre_y + side * (sine * x + cosine * y), side * z], axis=-1
    )


def between(regions: Regions, at: Int[np.ndarray, " n"], times: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t 4"]:
    """Interpolates regions between ascending frames; before the first and after the last they stay."""
    columns = [*regions.T[:3], np.unwrap(regions[:, 3])]
    return np.column_stack([np.interp(times, at, column) for column in columns])
