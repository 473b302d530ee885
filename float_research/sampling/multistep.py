"""Multistep solvers: one evaluation of the field a step, and those of earlier steps used again.

`grid` may be uneven; all weights are those of its true steps. None evaluates the field at the grid's end.
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
    """A solver that goes from point to point."""

    couples_clips = False

    @abstractmethod
    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        """The state at each point of the grid but its first."""

    def trajectory(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Float[Tensor, "n b l d"]:
        return torch.stack([x, *self.states(field, x, grid)])

    def solve(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> State:
        for state in self.states(field, x, grid):
            x = state
        return x

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return list(grid[:-1])


def weights(times: Sequence[float], start: float, end: float) -> list[float]:
    """What turns values at `times` into the integral, from start to end, of the polynomial through them.

    `Σ wⱼ τⱼᵏ = ∫ τᵏ dτ` for all powers k below their number, with τ counted from `start` in steps of `end - start`.
    """
    step = end - start
    tau = torch.tensor([(time - start) / step for time in times], dtype=torch.float64)
    powers = torch.arange(len(times), dtype=torch.float64)
    solved = torch.linalg.solve(tau[None] ** powers[:, None], 1 / (powers + 1))
    return [step * weight for weight in solved.tolist()]


def moved(x: State, amounts: Sequence[float], values: Sequence[State]) -> State:
    """`x + Σ wⱼ vⱼ`."""
    for amount, value in zip(amounts, values, strict=True):
        x = x + amount * value
    return x


class AdamsBashforth(Multistep):
    """`x += ∫ p(t) dt` over the step, p the polynomial through the last `num_values` values of the field.

    The first steps know fewer values. Where two are missing, the first step is one of the midpoint method, at one
    evaluation more, for an Euler step would spoil the third order.
    """

    num_values: ClassVar[int]

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times, points = grid.tolist(), grid.to(x.device)
        values: list[State] = []
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            values = [*values, field(points[index], x)][-self.num_values :]
            if index == 0 and self.num_values > 2:
                middle = (points[0] + points[1]) / 2
                x = x + (end - start) * field(middle, x + (end - start) / 2 * values[0])
            else:
                x = moved(x, weights(times[index + 1 - len(values) : index + 1], start, end), values)
            yield x

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        more = [(grid[0] + grid[1]) / 2] if self.num_values > 2 else []
        return [grid[0], *more, *grid[1:-1]]


class Ab2(AdamsBashforth):
    """Adams-Bashforth of two steps: `x += h ((1 + ω/2) vₙ − (ω/2) vₙ₋₁)`, ω = hₙ / hₙ₋₁."""

    order = num_values = 2


class Ab3(AdamsBashforth):
    """Adams-Bashforth of three steps."""

    order = num_values = 3


class Abm2(Multistep):
    """Adams-Bashforth-Moulton with one evaluation a step, as UniPC's corrector (arXiv 2302.04867) has none of its own.

    Ab2 predicts `x̂ₙ₊₁`; once the field is known there, which the next step needs anyway, xₙ₊₁ is corrected by it:
    `xₙ₊₁ = xₙ + ∫ p`, p through v(x̂ₙ₊₁), v(x̂ₙ), v(x̂ₙ₋₁). The last point is not corrected.
    """

    order = 3

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times, points = grid.tolist(), grid.to(x.device)
        values = [field(points[0], x)]
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            known = values[-2:]
            predicted = moved(x, weights(times[index + 1 - len(known) : index + 1], start, end), known)
            if index + 2 == len(times):
                yield predicted
                return
            values = [*values, field(points[index + 1], predicted)][-3:]
            x = moved(x, weights(times[index + 2 - len(values) : index + 2], start, end), values)
            yield x


class Dpm_2m(Multistep):  # noqa: N801, named as its file
    """DPM-Solver++ of two steps (arXiv 2211.01095) in flow form, where α = t and σ = 1 − t.

    With the data that a state promises, `D = x + (1 − t) v`, and λ = log(t / (1 − t)):
    `x ← (σ'/σ) x + (α' − σ' α/σ) ((1 + 1/(2r)) Dₙ − 1/(2r) Dₙ₋₁)`, r = (λₙ − λₙ₋₁) / (λₙ₊₁ − λₙ).
    First order where λ is infinite: in the first two steps and the last.
    """

    order = 2

    def states(self, field: VectorField, x: State, grid: Float[Tensor, " n"]) -> Iterator[State]:
        times, points = grid.tolist(), grid.to(x.device)
        before: State | None = None
        for index, (start, end) in enumerate(itertools.pairwise(times)):
            data = x + (1 - start) * field(points[index], x)
            aim = data
            if before is not None and times[index - 1] > 0 and end < 1:
                past, ahead = log_ratio(start) - log_ratio(times[index - 1]), log_ratio(end) - log_ratio(start)
                aim = data + (data - before) * (ahead / past / 2)
            left = (1 - end) / (1 - start)
            x, before = left * x + (end - left * start) * aim, data
            yield x


def log_ratio(t: float) -> float:
    """λ of a flow time between 0 and 1."""
    return math.log(t / (1 - t))
