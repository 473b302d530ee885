"""Decoder engines: motion latents → frames."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.models.motion_autoencoder import Features, MotionAutoencoder
from float_research.types import UserError


def to_uint8(frames: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n h w 3"]:
    """[-1, 1], clamped, to 0…255, truncated."""
    return ((frames.float().clamp(-1, 1) + 1) / 2 * 255).byte().permute(0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class Batched:
    """Decodes `frames_per_batch` frames at a time; the identity features serve them all."""

    frames_per_batch: int

    def __post_init__(self) -> None:
        if self.frames_per_batch < 1:
            raise UserError(f"decoding.frames_per_batch={self.frames_per_batch} must be a positive number")

    def __call__(
        self, autoencoder: MotionAutoencoder, features: Features, latents: Float[Tensor, "l d"]
    ) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        for batch in latents.split(self.frames_per_batch):
            yield to_uint8(autoencoder.decode(features, batch))
