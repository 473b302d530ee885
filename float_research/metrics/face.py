"""Motion of mouth, eyes and head, from landmarks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.metrics.head_pose import head_pose_deg
from float_research.metrics.landmarks import INNER_LIPS, LEFT_EYE, RIGHT_EYE, Landmarks, few_faces, landmarks
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Trace, Watching
from float_research.metrics.requirements import FACE

ANGLES = ("yaw", "pitch", "roll")
RANGE = (5, 95)
"""Percentiles, robust to a few wrong landmarks."""


@dataclass(frozen=True, kw_only=True)
class Face(FrameMetric):
    """Measures mouth opening, blinks and head rotation.

    `mouth_aspect_mean`, `mouth_aspect_std`: gap between the inner lips over their width. `blinks_per_min`: how often
    the eyes' aspect ratio (Soukupová and Čech, 2016) falls below `closed` times its median. `yaw_range_deg`, …: between
    the 5th and the 95th percentile. `face_share`: share of frames in which a face was found.
    """

    closed: float

    numbers = (
        Number("mouth_aspect_mean", "gap / width", None),
        Number("mouth_aspect_std", "gap / width", None),
        Number("blinks_per_min", "1/min", None),
        *(Number(f"{angle}_range_deg", "°", None) for angle in ANGLES),
        Number("face_share", "share of frames", Better.HIGHER),
    )
    needs = frozenset({Need.FRAMES})
    requires = FACE

    def __post_init__(self) -> None:
        if not 0 < self.closed < 1:
            raise UserError(f"metrics.face.closed={self.closed} must be between 0 and 1, such as 0.6")

    def watch(self, clip: Subject) -> Watching:
        parts, angles = [], []
        while (frames := (yield)) is not None:
            parts.append(landmarks(frames))
            angles += [head_pose_deg(points, frames.images.shape[2]) for points in parts[-1]]
        mouth = np.concatenate([mouth_aspect(points) for points in parts])
        eyes = np.concatenate([eye_aspect(points) for points in parts])
        if reason := few_faces(mouth):
            raise UserError(reason)
        pose = np.stack(angles) - np.nanmedian(angles, axis=0)
        low, high = np.nanpercentile(pose, RANGE, axis=0)
        metrics = {
            "mouth_aspect_mean": float(np.nanmean(mouth)),
            "mouth_aspect_std": float(np.nanstd(mouth)),
            "blinks_per_min": blinks(eyes, self.closed) / (np.isfinite(eyes).sum() / clip.fps / 60),
            "face_share": float(np.isfinite(mouth).mean()),
        }
        traces = {"mouth_aspect": mouth, "eye_aspect": eyes}
        for k, name in enumerate(ANGLES):
            metrics[f"{name}_range_deg"] = float(high[k] - low[k])
            traces[f"{name}_deg"] = pose[:, k]
        return Findings(metrics=metrics, traces=traces)


def _distance(points: Landmarks, a: int, b: int) -> Float[np.ndarray, " n"]:
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def mouth_aspect(points: Landmarks) -> Float[np.ndarray, " n"]:
    """Returns the mean gap between the inner lips over the distance of their corners."""
    return np.mean([_distance(points, *pair) for pair in INNER_LIPS], axis=0) / _distance(points, 60, 64)


def eye_aspect(points: Landmarks) -> Float[np.ndarray, " n"]:
    """Returns the height over the width of the eyes, averaged over both."""
    ratios = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        height = (_distance(points, eye[1], eye[5]) + _distance(points, eye[2], eye[4])) / 2
        ratios.append(height / _distance(points, eye[0], eye[3]))
    return np.mean(ratios, axis=0)


def blinks(eyes: Trace, closed: float) -> int:
    """Counts how often eyes close, ignoring frames without a face."""
    seen = eyes[np.isfinite(eyes)]
    shut = np.concatenate([[False], seen < closed * np.median(seen)])
    return int((shut[1:] & ~shut[:-1]).sum())
