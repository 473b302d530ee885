"""Figures of a comparison at the width of a page: a forest plot of its differences, and ranks of its settings."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from float_research.analysis.plots import COLOURS, FAINT, PER_ROW
from float_research.analysis.ranks import Ranks
from float_research.analysis.statistics import Contrasts, Difference
from float_research.errors import UserError, printable
from float_research.metrics.metric import Number

PAGE_WIDTH = 6.9
"""Inches: the text of two columns of most journals."""
STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 8, "text.parse_math": False, "pdf.fonttype": 42}
"""Names are plain text, and fonts are embedded as TrueType, which publishers ask for."""
MOST_SETTINGS, NAME_LENGTH = 40, 36


def forest(comparison: Contrasts) -> Figure:
    """Plots the differences to the baseline with their intervals, one panel a number. Filled: separable.

    Raises:
        UserError: there are more settings than a page holds.
    """
    by_number: dict[str, list[Difference]] = {}
    for item in comparison.differences:
        by_number.setdefault(item.number.name, []).append(item)
    panels = list(by_number.values())
    _require_few(len(panels[0]) + 1)
    num_rows = math.ceil(len(panels) / PER_ROW)
    num_columns = math.ceil(len(panels) / num_rows)
    with mpl.rc_context(STYLE):
        height = num_rows * (0.75 + 0.19 * len(panels[0])) + 0.3
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).ravel()
        for axes, items in zip(grid, panels, strict=False):
            _differences(axes, items)
        for unused in grid[len(panels) :]:
            unused.set_axis_off()
        figure.suptitle(
            f"difference to {_named(panels[0][0].baseline)} with 95 % interval; filled: p < 0.05 by Holm's correction",
            fontsize=8,
        )
    return figure


def ranking(comparison: Contrasts) -> Figure:
    """Plots average ranks of the settings, one panel a number. A line joins settings that do not differ significantly.

    Raises:
        UserError: there are two settings only, or more than a page holds, or no number has a better direction.
    """
    if len(comparison.means) < 3:
        raise UserError("two settings have no ranks worth plotting; compare three or more")
    if not comparison.ranks:
        raise UserError("none of these numbers has a better direction, so there are no ranks; choose other numbers")
    _require_few(len(comparison.means))
    lines = math.ceil(len(comparison.means) / 2)
    groups = max(len(list(ranks.alike())) for ranks in comparison.ranks)
    with mpl.rc_context(STYLE):
        height = len(comparison.ranks) * (0.75 + 0.06 * groups + 0.17 * lines)
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        grid = figure.subplots(len(comparison.ranks), 1, squeeze=False).ravel()
        for axes, ranks in zip(grid, comparison.ranks, strict=True):
            _ranks(axes, ranks)
            axes.set_ylim(0.3 + 0.28 * groups + 0.75 * lines, -1.9)
    return figure


def _differences(axes: Axes, items: Sequence[Difference]) -> None:
    places = np.arange(len(items))
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    for place, item in zip(places, items, strict=True):
        axes.plot([item.low, item.high], [place, place], color=COLOURS[0], linewidth=1.2, solid_capstyle="butt")
        face = COLOURS[0] if item.separable else "white"
        axes.plot(item.difference, place, "o", color=COLOURS[0], markerfacecolor=face, markersize=4)
    axes.set_yticks(places, [_named(item.setting) for item in items])
    axes.set_ylim(len(items) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(_titled(items[0].number), loc="left")
    axes.set_xlabel(_direction(items[0].number))


def _ranks(axes: Axes, ranks: Ranks) -> None:
    """Draws an axis of ranks, names beside it at both ends, the groups below it and the critical difference above."""
    k = len(ranks.mean)
    ordered = sorted(ranks.mean.items(), key=lambda item: item[1])
    groups = list(ranks.alike())
    below = 0.3 + 0.28 * len(groups)
    axes.plot([1, k], [0, 0], color="black", linewidth=0.8)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [0, -0.15], color="black", linewidth=0.8)
        axes.text(tick, -0.25, str(tick), ha="center", va="bottom")
    for place, (label, mean) in enumerate(ordered):
        on_left = place < math.ceil(k / 2)
        line = below + (place if on_left else k - 1 - place) * 0.75 + 0.3
        end, gap = (0.9, -0.03) if on_left else (k + 0.1, 0.03)
        axes.plot([mean, mean, end], [0, line, line], color=FAINT, linewidth=0.8)
        axes.plot(mean, 0, "o", color=COLOURS[0], markersize=3.5, clip_on=False)
        side = "right" if on_left else "left"
        axes.text(end + gap * (k - 1) / 2, line, f"{_named(label)} ({mean:.2f})", ha=side, va="center")
    for number, (first, last) in enumerate(groups):
        height = 0.35 + 0.28 * number
        axes.plot([first - 0.02, last + 0.02], [height, height], color=COLOURS[1], linewidth=2.5, solid_capstyle="butt")
    shown = min(ranks.critical, k - 1)
    axes.plot([1, 1 + shown], [-1.1, -1.1], color="black", linewidth=1.2, marker="|", markersize=5)
    wider = "" if shown == ranks.critical else ", wider than the axis"
    axes.text(1 + shown / 2, -1.25, f"critical difference {ranks.critical:.2f}{wider}", ha="center", va="bottom")
    room = 0.55 * (k - 1)
    axes.set_xlim(1 - room, k + room)
    axes.set_axis_off()
    p = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.2g}"
    axes.set_title(f"{_titled(ranks.number)}: average rank over {ranks.blocks}, 1 is best (Friedman {p})", loc="left")


def _require_few(count: int) -> None:
    if count > MOST_SETTINGS:
        raise UserError(f"{count} settings do not fit a page; choose up to {MOST_SETTINGS}, as in solver=euler nfe=8")


def _named(label: str) -> str:
    """Returns a name for a figure; of a long one its beginning."""
    return printable(label, NAME_LENGTH)


def _titled(number: Number) -> str:
    return printable(f"{number.name} ({number.unit})" if number.unit else number.name)


def _direction(number: Number) -> str:
    if isinstance(number.better, float):
        return f"distance to {number.better:g}: lower is better"
    return "no better direction" if number.better is None else f"{number.better} is better"
