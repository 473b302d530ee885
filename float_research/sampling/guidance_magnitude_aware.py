"""Guidance that is weaker where the conditions change the field more."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.branches import EVERYTHING, Kept
from float_research.sampling.guidance import Adjust, Adjusted, dot


@dataclass(frozen=True, kw_only=True)
class MagnitudeAware(Adjusted):
    """Magnitude-aware guidance (MAMBO-G, arXiv 2508.03442): damps the guidance difference g by its magnitude.

    `g' = exp(-alpha r) g` with `r = ‖c_ae - u‖ / ‖u‖` per clip; u is the computed branch with the fewest conditions. If
    audio and emotion share one scale w, this is the paper's `u + (1 + (w - 1) exp(-alpha r)) (c_ae - u)`. `alpha` = 0
    is incremental guidance.
    """

    alpha: float

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise UserError(f"guidance.alpha={self.alpha} must not be negative; 0 is incremental guidance")

    def adjuster(self) -> Adjust:
        def adjust(g: Tensor, t: Tensor, x: Tensor, fields: Mapping[Kept, Tensor]) -> Tensor:
            u = fields[min(fields, key=lambda branch: branch.num_conditions)]
            moved = fields[EVERYTHING] - u
            ratio = (dot(moved, moved) / dot(u, u).clamp_min(1e-12)).sqrt()
            return (-self.alpha * ratio).exp() * g

        return adjust
