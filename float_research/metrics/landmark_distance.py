"""Landmark distance to another video."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.landmarks.landmarker import face_landmarker
from float_research.landmarks.points import NUM_RIGID
from float_research.metrics.landmarks import LIPS, Points, Values, eye_distance, few_faces, read_faces
from float_research.metrics.metric import (
    Better,
    Findings,
    FrameMetric,
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

    `landmark_distance`: the 468 points of the face in the picture, with both faces centred. `mouth_landmark_distance`:
    the 40 points of the lips, with both mouths centred. Frames are compared in order, up to the end of the shorter
    video.
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
        read_other = face_landmarker().follow()
        while (frames := (yield)) is not None:
            true = list(itertools.islice(others, len(frames.images)))
            if true:
                made, wanted = read_faces(frames).points[: len(true)], read_other(np.stack(true)).points
                parts["landmark_distance"].append(mean_distance(made, wanted, range(NUM_RIGID)))
                parts["mouth_landmark_distance"].append(mean_distance(made, wanted, LIPS))
        found = Findings()
        for name, values in parts.items():
            distance = np.concatenate([*values, np.zeros(0)])
            if reason := few_faces(distance):
                raise UserError(f"{reason} of both videos")
            found.metrics[name] = float(np.nanmean(distance))
            found.traces[name] = np.append(distance, np.full(clip.num_frames - len(distance), np.nan))
        return found


def mean_distance(made: Points, true: Points, part: Sequence[int]) -> Values:
    """Returns the mean distance of some points, with each face scaled by its eye distance and centred on them."""
    own, other = (_normalised(points, part) for points in (made, true))
    return np.linalg.norm(own - other, axis=-1).mean(1)


def _normalised(points: Points, part: Sequence[int]) -> Float[np.ndarray, "n k 2"]:
    chosen = points[:, part, :2]
    return (chosen - chosen.mean(1, keepdims=True)) / eye_distance(points)[:, None, None]
