"""Mouth, eyes, brows, smile and head of a face, from landmarks and blendshapes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from float_research.errors import UserError
from float_research.landmarks.pose import ANGLES, angles_deg
from float_research.metrics.landmarks import actions, eye_aspects, few_faces, gaze, mouth_aspect, read_faces
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
    tabulate,
)

RANGE = (5, 95)
"""Percentiles, robust to a few wrong landmarks."""
SMILE = ("mouthSmileLeft", "mouthSmileRight")
BROWS_UP = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
BROWS_DOWN = ("browDownLeft", "browDownRight")


@dataclass(frozen=True, kw_only=True)
class Face(FrameMetric):
    """Measures mouth, blinks, gaze, expression and rotation of a face.

    `mouth_aspect_mean`, `mouth_aspect_std`: gap between the inner lips over their width. `blinks_per_min`: how often
    the eyes' aspect ratio (Soukupová and Čech, 2016) falls below `closed` times its median; `blink_duration_s`: for how
    long, on average. `gaze_spread`: standard deviation of the irises' place between the corners of the open eyes,
    along and across, root of the sum of both squares. `smile_mean`, `smile_std`: blendshape of the smile, left and
    right. `brow_std`: standard deviation of the brows, raised minus lowered, by blendshapes. `yaw_range_deg`, …:
    between the 5th and the 95th percentile. `face_share`: share of frames in which a face was found.
    `several_faces_share`: share of the frames searched, every eighth, that show more than one; the largest at first is
    followed.
    """

    closed: float

    numbers = (
        Number("mouth_aspect_mean", "gap / width", None),
        Number("mouth_aspect_std", "gap / width", None),
        Number("blinks_per_min", "1/min", None),
        Number("blink_duration_s", "s", None),
        Number("gaze_spread", "eye widths", None),
        Number("smile_mean", "0 to 1", None),
        Number("smile_std", "0 to 1", None),
        Number("brow_std", "0 to 1", None),
        *(Number(f"{angle}_range_deg", "°", None) for angle in ANGLES),
        Number("face_share", "share of frames", Better.HIGHER),
        Number("several_faces_share", "share of frames", Better.LOWER),
    )
    needs = frozenset({Need.FRAMES})

    def __post_init__(self) -> None:
        if not 0 < self.closed < 1:
            raise UserError(f"metrics.face.closed={self.closed} must be between 0 and 1, such as 0.6")

    def watch(self, clip: Subject) -> Watching:
        def measured(frames: Frames) -> np.ndarray:
            seen = read_faces(frames)
            columns = [mouth_aspect(seen.points), eye_aspects(seen.points).mean(1), actions(seen, *SMILE)]
            brows = actions(seen, *BROWS_UP) - actions(seen, *BROWS_DOWN)
            return np.column_stack([*columns, brows, gaze(seen.points), angles_deg(seen.pose), seen.num_faces])

        table = yield from tabulate(10, measured)
        mouth, eyes, smile, brows = table[:, :4].T
        if reason := few_faces(mouth):
            raise UserError(reason)
        pose = table[:, 6:9] - np.nanmedian(table[:, 6:9], axis=0)
        low, high = np.nanpercentile(pose, RANGE, axis=0)
        lengths = closures(eyes, self.closed)
        looking = np.where((eyes >= self.closed * np.nanmedian(eyes))[:, None], table[:, 4:6], np.nan)
        searched = table[np.isfinite(table[:, 9]), 9]
        found = Findings(
            metrics={
                "mouth_aspect_mean": float(np.nanmean(mouth)),
                "mouth_aspect_std": float(np.nanstd(mouth)),
                "blinks_per_min": len(lengths) / (np.isfinite(eyes).sum() / clip.fps / 60),
                "gaze_spread": spread(looking),
                "smile_mean": float(np.nanmean(smile)),
                "smile_std": float(np.nanstd(smile)),
                "brow_std": float(np.nanstd(brows)),
                "face_share": float(np.isfinite(mouth).mean()),
                "several_faces_share": float((searched > 1).mean()),
                **dict(zip((f"{angle}_range_deg" for angle in ANGLES), (high - low).tolist(), strict=True)),
            },
            traces={"mouth_aspect": mouth, "eye_aspect": eyes, "smile": smile, "brows": brows},
        )
        found.traces.update({"gaze_along": looking[:, 0], "gaze_across": looking[:, 1]})
        found.traces.update({f"{angle}_deg": pose[:, k] for k, angle in enumerate(ANGLES)})
        if lengths:
            found.metrics["blink_duration_s"] = float(np.mean(lengths)) / clip.fps
        else:
            found.absent["blink_duration_s"] = "there is no blink"
        return found


def closures(eyes: Trace, closed: float) -> list[int]:
    """Returns for how many frames eyes stay closed each time they close, ignoring frames without a face."""
    seen = eyes[np.isfinite(eyes)]
    shut = np.concatenate([[False], seen < closed * np.median(seen), [False]])
    edges = np.flatnonzero(shut[1:] != shut[:-1])
    return (edges[1::2] - edges[::2]).tolist()


def spread(places: Float[np.ndarray, "t 2"]) -> float:
    """Returns the root of the summed variances."""
    return float(np.sqrt(np.nanvar(places, axis=0).sum()))
