"""Faces from BlazeFace's output, as MediaPipe decodes it."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from float_research.landmarks.networks import DETECTION_PX
from float_research.landmarks.regions import Regions, crop

MIN_SCORE, MIN_OVERLAP = 0.5, 0.3
"""Scores below are no faces; boxes whose intersection over union exceeds this show the same face."""


class Faces(NamedTuple):
    """The faces in one picture, surest first, in pixels.

    `boxes`: left, top, right, bottom. `keypoints`: right eye, left eye, nose tip, mouth, right ear, left ear.
    """

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n 6 2"]


def _anchors() -> Float[np.ndarray, "896 2"]:
    """Returns the centres of the anchors, in units of the side: row by row, several on each cell."""
    grids = []
    for cells, number in ((16, 2), (8, 6)):
        centre = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centre, centre, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), number, axis=0))
    return np.concatenate(grids)


ANCHORS = _anchors()


def whole(size_px: tuple[int, int]) -> Regions:
    """Returns the region that just encloses a picture of this height and width."""
    height, width = size_px
    return np.array([[width / 2, height / 2, max(size_px), 0.0]])


def windows(size_px: tuple[int, int]) -> Regions:
    """Returns regions of half the longer side that cover a picture, overlapping by half."""
    side = max(size_px) / 2
    rows, columns = (
        np.linspace(side / 2, length - side / 2, int(np.ceil(2 * length / side)) - 1) if length > side else [length / 2]
        for length in size_px
    )
    return np.array([[x, y, side, 0.0] for y in rows for x in columns])


def squares(images: UInt8[np.ndarray, "n h w 3"], regions: Regions) -> UInt8[np.ndarray, "n 128 128 3"]:
    """Returns one region of each picture as the detector sees it, black outside the picture."""
    return crop(images, regions, DETECTION_PX, cv2.BORDER_CONSTANT)


def decode(boxes: Float[np.ndarray, "n 896 16"], logits: Float[np.ndarray, "n 896"], regions: Regions) -> Faces:
    """Returns the faces of one picture from the network's output for some regions of it.

    Of boxes that overlap, the mean weighted by score is returned with the highest score.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -100, 100)))
    region, anchor = np.nonzero(scores >= MIN_SCORE)
    scores = scores[region, anchor]
    order = np.argsort(-scores, kind="stable")
    region, anchor, scores = region[order], anchor[order], scores[order]
    values, middle = boxes[region, anchor].reshape(-1, 8, 2) / DETECTION_PX, ANCHORS[anchor] - 0.5
    centres, half = values[:, :1] + middle[:, None], values[:, 1:2] / 2
    places = np.concatenate([centres - half, centres + half, values[:, 2:] + middle[:, None]], axis=1)
    places = places * regions[region, None, 2:3] + regions[region, None, :2]
    faces = []
    while len(scores):
        same = overlap(places[0, :2].ravel(), places[:, :2].reshape(-1, 4)) > MIN_OVERLAP
        faces.append((np.average(places[same], axis=0, weights=scores[same]), scores[0]))
        places, scores = places[~same], scores[~same]
    found = np.array([place for place, _ in faces]).reshape(-1, 8, 2)
    return Faces(found[:, :2].reshape(-1, 4), np.array([score for _, score in faces]), found[:, 2:])


def overlap(box: Float[np.ndarray, "4"], boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Returns intersection over union."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + areas - shared)
