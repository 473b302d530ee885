"""Landmark distance to another video."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.metrics.landmarks import MOUTH, Landmarks, face_size, few_faces, landmarks
from float_research.metrics.metric import (
    Better,
    Findings,
    FrameMetric,
    Frames,
    Need,
    Number,
    Subject,
    Trace,
    Watching,
)
from float_research.metrics.reference import reference_frames
from float_research.metrics.requirements import LANDMARK_DISTANCE


@dataclass(frozen=True, kw_only=True)
class LandmarkDistance(FrameMetric):
    """Mean landmark distance to `reference`, in units of the distance between the eyes (LMD, arXiv 1803.10404).

    `landmark_distance`: all 68 landmarks, with both faces centred. `mouth_landmark_distance`: landmarks of the mouth,
    with both mouths centred. Frames are compared in order up to the end of the shorter video.
    """

    reference: str | None

    numbers = (
        Number("landmark_distance", "eye distances", Better.LOWER, headline=True),
        Number("mouth_landmark_distance", "eye distances", Better.LOWER),
    )
    needs = frozenset({Need.FRAMES})
    requires = LANDMARK_DISTANCE

    def watch(self, clip: Subject) -> Watching:
        assert self.reference is not None
        others = reference_frames(self.reference, "metrics.landmark_distance.reference", clip)
        parts: dict[str, list[Trace]] = {name: [] for name in self.names}
        while (frames := (yield)) is not None:
            true = list(itertools.islice(others, len(frames.images)))
            if true:
                made, wanted = landmarks(frames)[: len(true)], landmarks(Frames(np.stack(true)))
                parts["landmark_distance"].append(mean_distance(made, wanted, range(68)))
                parts["mouth_landmark_distance"].append(mean_distance(made, wanted, MOUTH))
        found = Findings()
        for name, values in parts.items():
            distance = np.concatenate([*values, np.zeros(0)])
            if reason := few_faces(distance):
                raise UserError(f"{reason} of both videos")
            found.metrics[name] = float(np.nanmean(distance))
            found.traces[name] = np.append(distance, np.full(clip.num_frames - len(distance), np.nan))
        return found


def mean_distance(made: Landmarks, true: Landmarks, part: range) -> Float[np.ndarray, " n"]:
    """Returns the mean distance of some landmarks, with each face scaled by its eye distance and centred on them."""
    own, other = (
        (points[:, part] - points[:, part].mean(1, keepdims=True)) / face_size(points)[:, None, None]
        for points in (made, true)
    )
    return np.linalg.norm(own - other, axis=-1).mean(1)
