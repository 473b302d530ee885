"""The figures of an evaluation, and the goals they should reach."""

import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from float_research.printing import Table

Goal = tuple[str, float]
MEETS = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number, or the reason why it is absent. `goal`: what the demo model should reach, if set."""

    name: str
    value: float | None
    unit: str = ""
    goal: Goal | None = None
    absent: str | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached, or None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        return math.isfinite(self.value) and bool(MEETS[self.goal[0]](self.value, self.goal[1]))

    @property
    def shown(self) -> str:
        return str(self.absent) if self.value is None else f"{self.value:.4g} {self.unit}".strip()

    def __str__(self) -> str:
        return f"{self.name}: {self.shown}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def table(title: str, figures: Sequence[Figure]) -> Table:
    """Returns a table of name, value, goal, and whether it is reached."""
    rows: list[list[str | Text]] = []
    marks: dict[bool | None, str | Text] = {True: "✓", False: Text("✗", style="red"), None: ""}
    for figure in figures:
        goal = f"{figure.goal[0]} {figure.goal[1]:g}" if figure.goal else ""
        rows.append([figure.name, figure.shown, goal, marks[figure.reached]])
    return Table(["figure", "value", "goal", ""], rows, title)
