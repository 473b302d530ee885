"""The 68 landmarks of 300-W by dlib (extra `faces`), computed once per frame for all metrics.

The landmark model was trained on 300-W, whose licence excludes commercial products.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from float_research.metrics.metric import Frames
from float_research.texts import count
from float_research.types import Image

DETECTION_PX = 256
"""Image height for face detection. HOG finds no faces below 80 pixels."""
MIN_SHARE = 0.5
"""The least share of frames with a face for which a metric is reported."""

LEFT_EYE, RIGHT_EYE, MOUTH = range(36, 42), range(42, 48), range(48, 68)
INNER_LIPS = ((61, 67), (62, 66), (63, 65))
"""Opposite points of the upper and the lower lip."""
Landmarks = Float[np.ndarray, "n 68 2"]


def model_file(name: str) -> Path:
    """Returns a file of face_recognition_models without importing it, since that needs pkg_resources."""
    spec = find_spec("face_recognition_models")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "models" / f"{name}.dat"


@lru_cache(maxsize=1)
def networks() -> tuple[Any, Any]:
    """Returns face detector and landmark predictor, loaded once per process."""
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks")))


def landmarks(frames: Frames) -> Landmarks:
    """Returns the landmarks, in pixels x, y, of the highest-scoring face of each frame; NaN if there is none."""
    return frames.shared("landmarks", _landmarks)


def _landmarks(images: UInt8[np.ndarray, "n h w 3"]) -> Landmarks:
    return np.stack([points(image) for image in images])


def points(image: Image) -> Float[np.ndarray, "68 2"]:
    """Returns the landmarks of one image; NaN if no face is found."""
    box = detect(image)
    if box is None:
        return np.full((68, 2), np.nan)
    shape = networks()[1](np.ascontiguousarray(image), box)
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=float)


def detect(image: Image) -> Any | None:
    """Returns the highest-scoring face as dlib's rectangle, in pixels of the image."""
    import dlib

    scale = DETECTION_PX / image.shape[0]
    size = (max(1, round(image.shape[1] * scale)), DETECTION_PX)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    boxes, scores, _ = networks()[0].run(cv2.resize(image, size, interpolation=method), 0, 0.0)
    if not len(boxes):
        return None
    box = boxes[int(np.argmax(scores))]
    return dlib.rectangle(*(round(side / scale) for side in (box.left(), box.top(), box.right(), box.bottom())))


def face_size(points: Landmarks) -> Float[np.ndarray, " n"]:
    """Returns the distance between the centres of the eyes, in pixels: the unit of distances within faces."""
    return np.linalg.norm(points[:, LEFT_EYE].mean(1) - points[:, RIGHT_EYE].mean(1), axis=-1)


def mouth_opening(points: Landmarks) -> Float[np.ndarray, " n"]:
    """Returns the mean gap between the inner lips, in units of the distance between the eyes."""
    gaps = [np.linalg.norm(points[:, upper] - points[:, lower], axis=-1) for upper, lower in INNER_LIPS]
    return np.mean(gaps, axis=0) / face_size(points)


def few_faces(seen: Float[np.ndarray, " n"]) -> str | None:
    """Returns why too few values are finite (they are NaN without a face), or None if there are enough."""
    share = np.isfinite(seen).mean() if len(seen) else 0.0
    if share < MIN_SHARE:
        return f"a face was found in {np.isfinite(seen).sum()} of {count(len(seen), 'frame')}"
    return None
