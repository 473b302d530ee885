"""Preservation of the portrait's identity."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.landmarks.points import LEFT_LID_LOWER, RIGHT_LID_LOWER
from float_research.metrics.landmarks import few_faces, read_face, read_faces
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Watching
from float_research.metrics.requirements import IDENTITY
from float_research.types import Image

NOSE_BASE = 2
FIVE = (LEFT_LID_LOWER[0], LEFT_LID_LOWER[-1], RIGHT_LID_LOWER[0], RIGHT_LID_LOWER[-1], NOSE_BASE)
"""The points that dlib aligns faces by: outer and inner corner of the person's left and right eye, base of the nose."""


@dataclass(frozen=True, kw_only=True)
class Identity(FrameMetric):
    """Compares dlib's 128-dimensional face embeddings of every `every_frames`-th frame and of the portrait; means.

    `identity_cosine` has a narrow range: 0.97 or more for one person, up to 0.91 for two. `identity_l2` separates
    people better: up to 0.4 for one, 0.6 or more for two.
    """

    every_frames: int

    numbers = (
        Number("identity_cosine", "cosine", Better.HIGHER, headline=True),
        Number("identity_l2", "embedding distance", Better.LOWER),
    )
    needs = frozenset({Need.FRAMES, Need.PORTRAIT})
    requires = IDENTITY

    def __post_init__(self) -> None:
        if self.every_frames < 1:
            raise UserError(f"metrics.identity.every_frames={self.every_frames} must be positive, such as 5")

    def watch(self, clip: Subject) -> Watching:
        assert clip.portrait is not None
        (points,) = read_face(clip.portrait).points
        if not np.isfinite(points).all():
            raise UserError("no face was found in the portrait")
        own = embedding(clip.portrait, points)
        cosine, distance, number = np.full(clip.num_frames, np.nan), np.full(clip.num_frames, np.nan), 0
        while (frames := (yield)) is not None:
            for image, points in zip(frames.images, read_faces(frames).points, strict=True):
                if number % self.every_frames == 0 and np.isfinite(points).all():
                    other = embedding(image, points)
                    cosine[number] = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
                    distance[number] = np.linalg.norm(own - other)
                number += 1
        if reason := few_faces(distance[:: self.every_frames]):
            raise UserError(reason)
        return Findings(
            metrics={"identity_cosine": float(np.nanmean(cosine)), "identity_l2": float(np.nanmean(distance))},
            traces={"identity_cosine": cosine, "identity_l2": distance},
        )


def model_file(name: str) -> Path:
    """Returns a file of face_recognition_models without importing it, since that needs pkg_resources."""
    spec = find_spec("face_recognition_models")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "models" / f"{name}.dat"


@lru_cache(maxsize=1)
def recogniser() -> Any:
    """Returns dlib's ResNet, loaded once per process."""
    import dlib

    return dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1")))


def embedding(image: Image, points: Float[np.ndarray, "478 _"]) -> Float[np.ndarray, "128"]:
    """Returns the embedding of a face, aligned by dlib's five points: corners of the eyes and base of the nose."""
    import dlib

    places = [dlib.point(*np.rint(points[number, :2]).astype(int).tolist()) for number in FIVE]
    face = dlib.full_object_detection(dlib.rectangle(0, 0, image.shape[1], image.shape[0]), places)
    return np.array(recogniser().compute_face_descriptor(np.ascontiguousarray(image), face))
