"""When one-step methods evaluate the field, without torch, so that an impossible budget is refused at once."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

EULER = (0.0,)
MIDPOINT = (0.0, 1 / 2)
HEUN2 = (0.0, 1.0)
HEUN3 = (0.0, 1 / 3, 2 / 3)
RK4 = (0.0, 1 / 3, 2 / 3, 1.0)
"""Evaluation times within a step, as fractions of it."""


@runtime_checkable
class Costed(Protocol):
    """A solver as budgets see it."""

    @property
    def name(self) -> str:
        """Name of the option, for messages."""

    def evaluations(self, num_steps: int) -> int | None:
        """Returns the number of evaluations in `num_steps` steps; None if the solver chooses its own."""


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """What a one-step method costs. `skip_end`: the last step is an Euler step."""

    name: str
    nodes: Sequence[float]
    skip_end: bool

    def evaluations(self, num_steps: int) -> int | None:
        return len(evaluation_times(self.nodes, grid(num_steps), skip_end=self.skip_end))


def evaluation_times(nodes: Sequence[float], grid: Sequence[float], *, skip_end: bool = False) -> list[float]:
    """Returns the flow times of all evaluations of a method with these nodes."""
    whole = grid[:-1] if skip_end else grid
    times = [start + node * (end - start) for start, end in itertools.pairwise(whole) for node in nodes]
    return [*times, grid[-2]] if skip_end else times


def grid(num_steps: int) -> list[float]:
    """Returns the uniform grid of this many steps."""
    return [i / num_steps for i in range(num_steps + 1)]
