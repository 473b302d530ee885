"""Motion of mouth, eyes and head, from landmarks."""

from dataclasses import dataclass

import numpy as np

from float_research.errors import UserError
from float_research.landmarks.pose import angles_deg
from float_research.metrics.landmarks import eye_aspects, few_faces, mouth_aspect, read_faces
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Trace, Watching

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

    def __post_init__(self) -> None:
        if not 0 < self.closed < 1:
            raise UserError(f"metrics.face.closed={self.closed} must be between 0 and 1, such as 0.6")

    def watch(self, clip: Subject) -> Watching:
        rows: list[list[float]] = []
        while (frames := (yield)) is not None:
            seen = read_faces(frames)
            eyes = eye_aspects(seen.points).mean(1)
            rows += np.column_stack([mouth_aspect(seen.points), eyes, angles_deg(seen.pose)]).tolist()
        mouth, eyes, *angles = np.array(rows).reshape(-1, 5).T
        if reason := few_faces(mouth):
            raise UserError(reason)
        pose = np.stack(angles, axis=1)
        pose -= np.nanmedian(pose, axis=0)
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


def blinks(eyes: Trace, closed: float) -> int:
    """Counts how often eyes close, ignoring frames without a face."""
    seen = eyes[np.isfinite(eyes)]
    shut = np.concatenate([[False], seen < closed * np.median(seen)])
    return int((shut[1:] & ~shut[:-1]).sum())
