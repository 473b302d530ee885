"""ODE solvers with declared order and cost: those of torchdiffeq; see `multistep` for others.

A solver integrates `dx/dt = v(t, x)` from the first to the last point of a time grid and returns the end point.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torchdiffeq import odeint

from float_research.errors import UserError
from float_research.sampling.steps import EULER, HEUN2, HEUN3, MIDPOINT, RK4, evaluation_times
from float_research.sampling.steps import grid as uniform
from float_research.types import VectorField


class Solver(ABC):
    """Integrates `v(t, x)` over a grid.

    `couples_clips`: steps depend on the whole batch (error norm, iteration), so clips must be solved one by one.
    """

    couples_clips: ClassVar[bool]

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of convergence: the error scales with this power of the step size."""

    @property
    def name(self) -> str:
        """Name of the option, for messages."""
        return re.sub("(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        """Returns the states at the grid points."""

    def solve(self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]) -> Float[Tensor, "b l d"]:
        """Returns the state at the last grid point, without keeping the others in memory."""
        return self.trajectory(field, x, grid)[-1].clone()

    @abstractmethod
    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        """Returns the flow times of all evaluations; None if the solver chooses its own."""

    def points(self, num_points: int) -> Sequence[float] | None:
        """Returns the solver's own grid of this many points; None if it accepts any grid."""
        return None

    def evaluations(self, num_steps: int) -> int | None:
        """Returns the number of evaluations in `num_steps` steps; None if the solver chooses its own."""
        times = self.evaluation_times(uniform(num_steps))
        return None if times is None else len(times)


class FixedStep(Solver):
    """A torchdiffeq method with one step per grid interval.

    `nodes`: evaluation times within a step, as fractions of it; `checking.declared` finds them without this module.
    """

    couples_clips = False
    method: ClassVar[str]
    nodes: ClassVar[tuple[float, ...]]

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        return odeint(field, x, grid.to(x.device), method=self.method)

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return evaluation_times(self.nodes, grid)


class Euler(FixedStep):
    """Euler's method: the official default."""

    method, order = "euler", 1
    nodes = EULER


class Midpoint(FixedStep):
    """The explicit midpoint method."""

    method, order = "midpoint", 2
    nodes = MIDPOINT


@dataclass(frozen=True, kw_only=True)
class ReachingEnd(FixedStep):
    """A method that evaluates the field at the end of a step.

    `skip_end`: the last step is an Euler step, which avoids evaluating at t = 1, where FLOAT's field becomes stiff. The
    error of that step is of second order, which limits the order to 2.
    """

    skip_end: bool
    full_order: ClassVar[int]

    @property
    def order(self) -> int:
        return min(self.full_order, 2) if self.skip_end else self.full_order

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        if not self.skip_end:
            return super().trajectory(field, x, grid)
        grid = grid.to(x.device)
        states = super().trajectory(field, x, grid[:-1]) if len(grid) > 2 else x[None]
        last = states[-1] + (grid[-1] - grid[-2]) * field(grid[-2], states[-1])
        return torch.cat([states, last[None]])

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return evaluation_times(self.nodes, grid, skip_end=self.skip_end)


class Heun2(ReachingEnd):
    """Heun's method of order 2."""

    method, full_order = "heun2", 2
    nodes = HEUN2


class Heun3(FixedStep):
    """Heun's method of order 3."""

    method, order = "heun3", 3
    nodes = HEUN3


class Rk4(ReachingEnd):
    """Kutta's 3/8 rule."""

    method, full_order = "rk4", 4
    nodes = RK4


class ExplicitAdams(FixedStep):
    """Adams-Bashforth: two `rk4` steps to start, then one evaluation per step."""

    method, order, nodes = "explicit_adams", 4, Rk4.nodes

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        start = super().evaluation_times(grid[:3])
        assert start is not None
        return start + list(grid[2:-1])


@dataclass(frozen=True, kw_only=True)
class Controlled(Solver):
    """A torchdiffeq method that iterates until an error estimate meets `atol + rtol · |x|`.

    It therefore chooses its own evaluations.
    """

    atol: float
    rtol: float
    couples_clips = True
    method: ClassVar[str]

    def __post_init__(self) -> None:
        if not (self.atol > 0 and self.rtol > 0):
            raise UserError(f"solver.atol={self.atol} and solver.rtol={self.rtol} must be positive, such as 1e-5")

    def options(self, device: torch.device) -> dict[str, torch.dtype]:
        """Returns options for torchdiffeq: float32 step sizes on MPS, which has no float64."""
        return {}

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        try:
            options, tolerances = self.options(x.device), {"atol": self.atol, "rtol": self.rtol}
            return odeint(field, x, grid.to(x.device), method=self.method, options=options, **tolerances)
        except AssertionError as error:
            raise UserError(
                f"solver {self.method} did not reach atol={self.atol}, rtol={self.rtol} ({error}); "
                "raise the tolerances or use a solver with fixed steps"
            ) from error

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return None


class ImplicitAdams(Controlled):
    """Adams-Bashforth-Moulton with one step per grid interval and up to four corrections in each."""

    method, order = "implicit_adams", 4


class Adaptive(Controlled):
    """Embedded Runge-Kutta pair with step-size control; it uses only the end points of the grid.

    `stages`: evaluations per attempted step; two more precede the first.
    """

    stages: ClassVar[int]

    def options(self, device: torch.device) -> dict[str, torch.dtype]:
        return {"dtype": torch.float32} if device.type == "mps" else {}

    def solve(self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]) -> Float[Tensor, "b l d"]:
        return super().solve(field, x, grid[[0, -1]])


class Dopri5(Adaptive):
    """Dormand-Prince 5(4)."""

    method, order, stages = "dopri5", 5, 6


class Dopri8(Adaptive):
    """Dormand-Prince 8(7)."""

    method, order, stages = "dopri8", 8, 13


class Bosh3(Adaptive):
    """Bogacki-Shampine 3(2)."""

    method, order, stages = "bosh3", 3, 3


class Fehlberg2(Adaptive):
    """Runge-Kutta-Fehlberg 2(1)."""

    method, order, stages = "fehlberg2", 2, 2


class AdaptiveHeun(Adaptive):
    """Heun-Euler 2(1)."""

    method, order, stages = "adaptive_heun", 2, 1
