"""The face in the frames of a clip, read once for all metrics, and what its 478 points tell.

The points are in pixels in three dimensions. Distances are in units of the distance between the centres of the eyes:
with the depth, both hardly change when the head turns. They are NaN where no face was found.
"""

import numpy as np
from jaxtyping import Float, UInt8

from float_research.landmarks.landmarker import Landmarks, face_landmarker
from float_research.landmarks.points import (
    BLENDSHAPES,
    LEFT_IRIS,
    LEFT_LID_LOWER,
    LEFT_LID_UPPER,
    LIPS_INNER_LOWER,
    LIPS_INNER_UPPER,
    LIPS_OUTER_LOWER,
    LIPS_OUTER_UPPER,
    RIGHT_IRIS,
    RIGHT_LID_LOWER,
    RIGHT_LID_UPPER,
)
from float_research.metrics.metric import Frames
from float_research.texts import count

MIN_SHARE = 0.5
"""The least share of frames with a face for which a metric is reported."""
LIPS = sorted({*LIPS_INNER_LOWER, *LIPS_INNER_UPPER, *LIPS_OUTER_LOWER, *LIPS_OUTER_UPPER})
MIDDLE = range(4, 7)
"""The middle three pairs of facing points on the lips."""
NOSE_TIP = 4

Points = Float[np.ndarray, "n 478 d"]
Values = Float[np.ndarray, " n"]


def read_faces(frames: Frames) -> Landmarks:
    """Returns what is seen of the clip's face in these frames: the same face as in the frames before."""
    if "face" not in frames.carried:
        frames.carried["face"] = face_landmarker().follow()
    return frames.shared("face", frames.carried["face"])


def read_face(image: UInt8[np.ndarray, "h w 3"]) -> Landmarks:
    """Returns what is seen of the largest face in a picture, as a clip of one frame."""
    return face_landmarker().landmarks(image[None])


def eye_centres(points: Points) -> Float[np.ndarray, "n 2 d"]:
    """Returns the middle between the corners of each eye, the person's right eye first."""
    eyes = [points[:, [lid[0], lid[-1]]].mean(1) for lid in (RIGHT_LID_LOWER, LEFT_LID_LOWER)]
    return np.stack(eyes, axis=1)


def eye_distance(points: Points) -> Values:
    """Returns the distance between the centres of the eyes in pixels: the unit of distances within a face."""
    right, left = np.moveaxis(eye_centres(points), 1, 0)
    return np.linalg.norm(left - right, axis=-1)


def gap(points: Points, a: int, b: int) -> Values:
    """Returns the distance between two points in pixels."""
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def _lip_gap(points: Points) -> Values:
    return np.mean([gap(points, LIPS_INNER_UPPER[k], LIPS_INNER_LOWER[k]) for k in MIDDLE], axis=0)


def lip_aperture(points: Points) -> Values:
    """Returns the mean gap between the middles of the inner lips, in eye distances."""
    return _lip_gap(points) / eye_distance(points)


def lip_width(points: Points) -> Values:
    """Returns the distance between the outer corners of the mouth, in eye distances."""
    return gap(points, LIPS_OUTER_LOWER[0], LIPS_OUTER_LOWER[-1]) / eye_distance(points)


def mouth_aspect(points: Points) -> Values:
    """Returns the mean gap between the inner lips over the distance between their corners."""
    return _lip_gap(points) / gap(points, LIPS_INNER_LOWER[0], LIPS_INNER_LOWER[-1])


def eye_aspects(points: Points) -> Float[np.ndarray, "n 2"]:
    """Returns the height over the width of each eye's opening, the person's right eye first.

    The height is the mean over the third to the seventh of the nine pairs of facing points on the lids' edges.
    """
    ratios = []
    for upper, lower in ((RIGHT_LID_UPPER, RIGHT_LID_LOWER), (LEFT_LID_UPPER, LEFT_LID_LOWER)):
        heights = [gap(points, a, b) for a, b in zip(upper[2:7], lower[2:7], strict=True)]
        ratios.append(np.mean(heights, axis=0) / gap(points, lower[0], lower[-1]))
    return np.stack(ratios, axis=1)


def gaze(points: Points) -> Float[np.ndarray, "n 2"]:
    """Returns where the irises are between the corners of the eyes, in eye widths, the mean of both eyes.

    Along the line from the person's right to their left from its middle, and across it, downwards.
    """
    places = []
    for iris, lid in ((RIGHT_IRIS, RIGHT_LID_LOWER), (LEFT_IRIS, LEFT_LID_LOWER[::-1])):
        start, end, centre = (points[:, number, :2] for number in (lid[0], lid[-1], iris[0]))
        axis, away = end - start, centre - (start + end) / 2
        square = np.square(axis).sum(1)
        along, across = (away * axis).sum(1), axis[:, 0] * away[:, 1] - axis[:, 1] * away[:, 0]
        places.append(np.stack([along, across], axis=1) / square[:, None])
    return np.mean(places, axis=0)


def actions(faces: Landmarks, *names: str) -> Values:
    """Returns the mean of some blendshapes, 0 to 1, such as `mouthSmileLeft` and `mouthSmileRight`."""
    return faces.blendshapes[:, [BLENDSHAPES.index(name) for name in names]].mean(1)


def few_faces(seen: Values) -> str | None:
    """Returns why too few values are finite (they are NaN without a face), or None if there are enough."""
    share = np.isfinite(seen).mean() if len(seen) else 0.0
    if share < MIN_SHARE:
        return f"a face was found in {np.isfinite(seen).sum()} of {count(len(seen), 'frame')}"
    return None
