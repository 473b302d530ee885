"""CSIM: cosine similarity of ArcFace embeddings of frames and portrait."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.landmarks.points import LIPS_OUTER_LOWER
from float_research.metrics.landmarks import NOSE_TIP, Points, eye_centres, few_faces, read_faces
from float_research.metrics.metric import Better, Findings, FrameMetric, Frames, Need, Number, Subject, Watching
from float_research.metrics.networks import device, scripted
from float_research.metrics.requirements import CSIM
from float_research.types import Image

SIZE_PX = 112
PLACES = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
"""ArcFace's alignment template: eyes, tip of the nose, corners of the mouth (InsightFace)."""


@dataclass(frozen=True, kw_only=True)
class Csim(FrameMetric):
    """`csim`: mean cosine between ArcFace's embeddings (arXiv 1801.07698) of the frames and of the portrait.

    `network`: a TorchScript file, called with aligned RGB faces `(n, 3, 112, 112)` in [-1, 1].
    """

    network: str | None

    numbers = (Number("csim", "cosine", Better.HIGHER, headline=True),)
    needs = frozenset({Need.FRAMES, Need.PORTRAIT})
    requires = CSIM

    @cached_property
    def _network(self) -> Callable[..., Tensor]:
        assert self.network is not None
        return scripted(Path(self.network))

    def watch(self, clip: Subject) -> Watching:
        assert clip.portrait is not None
        own = self._embeddings(Frames(clip.portrait[None]))
        if not torch.isfinite(own).all():
            raise UserError("no face was found in the portrait")
        seen: list[float] = []
        while (frames := (yield)) is not None:
            seen += torch.nn.functional.cosine_similarity(self._embeddings(frames), own).tolist()
        cosine = np.array(seen)
        if reason := few_faces(cosine):
            raise UserError(reason)
        return Findings(metrics={"csim": float(np.nanmean(cosine))}, traces={"csim": cosine})

    def _embeddings(self, frames: Frames) -> Float[Tensor, "n k"]:
        """Returns one row per frame, NaN without a face."""
        faces_seen = read_faces(frames)
        points, seen = faces_seen.points, faces_seen.found
        faces = [align(image, face) for image, face in zip(frames.images[seen], points[seen], strict=True)]
        if not faces:
            return torch.full((len(points), 1), torch.nan)
        pixels = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2) / 127.5 - 1
        made = self._network(pixels.to(device())).float().cpu()
        rows = torch.full((len(points), made.shape[1]), torch.nan)
        rows[torch.from_numpy(seen)] = made
        return rows


def five_points(points: Points) -> Float[np.ndarray, "n 5 2"]:
    """Returns the centres of the eyes, the tip of the nose and the corners of the mouth in the picture."""
    corners = [LIPS_OUTER_LOWER[0], LIPS_OUTER_LOWER[-1]]
    return np.concatenate([eye_centres(points), points[:, [NOSE_TIP, *corners]]], axis=1)[..., :2]


def align(image: Image, points: Float[np.ndarray, "478 _"]) -> Image:
    """Rotates, scales and shifts a face to ArcFace's template."""
    places = np.ascontiguousarray(five_points(points[None])[0])
    to_template, _ = cv2.estimateAffinePartial2D(places, PLACES, method=cv2.LMEDS)
    return cv2.warpAffine(image, to_template, (SIZE_PX, SIZE_PX))
