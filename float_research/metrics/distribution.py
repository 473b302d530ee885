"""Fréchet distances between the feature distributions of a run's videos and of a folder of real videos.

The networks are the user's TorchScript files (torch.jit.save), since no package ships them.
"""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from float_research.cache import Cache, Entry
from float_research.errors import UserError
from float_research.files import sha256
from float_research.metrics.metric import Better, Findings, Need, Number, RunMetric
from float_research.metrics.networks import device, scripted
from float_research.metrics.requirements import E_FID, FID, FVD, P_FID, Requirements
from float_research.sources import code
from float_research.types import Image

VIDEOS = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi"})
BATCH = 16
Read = Callable[[Path], Iterator[Image]]


@dataclass(frozen=True, kw_only=True)
class FrechetDistance(RunMetric):
    """`‖μ - μ'‖² + tr(Σ + Σ' - 2 (Σ Σ')^½)` of a network's features of the run's videos and of those in `real`.

    The network is called with RGB in [`low`, `high`], resized to `size_px` unless null, and with `arguments`. Columns
    `columns[0]` to `columns[1]` of its output, or all, are the features. The statistics of `real` are computed once and
    cached.
    """

    real: str | None
    network: str | None
    size_px: int | None
    low: float
    high: float
    columns: Sequence[int] | None
    arguments: Mapping[str, Any]
    cache: Cache

    needs = frozenset({Need.FRAMES})
    requires: ClassVar[Requirements]

    @abstractmethod
    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        """Yields the frames of each sample."""

    @abstractmethod
    def arrange(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        """Reshapes a batch of samples to the network's input."""

    def compare(self, videos: Sequence[Path], read: Read) -> Findings:
        true, _ = self.cache.get(self.requires.option, self._depends(), lambda: self._real(read))
        distance = accumulate(self._features(videos, read), real=False, state=true.tensors)
        if min(distance.real_features_num_samples, distance.fake_features_num_samples) < 2:
            raise UserError("needs at least two samples of the run and of the real videos")
        return Findings(metrics={self.names[0]: max(0.0, float(distance.compute()))})

    def _real(self, read: Read) -> Entry:
        return Entry(tensors=accumulate(self._features(self._videos(), read), real=True, state={}).state_dict())

    def _videos(self) -> list[Path]:
        folder = Path(self.real or "")
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
        if not found:
            raise UserError(f"metrics.{self.requires.option}.real={self.real} holds no video")
        return found

    def _depends(self) -> dict[str, Any]:
        assert self.network is not None
        how = {"low": self.low, "high": self.high, "size_px": self.size_px, "arguments": dict(self.arguments)}
        what = {"network": sha256(Path(self.network)), "videos": [sha256(path) for path in self._videos()]}
        return {**how, **what, "columns": list(self.columns or ()), "code": code(type(self).__module__)}

    @cached_property
    def _network(self) -> Callable[..., Tensor]:
        assert self.network is not None
        return scripted(Path(self.network))

    def _features(self, videos: Iterable[Path], read: Read) -> Iterator[Float[Tensor, "n k"]]:
        network = self._network
        samples = (sample for video in videos for sample in self.samples(read(video)))
        while batch := list(itertools.islice(samples, BATCH)):
            pixels = torch.from_numpy(np.stack([np.stack([self._resize(image) for image in s]) for s in batch]))
            scaled = pixels.permute(0, 1, 4, 2, 3).float() * ((self.high - self.low) / 255) + self.low
            features = network(self.arrange(scaled).to(device()), **self.arguments)
            yield features.flatten(1)[:, slice(*self.columns) if self.columns else slice(None)].cpu()

    def _resize(self, image: Image) -> Image:
        if self.size_px is None or image.shape[:2] == (self.size_px, self.size_px):
            return image
        method = cv2.INTER_AREA if image.shape[0] > self.size_px else cv2.INTER_LINEAR
        return cv2.resize(image, (self.size_px, self.size_px), interpolation=method)


def accumulate(
    features: Iterator[Float[Tensor, "n k"]], *, real: bool, state: Mapping[str, Tensor]
) -> FrechetInceptionDistance:
    """Updates torchmetrics' distance, restored from `state`, with computed features. It only keeps sums.

    Raises:
        UserError: there are no features.
    """
    first = next(features, None)
    if first is None:
        raise UserError("needs at least two samples, and there are none")
    identity = nn.Identity()
    identity.register_buffer("num_features", torch.tensor(first.shape[1]), persistent=False)
    distance = FrechetInceptionDistance(feature=identity)
    distance.persistent(True)
    if state:
        distance.load_state_dict(state)
    for batch in itertools.chain([first], features):
        distance.update(batch, real=real)
    return distance


class FrameDistance(FrechetDistance):
    """A Fréchet distance with single frames as samples: the network's input is `(n, 3, h, w)`."""

    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        return ([frame] for frame in frames)

    def arrange(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        return pixels[:, 0]


@dataclass(frozen=True, kw_only=True)
class Fid(FrameDistance):
    """FID on Inception's features (arXiv 1706.08500), for example from NVIDIA's inception-2015-12-05.pt."""

    numbers = (Number("fid", "squared feature distance", Better.LOWER, headline=True),)
    requires = FID


@dataclass(frozen=True, kw_only=True)
class EFid(FrameDistance):
    """E-FID on the expression coefficients of a 3D face model, as in EMO (arXiv 2402.17485) and FLOAT."""

    numbers = (Number("e_fid", "squared feature distance", Better.LOWER, headline=True),)
    requires = E_FID


@dataclass(frozen=True, kw_only=True)
class PFid(FrameDistance):
    """P-FID on the head pose coefficients of a 3D face model, as in FLOAT."""

    numbers = (Number("p_fid", "squared feature distance", Better.LOWER, headline=True),)
    requires = P_FID


@dataclass(frozen=True, kw_only=True)
class Fvd(FrechetDistance):
    """FVD on clips of `clip_frames` frames (arXiv 1812.01717): the input of the network, I3D, is `(n, 3, t, h, w)`.

    Remaining frames at the end of a video are dropped.
    """

    clip_frames: int

    numbers = (Number("fvd", "squared feature distance", Better.LOWER, headline=True),)
    requires = FVD

    def __post_init__(self) -> None:
        if self.clip_frames < 1:
            raise UserError(f"metrics.fvd.clip_frames={self.clip_frames} must be positive, such as 16")

    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        while len(sample := list(itertools.islice(frames, self.clip_frames))) == self.clip_frames:
            yield sample

    def arrange(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        return pixels.transpose(1, 2)
