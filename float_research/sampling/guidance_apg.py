"""Adaptive projected guidance."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.branches import EVERYTHING, Kept
from float_research.sampling.guidance import Adjust, Adjusted, dot


@dataclass(frozen=True, kw_only=True)
class Apg(Adjusted):
    """Adaptive projected guidance (arXiv 2410.02416): averages, clips and projects the guidance difference g.

    `ḡ_n = g_n + momentum ḡ_(n-1)` over the evaluations of a window. The root mean square of ḡ is limited to
    `norm_threshold` (0: no limit), and its component parallel to the predicted data, `x + (1 - t) c_ae`, is scaled by
    `parallel`. The values 0, 0 and 1 give incremental guidance.

    Momentum acts per evaluation. For dense evaluations ḡ tends to `g / (1 - momentum)`; solvers that choose their own
    evaluations integrate this limit, and the metric `sampling` compares with it.
    """

    momentum: float
    norm_threshold: float
    parallel: float

    def __post_init__(self) -> None:
        if not -1 < self.momentum < 1:
            raise UserError(f"guidance.momentum={self.momentum} must be between -1 and 1; the paper's is negative")
        if self.norm_threshold < 0:
            raise UserError(f"guidance.norm_threshold={self.norm_threshold} must not be negative; 0 means no limit")

    def settled(self) -> "Settled":
        return Settled(**vars(self))

    def adjuster(self) -> Adjust:
        average: Tensor | None = None

        def adjust(g: Tensor, t: Tensor, x: Tensor, fields: Mapping[Kept, Tensor]) -> Tensor:
            nonlocal average
            average = g if average is None else g + self.momentum * average
            return self.project(average, x + (1 - t) * fields[EVERYTHING])

        return adjust

    def project(self, g: Tensor, data: Tensor) -> Tensor:
        """Clips the norm of g and damps its component parallel to `data`."""
        if self.norm_threshold:
            size = g.square().mean((1, 2), keepdim=True).sqrt()
            g = g * (self.norm_threshold / size.clamp_min(1e-12)).clamp_max(1)
        return g - (1 - self.parallel) * dot(g, data) / dot(data, data).clamp_min(1e-12) * data


@dataclass(frozen=True, kw_only=True)
class Settled(Apg):
    """The limit for dense evaluations, which has no memory."""

    def settled(self) -> "Settled":
        return self

    def adjuster(self) -> Adjust:
        return lambda g, t, x, fields: self.project(g / (1 - self.momentum), x + (1 - t) * fields[EVERYTHING])
