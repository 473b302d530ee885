"""Decoder engines: motion latents → frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.models.engine import Engine
from float_research.models.motion_autoencoder import Features, MotionAutoencoder
from float_research.types import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_engines: WeakKeyDictionary[MotionAutoencoder, dict[tuple[torch.dtype, torch.dtype], Engine]] = WeakKeyDictionary()
"""By precision of computing and of the weights, as long as their model lives."""


@runtime_checkable
class Decoding(Protocol):
    """Frames of one clip, uint8, in order."""

    @property
    def frames_per_batch(self) -> int:
        """How many are computed at a time, at most."""

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]: ...


def to_uint8(frames: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n h w 3"]:
    """[-1, 1], clamped, to 0…255, truncated."""
    return ((frames.float().clamp(-1, 1) + 1) / 2 * 255).byte().permute(0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class Framewise:
    """The plain modules, one frame at a time: what other engines are measured against."""

    frames_per_batch = 1

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        for latent in latents.split(1):
            yield to_uint8(autoencoder.decode(features, latent))


@dataclass(frozen=True, kw_only=True)
class Batched:
    """At most `frames_per_batch` at a time: on a CPU by the prepared engine, elsewhere and in 64 bits by the modules.

    `precision`: float32, bfloat16 or float16; null is the trainer's.
    """

    frames_per_batch: int
    precision: str | None

    def __post_init__(self) -> None:
        if self.frames_per_batch < 1:
            raise UserError(f"decoding.frames_per_batch={self.frames_per_batch} must be a positive number")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UserError(f"decoding.precision={self.precision} is unknown; choose {', '.join(PRECISIONS)} or null")

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"], /
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        kind, weights = latents.device.type, autoencoder.dec.direction.weight.dtype
        of_trainer = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weights
        dtype = of_trainer if self.precision is None else PRECISIONS[self.precision]
        if kind == "cpu" and dtype in PRECISIONS.values():
            engines = _engines.setdefault(autoencoder, {})
            if (dtype, weights) not in engines:
                engines[dtype, weights] = Engine(autoencoder.dec, dtype)
            with torch.autocast(kind, enabled=False):
                frames = engines[dtype, weights].frames(features, latents, self.frames_per_batch)
                yield from map(to_uint8, frames)
        else:
            for batch in latents.split(self.frames_per_batch):
                with torch.autocast(kind, dtype, enabled=dtype != weights):
                    yield to_uint8(autoencoder.decode(features, batch))
