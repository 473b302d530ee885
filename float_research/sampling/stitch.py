"""Joining of windows into one clip."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.types import VectorField


class Stitch(ABC):
    """Consecutive windows; the last `overlap` frames of one are the first frames of the next."""

    @abstractmethod
    def overlap(self, window_frames: int) -> int:
        """Returns the number of frames shared by neighbouring windows."""

    def starts(self, num_frames: int, window_frames: int) -> list[int]:
        """Returns the first frames of the windows that cover a clip of `num_frames`."""
        hop = window_frames - self.overlap(window_frames)
        num_windows = 1 + max(0, -(-(num_frames - window_frames) // hop))
        return [k * hop for k in range(num_windows)]

    def rounds(self, num_frames: int, window_frames: int) -> list[list[int]]:
        """Returns the first frames of the windows in solving order; those in one list are solved together."""
        return [[start] for start in self.starts(num_frames, window_frames)]

    def join(self, field: VectorField, num_windows: int, window_frames: int) -> VectorField:
        """Turns the field of a batch of windows into the field of all frames of windows solved together."""
        return field

    def blend(self, old: Float[Tensor, "o d"], new: Float[Tensor, "o d"]) -> Float[Tensor, "o d"]:
        """Crossfades the shared frames linearly from `old` to `new`."""
        weight = torch.arange(1, len(old) + 1, dtype=old.dtype, device=old.device)[:, None] / (len(old) + 1)
        return old + weight * (new - old)


@dataclass(frozen=True, kw_only=True)
class Autoregressive(Stitch):
    """The official method: windows without overlap, connected only by the previous frames."""

    def overlap(self, window_frames: int) -> int:
        return 0


@dataclass(frozen=True, kw_only=True)
class Crossfade(Stitch):
    """Windows share `overlap_frames`, sampled twice and crossfaded; each window sees the final frames before it."""

    overlap_frames: int

    def overlap(self, window_frames: int) -> int:
        if not 0 <= self.overlap_frames <= window_frames // 2:
            raise UserError(
                f"stitch.overlap_frames={self.overlap_frames} must be between 0 and half a window "
                f"({window_frames // 2} of {window_frames} frames)"
            )
        return self.overlap_frames
