"""Tangential damping of the unconditional field."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.guidance import Incremental, dot
from float_research.sampling.rows import EVERYTHING, REFERENCE, Kept, Weights, with_everything


@dataclass(frozen=True, kw_only=True)
class Tangential(Incremental):
    """Tangential damping (TCFG, arXiv 2503.18137): incremental guidance with u projected towards c_ae.

    `u' = u + damping (⟨u, s⟩ s - u)`; s is the first right singular vector of the matrix of rows c_ae and u, per clip.
    `damping` = 1 is the paper's form, 0 is incremental guidance.
    """

    damping: float

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 1:
            raise UserError(f"guidance.damping={self.damping} must be in [0, 1]; 0 is incremental guidance")

    def weights(self, t: float) -> Weights:
        weights = super().weights(t)
        return with_everything(weights) if REFERENCE in weights else weights

    def combine(self, weights: Weights, fields: Mapping[Kept, Tensor]) -> Tensor:
        if REFERENCE not in weights:
            return super().combine(weights, fields)
        u, c = fields[REFERENCE], fields[EVERYTHING]
        angle = torch.atan2(2 * dot(c, u), dot(c, c) - dot(u, u)) / 2
        shared = angle.cos() * c + angle.sin() * u
        projected = dot(u, shared) / dot(shared, shared).clamp_min(1e-12) * shared
        return super().combine(weights, {**fields, REFERENCE: u + self.damping * (projected - u)})
