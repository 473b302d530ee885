"""Preservation of identity by the shape of the face."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from float_research.errors import UserError
from float_research.landmarks.landmarker import face_landmarker
from float_research.landmarks.pose import procrustes
from float_research.metrics.landmarks import Points, Values, eye_distance, few_faces, read_face, read_faces
from float_research.metrics.metric import (
    Better,
    Findings,
    FrameMetric,
    Frames,
    Need,
    Number,
    Subject,
    Watching,
    tabulate,
)


@dataclass(frozen=True, kw_only=True)
class FaceShape(FrameMetric):
    """Distance of the face's shape from that in the portrait and from that in the first frame.

    Both faces are compared in three dimensions, by the 33 points that MediaPipe fits poses by, since expression moves
    them little: one is turned, scaled and shifted onto the other, and the root mean square of what remains is in units
    of the distance between the eyes. `shape_distance`: to the portrait, mean over the frames. `shape_drift`: to the
    first frame with a face, mean over the frames after it. The same picture turned by 15° differs by 0.02, two people
    by 0.05 (scikit-image's astronaut, matplotlib's admiral).
    """

    numbers = (
        Number("shape_distance", "eye distances", Better.LOWER, headline=True),
        Number("shape_drift", "eye distances", Better.LOWER),
    )
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        own, reason = portrait_points(clip)
        first: Points | None = None

        def measured(frames: Frames) -> np.ndarray:
            nonlocal first
            seen = read_faces(frames)
            points, found = seen.points, seen.found
            if first is None and found.any():
                first = points[found][:1]
            return np.column_stack([shape_distance(face, points, found) for face in (own, first)])

        to_own, to_first = (yield from tabulate(2, measured)).T
        if few := few_faces(to_first):
            raise UserError(few)
        after = to_first[np.isfinite(to_first)][1:]
        findings = Findings(traces={"shape_drift": to_first})
        if len(after):
            findings.metrics["shape_drift"] = float(after.mean())
        else:
            findings.absent["shape_drift"] = "needs two frames with a face"
        if reason:
            findings.absent["shape_distance"] = reason
        else:
            findings.metrics["shape_distance"] = float(np.nanmean(to_own))
            findings.traces["shape_distance"] = to_own
        return findings


def portrait_points(clip: Subject) -> tuple[Points | None, str | None]:
    """Returns the points of the portrait's face, or why there are none."""
    if reason := clip.without(Need.PORTRAIT):
        return None, reason
    assert clip.portrait is not None
    points = read_face(clip.portrait).points
    return (points, None) if np.isfinite(points).all() else (None, "no face was found in the portrait")


def shape_distance(
    reference: Float[np.ndarray, "1 478 3"] | None, points: Points, found: Bool[np.ndarray, " n"]
) -> Values:
    """Returns how far each face differs from a reference in shape; NaN without one of them."""
    distance = np.full(len(points), np.nan)
    if reference is None or not found.any():
        return distance
    weights = face_landmarker().rigidity
    rigid = weights > 0
    own, others = reference[0, : len(weights)][rigid], points[found, : len(weights)][:, rigid]
    to_reference = procrustes(own, others, weights[rigid])
    fitted = np.einsum("nij,kj->nki", to_reference[:, :3, :3], own) + to_reference[:, None, :3, 3]
    distance[found] = root_mean_square(fitted - others) / eye_distance(points[found])
    return distance


def root_mean_square(away: Float[np.ndarray, "n k 3"]) -> Values:
    return np.sqrt(np.square(away).sum(-1).mean(1))
