"""What an evaluation says: figures with the values they should reach."""

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
    """A number, or why there is none. `goal` is what the demo model should reach, if anything was set."""

    name: str
    value: float | None
    unit: str = ""
    goal: Goal | None = None
    absent: str | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        return math.isfinite(self.value) and bool(MEETS[self.goal[0]](self.value, self.goal[1]))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def table(title: str, figures: Sequence[Figure]) -> Table:
    """Name, value, goal, and whether it is reached."""
    rows: list[list[str | Text]] = []
    marks: dict[bool | None, str | Text] = {True: "✓", False: Text("✗", style="red"), None: ""}
    for figure in figures:
        value = figure.absent if figure.value is None else f"{figure.value:.4g} {figure.unit}".strip()
        goal = f"{figure.goal[0]} {figure.goal[1]:g}" if figure.goal else ""
        rows.append([figure.name, str(value), goal, marks[figure.reached]])
    return Table(["figure", "value", "goal", ""], rows, title)
