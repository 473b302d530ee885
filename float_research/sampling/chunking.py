"""Splitting of a clip into windows."""

import math
from dataclasses import dataclass

from float_research.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """Window length, number of previous frames, and attention window in frames, at `fps` frames per second."""

    window_s: float
    previous_frames: int
    attention_window: int
    fps: float

    def __post_init__(self) -> None:
        if not 0 < self.fps < math.inf:
            raise UserError(f"model.fps={self.fps} must be above 0 and finite")
        if self.window_frames < 1:
            raise UserError(
                f"chunking.window_s={self.window_s} is shorter than one frame ({1 / self.fps:g} s at {self.fps:g} fps)"
            )
        if not 0 <= self.previous_frames <= self.window_frames:
            raise UserError(
                f"chunking.previous_frames={self.previous_frames} must be between 0 and the window's "
                f"{self.window_frames} frames (chunking.window_s={self.window_s} at {self.fps:g} fps)"
            )
        if self.attention_window < 0:
            raise UserError(f"chunking.attention_window={self.attention_window} must not be negative")

    @property
    def window_frames(self) -> int:
        """Frames per window, rounded down as in the official code."""
        return int(self.window_s * self.fps)
