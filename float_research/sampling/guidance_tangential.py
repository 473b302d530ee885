"""Tangential damping of the unconditional field."""

from dataclasses import dataclass

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.guidance import ReplacedUnconditional, dot


@dataclass(frozen=True, kw_only=True)
class Tangential(ReplacedUnconditional):
    """Tangential damping (TCFG, arXiv 2503.18137): incremental guidance with u projected towards c_ae.

    `u' = u + damping (⟨u, s⟩ s - u)`; s is the first right singular vector of the matrix of rows c_ae and u, per clip.
    `damping` = 1 is the paper's form, 0 is incremental guidance.
    """

    damping: float

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 1:
            raise UserError(f"guidance.damping={self.damping} must be in [0, 1]; 0 is incremental guidance")

    def unconditional(self, u: Tensor, c: Tensor) -> Tensor:
        angle = torch.atan2(2 * dot(c, u), dot(c, c) - dot(u, u)) / 2
        shared = angle.cos() * c + angle.sin() * u
        projected = dot(u, shared) / dot(shared, shared).clamp_min(1e-12) * shared
        return u + self.damping * (projected - u)
