"""Multistep solvers: one evaluation of the field per step, reusing those of earlier steps.

`grid` may be uneven: the weights follow its actual steps. No solver here evaluates the field at the end of the grid.
Flow times stay on the grid's device, the CPU: reading one from a GPU would wait for all work in its queue.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.sampling.solver import Solver
from float_research.types import VectorField

State = Float[Tensor, "b l d"]


class Multistep(Solver):
    """A solver that advances from grid point to grid point."""

    couples_clips = False

    @abstractmethod
    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        """Yields the state at each grid point except the first."""

    def trajectory(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Float[Tensor, "n b l d"]:
        return torch.stack([x, *self.states(field, x, grid)])

    def solve(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> State:
        for state in self.states(field, x, grid):
            x = state
        return x

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return list(grid[:-1])


def weights(times: Sequence[float], start: float, end: float) -> list[float]:
    """Returns the quadrature weights that integrate the polynomial through values at `times` from start to end.

    `Σ wⱼ τⱼᵏ = ∫ τᵏ dτ` for all powers k < len(times), with `τ = (t - start) / (end - start)`.
    """
    step = end - start
    tau = torch.tensor([(time - start) / step for time in times], dtype=torch.float64)
    powers = torch.arange(len(times), dtype=torch.float64)
    solved = torch.linalg.solve(tau[None] ** powers[:, None], 1 / (powers + 1))
    return [step * weight for weight in solved.tolist()]


def add_weighted(x: State, weights: Sequence[float], values: Sequence[State]) -> State:
    """Returns `x + Σ wⱼ vⱼ`."""
    for weight, value in zip(weights, values, strict=True):
        x = x + weight * value
    return x


class AdamsBashforth(Multistep):
    """`x += ∫ p(t) dt` over the step, with p the polynomial through the last `num_values` values of the field.

    The first steps have fewer values. If two are missing, the first step uses the midpoint method, at the cost of one
    more evaluation, because an Euler step would break third order.
    """

    num_values: ClassVar[int]

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times = grid.tolist()
        values: list[State] = []
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            values = [*values, field(grid[index], x)][-self.num_values :]
            if index == 0 and self.num_values > 2:
                middle = (grid[0] + grid[1]) / 2
                x = x + (end - start) * field(middle, x + (end - start) / 2 * values[0])
            else:
                x = add_weighted(x, weights(times[index + 1 - len(values) : index + 1], start, end), values)
            yield x

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        more = [(grid[0] + grid[1]) / 2] if self.num_values > 2 else []
        return [grid[0], *more, *grid[1:-1]]


class Ab2(AdamsBashforth):
    """Two-step Adams-Bashforth: `x += h ((1 + ω/2) vₙ − (ω/2) vₙ₋₁)`, ω = hₙ / hₙ₋₁."""

    order = num_values = 2


class Ab3(AdamsBashforth):
    """Three-step Adams-Bashforth."""

    order = num_values = 3


class Abm2(Multistep):
    """Adams-Bashforth-Moulton with one evaluation per step, as in the free corrector of UniPC (arXiv 2302.04867).

    Ab2 predicts `x̂ₙ₊₁`. The next step needs the field there anyway, and it also corrects xₙ₊₁:
    `xₙ₊₁ = xₙ + ∫ p` with p through v(x̂ₙ₊₁), v(x̂ₙ), v(x̂ₙ₋₁). The last point is not corrected.
    """

    order = 3

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times = grid.tolist()
        values = [field(grid[0], x)]
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            known = values[-2:]
            predicted = add_weighted(x, weights(times[index + 1 - len(known) : index + 1], start, end), known)
            if index + 2 == len(times):
                yield predicted
                return
            values = [*values, field(grid[index + 1], predicted)][-3:]
            x = add_weighted(x, weights(times[index + 2 - len(values) : index + 2], start, end), values)
            yield x


class Dpm_2m(Multistep):  # noqa: N801, named after its option
    """Multistep DPM-Solver++(2M) (arXiv 2211.01095) in flow form, with α = t and σ = 1 − t.

    With the predicted data, `D = x + (1 − t) v`, and λ = log(t / (1 − t)):
    `x ← (σ'/σ) x + (α' − σ' α/σ) ((1 + 1/(2r)) Dₙ − 1/(2r) Dₙ₋₁)`, r = (λₙ − λₙ₋₁) / (λₙ₊₁ − λₙ).
    First order where λ is infinite: in the first two steps and in the last.
    """

    order = 2

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times = grid.tolist()
        before: State | None = None
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            data = x + (1 - start) * field(grid[index], x)
            aim = data
            if before is not None and times[index - 1] > 0 and end < 1:
                past, ahead = log_ratio(start) - log_ratio(times[index - 1]), log_ratio(end) - log_ratio(start)
                aim = data + (data - before) * (ahead / past / 2)
            left = (1 - end) / (1 - start)
            x, before = left * x + (end - left * start) * aim, data
            yield x


def log_ratio(t: float) -> float:
    """Returns λ at a flow time between 0 and 1."""
    return math.log(t / (1 - t))
