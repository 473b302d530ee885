"""A solver whose steps were fitted to a model's own trajectories."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, named, reading
from float_research.program import command
from float_research.sampling.solver import Solver
from float_research.sampling.time_grid import CURVATURE
from float_research.tensors import AGAIN, read_safetensors, save_tensors
from float_research.types import VectorField

WHAT, FITTED_TO = "solver file", "fitted_to"
"""How errors call a file of steps, and the entry of its metadata that says what they were fitted to."""


class Steps(NamedTuple):
    """The n + 1 grid points of n steps, and for each step the coefficients of the noise and of n evaluations."""

    grid: Float[Tensor, " n1"]
    coefficients: Float[Tensor, "n n1"]

    def trajectory(self, field: VectorField, noise: Float[Tensor, "b l d"]) -> Float[Tensor, "n1 b l d"]:
        """The states at the grid's points."""
        states, known = [noise], [noise]
        for i, row in enumerate(self.coefficients.tolist()):
            known.append(field(self.grid[i].to(noise), states[-1]))
            states.append(combined(row[: len(known)], known))
        return torch.stack(states)


def combined(row: Sequence[float], known: Sequence[Tensor]) -> Tensor:
    """`Σ_k row_k known_k`."""
    return sum((weight * value for weight, value in zip(row, known, strict=True)), torch.zeros_like(known[0]))


@dataclass(frozen=True, kw_only=True)
class Fitted(Solver):
    """A bespoke non-stationary solver (arXiv 2403.01329, 2505.21114): `x_(i+1) = a_i x_0 + Σ_(j ≤ i) b_ij v(t_j, x_j)`.

    One evaluation a step. The grid points t and the coefficients a, b were fitted to converged trajectories of some
    weights under some guidance, for each number of steps anew, and stand in `file`; so it has no order, and no grid but
    these. `anyway` lets it solve other weights and another guidance.
    """

    file: str
    anyway: bool
    steps: Mapping[int, Steps] = field(init=False)
    fitted_to: Mapping[str, Any] = field(init=False)

    order, couples_clips = 0, False

    def __post_init__(self) -> None:
        steps, told = read_steps(Path(self.file))
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "fitted_to", told)

    def check(self, *, weights: str, guidance: Mapping[str, Any]) -> None:
        """Raises a UserError for other weights, known by their hash, or another guidance than it was fitted to."""
        found = {"weights": weights, "guidance": guidance}
        others = [name for name, value in found.items() if self.fitted_to.get(name) != value]
        if others:
            raise UserError(
                f"{named(WHAT, self.file)} was fitted to other {' and '.join(others)} than this run has; fit one with "
                f"{command('fit_solver')}, or take it all the same with solver.anyway=true"
            )

    def points(self, num_points: int) -> Sequence[float] | None:
        return self._steps(num_points - 1).grid.tolist()

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        steps = self._steps(len(grid) - 1)
        if not torch.allclose(grid.cpu().double(), steps.grid, rtol=0, atol=1e-6):
            raise UserError(f"{named(WHAT, self.file)} has another time grid; leave time_grid=uniform as it is")
        return steps.trajectory(field, x)

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return list(grid[:-1])

    def _steps(self, num_steps: int) -> Steps:
        if num_steps not in self.steps:
            raise UserError(
                f"{named(WHAT, self.file)} has no steps for {num_steps} evaluations, only for "
                f"{', '.join(map(str, self.steps))}; set nfe to one of these with budget=evaluations, or fit more with "
                f"{command('fit_solver')}"
            )
        return self.steps[num_steps]


def read_steps(path: Path) -> tuple[dict[int, Steps], Mapping[str, Any]]:
    """The steps of a file by their number, and what they were fitted to. Raises a UserError for a damaged file."""
    remedy = f"{AGAIN}, or fit one with {command('fit_solver')}"
    tensors, metadata = read_safetensors(path, what=WHAT, remedy=remedy)
    with reading(f"{WHAT} {path}", remedy, mistakes=False):
        told = json.loads(metadata[FITTED_TO])
        if not isinstance(told, dict):
            raise ValueError("it does not say what it was fitted to")
        numbers = sorted(int(name.removeprefix("grid.")) for name in tensors if name.startswith("grid."))
        if not numbers:
            raise ValueError("it holds no steps")
        found = {number: Steps(tensors[f"grid.{number}"], tensors[f"coefficients.{number}"]) for number in numbers}
        for number, steps in found.items():
            check(steps, number)
    return found, told


def check(steps: Steps, number: int) -> None:
    """Raises a ValueError for tensors that are not this number of steps."""
    grid, coefficients = steps
    shaped = number >= 1 and grid.shape == (number + 1,) and coefficients.shape == (number, number + 1)
    if not shaped or {grid.dtype, coefficients.dtype} != {torch.float64}:
        raise ValueError(f"its steps for {number} evaluations have another shape or type")
    if grid[0] != 0 or grid[-1] != 1 or not bool((grid.diff() > 0).all()) or not bool(coefficients.isfinite().all()):
        raise ValueError(f"its grid for {number} evaluations does not rise from 0 to 1, or a coefficient is not finite")


def save_steps(
    steps: Mapping[int, Steps], fitted_to: Mapping[str, Any], path: Path, curvature: Float[Tensor, " k"] | None = None
) -> None:
    """Writes a file of steps, what they were fitted to, and the curvature of the trajectories, for that time grid."""
    tensors = {f"{name}.{number}": value for number, found in steps.items() for name, value in found._asdict().items()}
    more = {} if curvature is None else {CURVATURE: curvature}
    save_tensors({**tensors, **more}, path, {FITTED_TO: json.dumps(fitted_to)})
