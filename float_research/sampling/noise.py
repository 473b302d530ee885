"""Initial noise of each window.

It is drawn on the CPU from (seed, clip id, window), so it does not depend on the device or on other clips in the batch.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError


@runtime_checkable
class Noise(Protocol):
    """An endless iterator of standard normal noise for the windows of one clip, in order."""

    def __call__(self, *, seed: int, clip: str, num_frames: int, latent_dim: int) -> Iterator[Float[Tensor, "l d"]]: ...


def draw(seed: int, num_frames: int, latent_dim: int) -> Float[Tensor, "l d"]:
    """Draws float32 noise from a new generator."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(1, num_frames, latent_dim, generator=generator, dtype=torch.float32, device="cpu")[0]


def hash_seed(text: str) -> int:
    """Returns a 63-bit seed from the SHA-256 digest of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def candidate_seed(seed: int, candidate: int) -> int:
    """Returns the seed of a candidate's noise in all windows and steps; candidate 0 has the unchanged seed."""
    if candidate == 0:
        return seed
    return hash_seed(f"{seed}\ncandidate {candidate}")


def derived_seed(seed: int, clip: str, window: int) -> int:
    """Returns a separate seed for each clip and window."""
    return hash_seed(f"{seed}\n{window}\n{clip}")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The official policy: the generator is reseeded for each window, so all windows of all clips share one noise."""

    def __call__(self, *, seed: int, clip: str, num_frames: int, latent_dim: int) -> Iterator[Float[Tensor, "l d"]]:
        noise = draw(seed, num_frames, latent_dim)
        while True:
            yield noise


@dataclass(frozen=True, kw_only=True)
class Independent:
    """Independent noise for each clip and window."""

    def __call__(self, *, seed: int, clip: str, num_frames: int, latent_dim: int) -> Iterator[Float[Tensor, "l d"]]:
        window = 0
        while True:
            yield draw(derived_seed(seed, clip, window), num_frames, latent_dim)
            window += 1


@dataclass(frozen=True, kw_only=True)
class Correlated:
    """First-order autoregression over windows: `x_k = ρ x_(k-1) + sqrt(1 - ρ²) ε_k`, unit variance throughout.

    ρ = 0 is `Independent`; ρ = 1 is one noise for the whole clip.
    """

    rho: float

    def __post_init__(self) -> None:
        if not -1 <= self.rho <= 1:
            raise UserError(f"noise.rho={self.rho} must be in [-1, 1]; 0 is independent noise")

    def __call__(self, *, seed: int, clip: str, num_frames: int, latent_dim: int) -> Iterator[Float[Tensor, "l d"]]:
        fresh = Independent()(seed=seed, clip=clip, num_frames=num_frames, latent_dim=latent_dim)
        noise = next(fresh)
        while True:
            yield noise
            noise = self.rho * noise + math.sqrt(1 - self.rho**2) * next(fresh)
