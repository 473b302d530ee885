"""Where the steps lie in flow time: strictly increasing points from 0 (noise) to 1 (data)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError

CURVATURE = "curvature"
"""The tensor of a file of fitted steps with `‖x″‖` of the trajectories at evenly spaced flow times from 0 to 1."""


class TimeGrid(ABC):
    """Maps a number of points to flow times."""

    @abstractmethod
    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Moves uniformly spaced points."""

    def __call__(self, num_points: int, dtype: torch.dtype) -> Float[Tensor, " n"]:
        grid = self.place(torch.linspace(0, 1, num_points, dtype=dtype))
        if grid[0] != 0 or grid[-1] != 1 or not bool((grid.diff() > 0).all()):
            raise UserError(
                f"the time grid {[round(t, 6) for t in grid.tolist()]} does not rise strictly from 0 to 1; "
                "use fewer points or a milder setting"
            )
        return grid


@dataclass(frozen=True, kw_only=True)
class Uniform(TimeGrid):
    """Equal steps: the official grid."""

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return uniform


@dataclass(frozen=True, kw_only=True)
class Shifted(TimeGrid):
    """`t → s t / (1 + (s - 1) t)` (timestep shifting, arXiv 2403.03206): s > 1 refines near data, s < 1 near noise."""

    shift: float

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise UserError(f"time_grid.shift={self.shift} must be positive; 1 keeps the grid uniform")

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.shift * uniform / (1 + (self.shift - 1) * uniform)


@dataclass(frozen=True, kw_only=True)
class Power(TimeGrid):
    """`t → t^p`: p > 1 refines near noise, p < 1 near data."""

    exponent: float

    def __post_init__(self) -> None:
        if not self.exponent > 0:
            raise UserError(f"time_grid.exponent={self.exponent} must be positive; 1 keeps the grid uniform")

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
class Explicit(TimeGrid):
    """The points themselves. Their number must be the one that `nfe` and the budget ask for."""

    points: Sequence[float]

    def place(self, uniform: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        if len(self.points) != len(uniform):
            raise UserError(
                f"time_grid.points has {len(self.points)} points, but nfe and budget ask for {len(uniform)}; "
                "make them agree"
            )
        return torch.tensor(list(self.points), dtype=uniform.dtype)
