"""Frame-to-frame change of brightness."""

from dataclasses import dataclass

import numpy as np

from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Watching


@dataclass(frozen=True, kw_only=True)
class Flicker(FrameMetric):
    """`flicker`: mean absolute difference of the luma of neighbouring frames, 0 to 255 (VBench, arXiv 2311.17982)."""

    numbers = (Number("flicker", "luma levels", Better.LOWER, headline=True),)
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        values, last = [], None
        while (frames := (yield)) is not None:
            for grey in frames.grey.astype(np.int16):
                values.append(np.nan if last is None else float(np.abs(grey - last).mean()))
                last = grey
        if len(values) < 2:
            return Findings(absent={"flicker": f"needs two frames, and the clip has {len(values)}"})
        return Findings(metrics={"flicker": float(np.nanmean(values))}, traces={"flicker": np.array(values)})
