"""Sharpness of frames."""

from dataclasses import dataclass

import cv2
import numpy as np

from float_research.metrics.metric import Findings, FrameMetric, Need, Number, Subject, Watching


@dataclass(frozen=True, kw_only=True)
class Sharpness(FrameMetric):
    """`sharpness`: mean over frames of the variance of the luma's Laplacian (Pech-Pacheco et al., 2000)."""

    numbers = (Number("sharpness", "luma levels²", None),)
    needs = frozenset({Need.FRAMES})

    def watch(self, clip: Subject) -> Watching:
        values: list[float] = []
        while (frames := (yield)) is not None:
            values += [float(cv2.Laplacian(grey, cv2.CV_64F).var()) for grey in frames.grey]
        return Findings(metrics={"sharpness": float(np.mean(values))}, traces={"sharpness": np.array(values)})
