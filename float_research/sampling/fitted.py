"""A solver with coefficients fitted to trajectories of a model."""

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
"""Name of a solver file in error messages, and its metadata entry with the weights and guidance it was fitted to."""


class Steps(NamedTuple):
    """The n + 1 grid points of n steps, and per step the coefficients of the noise and of the n evaluations."""

    grid: Float[Tensor, " n1"]
    coefficients: Float[Tensor, "n n1"]

    def trajectory(self, field: VectorField, noise: Float[Tensor, "b l d"]) -> Float[Tensor, "n1 b l d"]:
        """Returns the states at the grid points."""
        states, known = [noise], [noise]
        for i, row in enumerate(self.coefficients.tolist()):
            known.append(field(self.grid[i].to(noise.dtype), states[-1]))
            states.append(linear_combination(row[: len(known)], known))
        return torch.stack(states)


def linear_combination(coefficients: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """Returns `Σ_k coefficients_k values_k`."""
    return sum((c * value for c, value in zip(coefficients, values, strict=True)), torch.zeros_like(values[0]))


@dataclass(frozen=True, kw_only=True)
class Fitted(Solver):
    """A bespoke non-stationary solver (arXiv 2403.01329, 2505.21114): `x_(i+1) = a_i x_0 + Σ_(j ≤ i) b_ij v(t_j, x_j)`.

    One evaluation per step. `file` holds the grid points t and the coefficients a, b for each number of steps. They
    were fitted to converged trajectories of one model under one guidance, so there is no order and only these grids.
    `anyway` allows other weights or another guidance.
    """

    file: str
    anyway: bool
    steps: Mapping[int, Steps] = field(init=False)
    fitted_to: Mapping[str, Any] = field(init=False)

    order, couples_clips = 0, False

    def __post_init__(self) -> None:
        steps, fitted_to = read_steps(Path(self.file))
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "fitted_to", fitted_to)

    def check(self, *, weights: str, guidance: Mapping[str, Any]) -> None:
        """Raises a UserError if the hash of the weights or the guidance differs from those it was fitted to."""
        found = {"weights": weights, "guidance": guidance}
        others = [name for name, value in found.items() if self.fitted_to.get(name) != value]
        if others:
            raise UserError(
                f"{named(WHAT, self.file)} was fitted to other {' and '.join(others)} than this run uses; fit one with "
                f"{command('fit_solver')}, or use it anyway with solver.anyway=true"
            )

    def points(self, num_points: int) -> Sequence[float] | None:
        return self._steps(num_points - 1).grid.tolist()

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        steps = self._steps(len(grid) - 1)
        if not torch.allclose(grid.cpu().double(), steps.grid, rtol=0, atol=1e-6):
            raise UserError(f"{named(WHAT, self.file)} was fitted on another time grid; keep time_grid=uniform")
        return steps.trajectory(field, x)

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return list(grid[:-1])

    def _steps(self, num_steps: int) -> Steps:
        if num_steps not in self.steps:
            raise UserError(
                f"{named(WHAT, self.file)} has no steps for {num_steps} evaluations, only for "
                f"{', '.join(map(str, self.steps))}; set nfe to one of them with budget=evaluations, or fit more with "
                f"{command('fit_solver')}"
            )
        return self.steps[num_steps]


def read_steps(path: Path) -> tuple[dict[int, Steps], Mapping[str, Any]]:
    """Reads the steps by their number, and what they were fitted to. Raises a UserError for a damaged file."""
    remedy = f"{AGAIN}, or fit one with {command('fit_solver')}"
    tensors, metadata = read_safetensors(path, what=WHAT, remedy=remedy)
    with reading(f"{WHAT} {path}", remedy, mistakes=False):
        fitted_to = json.loads(metadata[FITTED_TO])
        if not isinstance(fitted_to, dict):
            raise ValueError("it does not say what it was fitted to")
        numbers = sorted(int(name.removeprefix("grid.")) for name in tensors if name.startswith("grid."))
        if not numbers:
            raise ValueError("it holds no steps")
        found = {number: Steps(tensors[f"grid.{number}"], tensors[f"coefficients.{number}"]) for number in numbers}
        for number, steps in found.items():
            check(steps, number)
    return found, fitted_to


def check(steps: Steps, number: int) -> None:
    """Raises a ValueError if the tensors are not valid steps of this number."""
    grid, coefficients = steps
    shaped = number >= 1 and grid.shape == (number + 1,) and coefficients.shape == (number, number + 1)
    if not shaped or {grid.dtype, coefficients.dtype} != {torch.float64}:
        raise ValueError(f"its steps for {number} evaluations have the wrong shape or dtype")
    if grid[0] != 0 or grid[-1] != 1 or not bool((grid.diff() > 0).all()) or not bool(coefficients.isfinite().all()):
        raise ValueError(
            f"its grid for {number} evaluations does not increase from 0 to 1 or a coefficient is not finite"
        )


def save_steps(
    steps: Mapping[int, Steps], fitted_to: Mapping[str, Any], path: Path, curvature: Float[Tensor, " k"] | None = None
) -> None:
    """Writes steps, what they were fitted to, and the curvature of the trajectories (for time_grid=curvature)."""
    tensors = {f"{name}.{number}": value for number, found in steps.items() for name, value in found._asdict().items()}
    more = {} if curvature is None else {CURVATURE: curvature}
    save_tensors({**tensors, **more}, path, {FITTED_TO: json.dumps(fitted_to)})
