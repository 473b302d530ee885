"""Plots of sweeps, from the data frames of `load`. All return matplotlib figures without showing them."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from float_research.analysis.convergence import ERROR, EVALUATIONS, slopes
from float_research.analysis.load import described
from float_research.analysis.numbers import CONVERGE, PHASES
from float_research.errors import UserError

COLOURS = (
    *("#3a86c8", "#d97b29", "#2a9d76", "#c0508f", "#8a6cc4", "#a98a1f", "#4fb0c6", "#8b9199"),
    *("#1f4e79", "#8c4a10", "#145c45", "#6e2450"),
)
FAINT = "#9aa4ad"
PER_ROW = 3
"""Plots beside each other, at most: a page is as wide."""
NAME_HEIGHT = 0.055
"""Of a name beside a line, as a share of the height of the axes."""
T = TypeVar("T")
AUDIO_SCALE, EMOTION_SCALE = "guidance.audio.scale", "guidance.emotion.scale"


def attempt(plot: Callable[..., T], *arguments: Any, **settings: Any) -> T | None:
    """Returns the figure, or what else is computed for one, or prints why these runs have none."""
    try:
        return plot(*arguments, **settings)
    except UserError as error:
        print(f"no figure: {error}")
        return None


def pareto(
    runs: pd.DataFrame, *, error: str = ERROR, cost: str = EVALUATIONS, by: str = "solver", title: str | None = None
) -> Figure:
    """Plots error against cost on logarithmic axes, one line per value of `by`, with its name at its end.

    Solvers show measured slopes and declared orders if the cost is counted in evaluations. Grey steps: the least error
    for at most that cost. Lines go through the mean of runs with equal cost.
    """
    need(runs, error, cost, by)
    known = runs[(runs[error] > 0) & (runs[cost] > 0)]
    if known.empty:
        raise UserError(f"no run has a positive {error} and {cost}")
    figure, axes = _figure(6.4, 4.2)
    measured = slopes(runs, error, cost) if by == "solver" and "evaluations" in cost else None
    ends = []
    for colour, (value, group) in zip(_endless(), known.groupby(by, sort=False), strict=False):
        line = group.groupby(cost)[error].mean().sort_index()
        axes.plot(line.index, line, "-", color=colour, alpha=0.7)
        axes.plot(group[cost], group[error], "o", color=colour, markersize=4)
        ends.append((line.iloc[-1], f"{value}{_slope_of(measured, value)}", colour))
    best = known.sort_values([cost, error])
    best = best[best[error] == best[error].cummin()]
    axes.step(best[cost], best[error], where="post", color=FAINT, linestyle=":", label="best so far", zorder=0)
    axes.set(xscale="log", yscale="log", xlabel=cost, ylabel=error, title=title or f"{error} against {cost}")
    for axis, values in (axes.xaxis, known[cost]), (axes.yaxis, known[error]):
        if values.max() < 100 * values.min():  # whole powers of ten would be too few
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    ticks = sorted(known[cost].unique())
    if len(ticks) <= 12:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
    _name_lines(axes, ends)
    axes.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def guidance_map(runs: pd.DataFrame, metric: str, *, rows: str = EMOTION_SCALE, columns: str = AUDIO_SCALE) -> Figure:
    """Plots a metric over two settings, such as both guidance scales, as a heat map of means over runs."""
    need(runs, metric, rows, columns)
    table = runs.pivot_table(index=rows, columns=columns, values=metric, aggfunc="mean").sort_index(ascending=False)
    if table.size < 2:
        raise UserError(f"{rows} and {columns} do not vary among runs with {metric}; sweep over them")
    figure, axes = _figure(1.6 + 0.9 * table.shape[1], 1.3 + 0.6 * table.shape[0])
    values = table.to_numpy(dtype=float)
    image = axes.imshow(values, aspect="auto", cmap="cividis")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        said = "–" if np.isnan(value) else f"{value:.3g}"
        axes.text(column, row, said, ha="center", va="center", color="white" if value < middle else "black")
    axes.set(xlabel=columns, ylabel=rows, title=metric)
    axes.set_xticks(range(table.shape[1]), [_short(value) for value in table.columns])
    axes.set_yticks(range(table.shape[0]), [_short(value) for value in table.index])
    figure.colorbar(image, ax=axes)
    return figure


def by_setting(runs: pd.DataFrame, metrics: Sequence[str], setting: str) -> Figure:
    """Plots metrics by the values of one setting: a dot per run, and the means, which a line joins if they are ordered.

    Metrics that were not measured are left out.
    """
    need(runs, setting)
    shown = [name for name in metrics if name in runs and runs[name].notna().any()]
    if not shown:
        raise UserError(f"the runs have none of {', '.join(metrics)}; measure them first")
    if runs[setting].nunique() < 2:
        raise UserError(f"{setting} is {runs[setting].dropna().iloc[0]} in all runs; sweep over it")
    rows = math.ceil(len(shown) / PER_ROW)
    columns = math.ceil(len(shown) / rows)
    figure = Figure(figsize=(3.4 * columns, 3.2 * rows), layout="constrained")
    ordered = pd.api.types.is_numeric_dtype(runs[setting]) and not pd.api.types.is_bool_dtype(runs[setting])
    levels = list(dict.fromkeys((runs.sort_values(setting) if ordered else runs)[setting].dropna()))
    grid = np.ravel(figure.subplots(rows, columns))
    for unused in grid[len(shown) :]:
        unused.set_axis_off()
    for colour, axes, name in zip(_endless(), grid, shown, strict=False):
        place = [levels.index(value) if value in levels else np.nan for value in runs[setting]]
        axes.plot(place, runs[name], "o", color=colour, alpha=0.5)
        means = runs.groupby(setting)[name].mean().reindex(levels)
        axes.plot(range(len(levels)), means, "-" if ordered else "_", color=colour, markersize=22, label="mean")
        slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(levels) > 4 else {}
        axes.set_xticks(range(len(levels)), [_short(value) for value in levels], **slanted)
        axes.set(xlabel=setting, title=name)
        axes.margins(x=0.12)
        _plain(axes)
    return figure


def timing(runs: pd.DataFrame) -> Figure:
    """Plots the seconds of each run's phases, stacked, with the rest of the wall time in grey.

    Converged solutions are beside them: they are a cost of measuring, which a sweep pays once.
    """
    spent = {phase: runs[f"{phase}_s"].fillna(0) for phase in PHASES if _any(runs, f"{phase}_s")}
    if not spent:
        raise UserError("the runs have no phase times, which older records lack; run them again")
    converged = spent.pop(CONVERGE, pd.Series(0.0, runs.index))
    shares = [5, 2] if converged.any() else [1]
    figure = Figure(figsize=(7.5 if len(shares) == 1 else 9.5, 1.4 + 0.28 * len(runs)), layout="constrained")
    axes, *beside = np.ravel(figure.subplots(1, len(shares), sharey=True, width_ratios=shares))
    labels, start = names(runs), pd.Series(0.0, runs.index)
    for colour, (phase, seconds) in zip(_endless(), spent.items(), strict=False):
        axes.barh(labels, seconds, left=start, color=colour, label=phase)
        start = start + seconds
    if "wall_s" in runs:
        rest = (runs["wall_s"].fillna(0) - start - converged).clip(lower=0)
        axes.barh(labels, rest, left=start, color="#d5d9dc", label="rest")
    axes.invert_yaxis()
    axes.set(xlabel="seconds", title="where the time goes")
    axes.legend(
        frameon=False, fontsize="small", ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.6 / len(runs))
    )
    for apart in beside:
        apart.barh(labels, converged, color=FAINT)
        apart.set(xlabel="seconds", title="converged solutions")
    for shown in figure.axes:
        _plain(shown)
    return figure


def _any(runs: pd.DataFrame, name: str) -> bool:
    return name in runs and bool(runs[name].notna().any())


def names(runs: pd.DataFrame) -> list[str]:
    """Returns a short label for each row: the run, and the settings in which rows differ."""
    return [
        f"{run}: {settings}" if settings else f"run {run}"
        for run, settings in zip(runs["run"], described(runs), strict=True)
    ]


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raises a UserError for a column without values."""
    for name in columns:
        if name not in frame or frame[name].isna().all():
            raise UserError(f"no run has {name}; it was not set, or not measured")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _name_lines(axes: Axes, ends: Iterable[tuple[float, str, str]]) -> None:
    """Writes names right of the axes, at the heights where lines end, stacked where they would overlap."""
    axes.get_ylim()  # settles the limits
    height = -math.inf
    for end, name, colour in sorted(ends):
        _, fraction = (axes.transScale + axes.transLimits).transform((1, end))
        height = max(fraction, height + NAME_HEIGHT)
        axes.text(1.02, height, name, color=colour, fontsize="small", va="center", transform=axes.transAxes)


def _slope_of(measured: pd.DataFrame | None, solver: object) -> str:
    """Returns `, slope 1.02 (order 1)` for a solver with exactly one measured slope."""
    if measured is None:
        return ""
    rows = measured[(measured["solver"] == solver) & measured["slope"].notna()]
    if len(rows) != 1:
        return ""
    order = rows["order"].iloc[0]
    return f", slope {rows['slope'].iloc[0]:.2f}" + (f" (order {order:.0f})" if order > 0 else "")


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _endless() -> Iterable[str]:
    while True:
        yield from COLOURS
