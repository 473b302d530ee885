"""What `nfe` counts, which sets the number of time grid points. Imports no torch."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from float_research.errors import UserError
from float_research.sampling.steps import Costed


@runtime_checkable
class Budget(Protocol):
    """Number of grid points for `nfe` and a solver."""

    def __call__(self, nfe: int, solver: Costed, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class GridPoints:
    """`nfe` grid points, that is `nfe - 1` steps, whatever their cost: the meaning of the official option."""

    def __call__(self, nfe: int, solver: Costed, /) -> int:
        if nfe < 2:
            raise UserError(f"nfe={nfe} is too small: budget=grid_points needs at least 2 points, that is one step")
        return nfe


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """At most `nfe` evaluations of the vector field per window: a fair budget for comparing solvers."""

    def __call__(self, nfe: int, solver: Costed, /) -> int:
        one_step = solver.evaluations(1)
        if one_step is None:
            raise UserError(
                f"budget=evaluations cannot bound solver {solver.name}, which chooses its own number of evaluations; "
                "use budget=grid_points and solver.atol, solver.rtol"
            )
        if nfe < one_step:
            raise UserError(f"nfe={nfe} is too small: one step of solver {solver.name} takes {one_step} evaluations")
        num_steps = 1
        while (solver.evaluations(num_steps + 1) or 0) <= nfe:
            num_steps += 1
        return num_steps + 1
