"""Smoothness of visible motion, by optical flow."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from float_research.metrics.metric import Findings, FrameMetric, Need, Number, Subject, Watching

SETTINGS = (0.5, 3, 15, 3, 5, 1.2, 0)
"""Pyramid scale, levels, window, iterations, neighbourhood, its sigma, and flags, as in OpenCV's example."""


@dataclass(frozen=True, kw_only=True)
class OpticalFlow(FrameMetric):
    """Farnebäck's dense flow (SCIA 2003) between neighbouring frames.

    `flow_px`: mean length, in pixels per frame. `flow_change_px`: mean length of the change of the flow from one pair
    of frames to the next; small for smooth motion.
    """

    numbers = (Number("flow_px", "px/frame", None), Number("flow_change_px", "px/frame", None))
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        length: list[float] = []
        change: list[float] = []
        last = last_flow = None
        while (frames := (yield)) is not None:
            for grey in frames.grey:
                flow = None if last is None else _flow(last, grey)
                length.append(_length(flow))
                change.append(np.nan if flow is None or last_flow is None else _length(flow - last_flow))
                last, last_flow = grey, flow
        found = Findings(traces={"flow_px": np.array(length), "flow_change_px": np.array(change)})
        for count, (name, values) in enumerate(found.traces.items(), 2):
            if len(values) < count:
                found.absent[name] = f"needs {count} frames, and the clip has {len(values)}"
            else:
                found.metrics[name] = float(np.nanmean(values))
        return found


def _flow(before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 2"]:
    return cv2.calcOpticalFlowFarneback(before, after, None, *SETTINGS)


def _length(flow: np.ndarray | None) -> float:
    """Returns the mean length of a field's vectors."""
    return float("nan") if flow is None else float(np.linalg.norm(flow, axis=-1).mean())
