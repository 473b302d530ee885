"""Pixel-wise similarity to another video."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from float_research.errors import UserError
from float_research.metrics.metric import Better, Findings, FrameMetric, Need, Number, Subject, Watching
from float_research.metrics.reference import reference_frames
from float_research.metrics.requirements import SIMILARITY
from float_research.types import Image

LEVELS = 255.0
MS_SSIM_PX = 160
"""The least frame size: five scales, each half of the last, with windows of 11 pixels."""


@dataclass(frozen=True, kw_only=True)
class Similarity(FrameMetric):
    """PSNR, SSIM (Wang et al., 2004) and MS-SSIM (2003) against `reference`: a video, a run, or a folder of videos.

    Frames are compared in order up to the end of the shorter video, the reference's resized to the clip's size.
    `psnr_db` is computed from the mean squared error of all frames; it is absent if all pixels are equal.
    """

    reference: str | None

    numbers = (
        Number("psnr_db", "dB", Better.HIGHER, headline=True),
        Number("ssim", "similarity", Better.HIGHER, headline=True),
        Number("ms_ssim", "similarity", Better.HIGHER),
    )
    needs = frozenset({Need.FRAMES})
    requires = SIMILARITY

    def watch(self, clip: Subject) -> Watching:
        assert self.reference is not None
        others = reference_frames(self.reference, "metrics.similarity.reference", clip)
        errors: list[float] = []
        structure: list[float] = []
        scales: list[float] = []
        while (frames := (yield)) is not None:
            made, true = pair(frames.images, others)
            if len(made):
                errors += (made - true).square().mean((1, 2, 3)).tolist()
                structure += per_frame(ssim, made, true)
            if len(made) and min(made.shape[-2:]) > MS_SSIM_PX:
                scales += per_frame(ms_ssim, made, true)
        if not errors:
            raise UserError(f"metrics.similarity.reference={self.reference} has no frames; give another video")
        found = Findings(metrics={"ssim": float(np.mean(structure))})
        if mean := float(np.mean(errors)):
            found.metrics["psnr_db"] = decibels(mean)
        else:
            found.absent["psnr_db"] = "every pixel is equal, so the ratio is infinite"
        if scales:
            found.metrics["ms_ssim"] = float(np.mean(scales))
        else:
            found.absent["ms_ssim"] = f"needs frames of more than {MS_SSIM_PX} pixels"
        for name, values in (("psnr_db", [decibels(e) if e else np.nan for e in errors]), ("ssim", structure)):
            found.traces[name] = np.array(values + [np.nan] * (clip.num_frames - len(values)))
        return found


def per_frame(
    measure: Callable[..., Any], made: Float[Tensor, "n 3 h w"], true: Float[Tensor, "n 3 h w"]
) -> list[float]:
    """Returns one of torchmetrics' similarities for each frame."""
    return measure(made, true, data_range=LEVELS, reduction="none").reshape(-1).tolist()


def decibels(error: float) -> float:
    """Returns the peak signal-to-noise ratio of a mean squared error."""
    return 10 * math.log10(LEVELS**2 / error)


def pair(
    images: UInt8[np.ndarray, "n h w 3"], others: Iterator[Image]
) -> tuple[Float[Tensor, "m 3 h w"], Float[Tensor, "m 3 h w"]]:
    """Returns frames and their counterparts, up to the shorter of both, 0 to 255."""
    height, width = images.shape[1:3]
    pairs = [
        (image, cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA))
        for image, other in zip(images, others, strict=False)
    ]
    stacked = np.array(pairs, dtype=np.float32).reshape(-1, 2, height, width, 3)
    made, true = torch.from_numpy(stacked).permute(1, 0, 4, 2, 3)
    return made, true
