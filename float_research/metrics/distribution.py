"""Fréchet distances: how alike the videos of a run and those of a folder are as sets, in the eyes of a network.

The networks are files of the user's, TorchScript (torch.jit.save): none comes with any package.
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
from float_research.metrics.metric import Findings, Need, RunMetric
from float_research.metrics.networks import device, scripted
from float_research.sources import code
from float_research.types import Image

VIDEOS = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi"})
BATCH = 16
Read = Callable[[Path], Iterator[Image]]


@dataclass(frozen=True, kw_only=True)
class FrechetDistance(RunMetric):
    """`‖μ - μ'‖² + tr(Σ + Σ' - 2 (Σ Σ')^½)` of a network's features of the run's videos and of those in `real`.

    The network of the file `network` is called with RGB from `low` to `high`, of `size_px` or, if null, as it is, and
    with `arguments`; its output's columns from `columns[0]` to `columns[1]`, or all, are the features. The folder's are
    summed up once, and kept in the cache.
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
    key: ClassVar[str]
    """How the settings call it."""

    def files(self) -> Iterable[tuple[str, str | None]]:
        return [(f"metrics.{self.key}.network", self.network)]

    def lacks(self) -> str | None:
        if self.real is None:
            return f"needs real videos; name their folder with metrics.{self.key}.real=FOLDER"
        return super().lacks()

    @abstractmethod
    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        """What the network sees at once."""

    @abstractmethod
    def arranged(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        """Samples as the network wants them."""

    def compare(self, videos: Sequence[Path], read: Read) -> Findings:
        true, _ = self.cache.get(self.key, self._depends(), lambda: self._real(read))
        distance = fed(self._features(videos, read), real=False, state=true.tensors)
        if min(distance.real_features_num_samples, distance.fake_features_num_samples) < 2:
            raise UserError("needs two samples or more, of the run and of the real videos")
        return Findings(metrics={self.names[0]: max(0.0, float(distance.compute()))})

    def _real(self, read: Read) -> Entry:
        return Entry(tensors=fed(self._features(self._videos(), read), real=True, state={}).state_dict())

    def _videos(self) -> list[Path]:
        folder = Path(self.real or "")
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
        if not found:
            raise UserError(f"metrics.{self.key}.real={self.real} holds no video")
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
            pixels = torch.from_numpy(np.stack([np.stack([self._sized(image) for image in s]) for s in batch]))
            scaled = pixels.permute(0, 1, 4, 2, 3).float() * ((self.high - self.low) / 255) + self.low
            made = network(self.arranged(scaled).to(device()), **self.arguments)
            yield made.flatten(1)[:, slice(*self.columns) if self.columns else slice(None)].cpu()

    def _sized(self, image: Image) -> Image:
        if self.size_px is None or image.shape[:2] == (self.size_px, self.size_px):
            return image
        method = cv2.INTER_AREA if image.shape[0] > self.size_px else cv2.INTER_LINEAR
        return cv2.resize(image, (self.size_px, self.size_px), interpolation=method)


def fed(
    features: Iterator[Float[Tensor, "n k"]], *, real: bool, state: Mapping[str, Tensor]
) -> FrechetInceptionDistance:
    """Torchmetrics' distance after features that are computed already, and what it held before. It keeps sums alone.

    Raises:
        UserError: there are no features.
    """
    first = next(features, None)
    if first is None:
        raise UserError("needs two samples or more, and there is none")
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
    """Each frame is a sample: the network sees `(n, 3, h, w)`."""

    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        return ([frame] for frame in frames)

    def arranged(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        return pixels[:, 0]


@dataclass(frozen=True, kw_only=True)
class Fid(FrameDistance):
    """Inception's features (arXiv 1706.08500), such as NVIDIA's inception-2015-12-05.pt gives them."""

    names, key = ("fid",), "fid"


@dataclass(frozen=True, kw_only=True)
class EFid(FrameDistance):
    """Expression coefficients of a 3D face model, as EMO (arXiv 2402.17485) and FLOAT compare them."""

    names, key = ("e_fid",), "e_fid"


@dataclass(frozen=True, kw_only=True)
class PFid(FrameDistance):
    """Head pose coefficients of a 3D face model, as FLOAT compares them."""

    names, key = ("p_fid",), "p_fid"


@dataclass(frozen=True, kw_only=True)
class Fvd(FrechetDistance):
    """Stretches of `clip_frames` frames are samples (arXiv 1812.01717): the network, I3D, sees `(n, 3, t, h, w)`.

    What is left over at the end of a video is no sample.
    """

    clip_frames: int

    names, key = ("fvd",), "fvd"

    def __post_init__(self) -> None:
        if self.clip_frames < 1:
            raise UserError(f"metrics.fvd.clip_frames={self.clip_frames} must be a positive number, such as 16")

    def samples(self, frames: Iterator[Image]) -> Iterator[list[Image]]:
        while len(sample := list(itertools.islice(frames, self.clip_frames))) == self.clip_frames:
            yield sample

    def arranged(self, pixels: Float[Tensor, "n t 3 h w"]) -> Tensor:
        return pixels.transpose(1, 2)
