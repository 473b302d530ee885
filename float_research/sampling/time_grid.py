"""Time grids: strictly increasing flow times from 0 (noise) to 1 (data)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, reading
from float_research.program import command
from float_research.tensors import AGAIN, read_safetensors
from float_research.texts import count

CURVATURE = "curvature"
"""Tensor in a solver file: `‖x″‖` of the trajectories at uniformly spaced flow times from 0 to 1."""


class TimeGrid(ABC):
    """Maps a number of points to flow times."""

    @abstractmethod
    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Maps uniformly spaced points to the grid."""

    def __call__(self, num_points: int, dtype: torch.dtype) -> Float[Tensor, " n"]:
        grid = self.place(torch.linspace(0, 1, num_points, dtype=dtype))
        if grid[0] != 0 or grid[-1] != 1 or not bool((grid.diff() > 0).all()):
            raise UserError(
                f"the time grid {[round(t, 6) for t in grid.tolist()]} does not increase strictly from 0 to 1; "
                "use fewer points or less extreme settings"
            )
        return grid


@dataclass(frozen=True, kw_only=True)
class Uniform(TimeGrid):
    """Uniform steps: the official grid."""

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return uniform


@dataclass(frozen=True, kw_only=True)
class Shifted(TimeGrid):
    """`t → s t / (1 + (s - 1) t)` (timestep shifting, arXiv 2403.03206): s > 1 refines near data, s < 1 near noise."""

    shift: float

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise UserError(f"time_grid.shift={self.shift} must be positive; 1 is the uniform grid")

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.shift * uniform / (1 + (self.shift - 1) * uniform)


@dataclass(frozen=True, kw_only=True)
class Power(TimeGrid):
    """`t → t^p`: p > 1 refines near noise, p < 1 near data."""

    exponent: float

    def __post_init__(self) -> None:
        if not self.exponent > 0:
            raise UserError(f"time_grid.exponent={self.exponent} must be positive; 1 is the uniform grid")

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return uniform**self.exponent


@dataclass(frozen=True, kw_only=True)
class Cosine(TimeGrid):
    """`t → (1 - cos(π t)) / 2`: refines near both ends."""

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        grid = (1 - torch.cos(torch.pi * uniform)) / 2
        grid[-1] = 1
        return grid


@dataclass(frozen=True, kw_only=True)
class Curvature(TimeGrid):
    """Points with density `∝ ‖x″(t)‖^p` (equidistribution, de Boor 1973): more points where trajectories bend more.

    p = 1/2 equalizes the local error of Euler steps; 0 is the uniform grid. `file` holds the curvature of converged
    trajectories, measured by scripts/fit_solver.py; the density is constant between its times.
    """

    file: str
    power: float
    density: Float[Tensor, " k"] = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 2:
            raise UserError(f"time_grid.power={self.power} must be between 0 and 2; 0 is the uniform grid")
        what, remedy = "curvature file", f"{AGAIN}, or measure one with {command('fit_solver')}"
        tensors, _ = read_safetensors(Path(self.file), what=what, remedy=remedy)
        with reading(f"{what} {self.file}", remedy, mistakes=False):
            measured = tensors[CURVATURE].double()
            if measured.ndim != 1 or len(measured) < 2 or not bool(((measured > 0) & measured.isfinite()).all()):
                raise ValueError("its curvature is not a list of positive numbers")
        object.__setattr__(self, "density", measured**self.power)

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        ends = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumulative_trapezoid(self.density)])
        share = ends / ends[-1]
        wanted = uniform.double()
        right = torch.searchsorted(share, wanted, right=True).clamp(1, len(share) - 1)
        within = (wanted - share[right - 1]) / (share[right] - share[right - 1])
        return ((right - 1 + within) / (len(share) - 1)).to(uniform.dtype)


@dataclass(frozen=True, kw_only=True)
class Explicit(TimeGrid):
    """Explicit points. Their number must match the one that follows from `nfe` and the budget."""

    points: Sequence[float]

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        if len(self.points) != len(uniform):
            raise UserError(
                f"time_grid.points has {count(len(self.points), 'point')}, but nfe and budget require {len(uniform)}; "
                "change one of them"
            )
        return torch.tensor(list(self.points), dtype=uniform.dtype)
