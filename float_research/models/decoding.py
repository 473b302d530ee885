"""Decoder engines: motion latents → frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.errors import UserError
from float_research.models.decoder_engine import Engine
from float_research.models.motion_autoencoder import Features, MotionAutoencoder
from float_research.models.precision import PRECISIONS, Engines, check_precision, computing_dtype

_engines: Engines[Engine] = Engines()


@runtime_checkable
class Decoding(Protocol):
    """Decodes the frames of one clip, uint8, in order, at the size of the last features given."""

    def peak_mb(self, frame_mb: float) -> float:
        """Returns the approximate peak memory if one frame takes `frame_mb`."""

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]: ...


def to_uint8(frames: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n h w 3"]:
    """Clamps to [-1, 1] and maps to 0…255, truncating."""
    return frames.float().clamp(-1, 1).add_(1).div_(2).mul_(255).byte().permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True, kw_only=True)
class Framewise:
    """Decodes with the plain modules, one frame at a time: the reference for other engines."""

    def peak_mb(self, frame_mb: float) -> float:
        return frame_mb

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        for latent in latents.split(1):
            yield to_uint8(autoencoder.decode(features, latent))


@dataclass(frozen=True, kw_only=True)
class Batched:
    """Decodes with the prepared engine, at most `frames_per_batch` frames at a time and within `memory_mb`.

    `precision`: float32, bfloat16 or float16; null: the trainer's. In float64 it uses the plain modules.
    """

    frames_per_batch: int
    memory_mb: float
    precision: str | None
    compiled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.frames_per_batch < 1:
            raise UserError(f"decoding.frames_per_batch={self.frames_per_batch} must be a positive number")
        if self.memory_mb <= 0:
            raise UserError(f"decoding.memory_mb={self.memory_mb} must be a positive number")
        check_precision("decoding.precision", self.precision)

    def peak_mb(self, frame_mb: float) -> float:
        return max(frame_mb, min(self.frames_per_batch * frame_mb, self.memory_mb))

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        weight = autoencoder.dec.direction.weight
        dtype = computing_dtype(self.precision, weight)
        if dtype not in PRECISIONS.values():
            for batch in latents.split(self.frames_per_batch):
                yield to_uint8(autoencoder.decode(features, batch))
            return
        levels = len(features)
        make = partial(Engine, autoencoder.dec, dtype, num_levels=levels, compiled=self.compiled)
        engine = _engines.get(autoencoder, weight, (dtype, levels, self.compiled), make)
        with torch.autocast(weight.device.type, enabled=False):
            yield from map(to_uint8, self.frames(engine, features, latents))

    def frames(
        self, engine: Engine, features: Features, latents: Float[Tensor, "l d"]
    ) -> Iterator[Float[Tensor, "n 3 h w"]]:
        bound = int(self.memory_mb * 1e6)
        return engine.frames(features, latents, at_most=self.frames_per_batch, memory_bytes=bound)


@dataclass(frozen=True, kw_only=True)
class Compiled(Batched):
    """Decodes with the engine compiled by torch.compile, which takes minutes, and replayed as a CUDA graph on a GPU.

    A batch has `frames_per_batch` frames, or fewer to fit into `memory_mb`.
    """

    compiled: ClassVar[bool] = True

    def frames(
        self, engine: Engine, features: Features, latents: Float[Tensor, "l d"]
    ) -> Iterator[Float[Tensor, "n 3 h w"]]:
        fitting = max(1, int(self.memory_mb * 1e6) // engine.frame_bytes)
        return engine.compiled_frames(features, latents, at_a_time=min(self.frames_per_batch, fitting))
