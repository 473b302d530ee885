"""Preservation of the portrait's identity."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.metrics.landmarks import detect, few_faces, model_file, networks
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Watching
from float_research.metrics.requirements import IDENTITY
from float_research.types import Image


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
        own = embedding(clip.portrait)
        if not np.isfinite(own).all():
            raise UserError("no face was found in the portrait")
        cosine, distance, number = np.full(clip.num_frames, np.nan), np.full(clip.num_frames, np.nan), 0
        while (frames := (yield)) is not None:
            for image in frames.images:
                if number % self.every_frames == 0:
                    other = embedding(image)
                    cosine[number] = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
                    distance[number] = np.linalg.norm(own - other)
                number += 1
        if reason := few_faces(distance[:: self.every_frames]):
            raise UserError(reason)
        return Findings(
            metrics={"identity_cosine": float(np.nanmean(cosine)), "identity_l2": float(np.nanmean(distance))},
            traces={"identity_cosine": cosine, "identity_l2": distance},
        )


@lru_cache(maxsize=1)
def recogniser() -> Any:
    """Returns dlib's ResNet, loaded once per process."""
    import dlib

    return dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1")))


def embedding(image: Image) -> Float[np.ndarray, "128"]:
    """Returns the embedding of the face with the highest score; NaN if there is none."""
    box = detect(image)
    if box is None:
        return np.full(128, np.nan)
    image = np.ascontiguousarray(image)
    return np.array(recogniser().compute_face_descriptor(image, networks()[1](image, box)))
