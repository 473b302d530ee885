"""Plots of clips over time: traces, seams, frames."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from float_research.analysis.load import SETTINGS
from float_research.analysis.plots import COLOURS, FAINT, names, need
from float_research.errors import UserError
from float_research.video.preview import evenly

VELOCITY, WINDOW = "motion_velocity", "window"
DIRECTION, EMOTION = "direction_", "emotion_"
LEVEL = "audio_level"
BANDS: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "speech": ("silence", lambda values: values < 0.5, "#e6e4dc"),
    "bilabial": ("m, b, p", lambda values: values >= 0.5, "#f0b3c1"),
}
"""Bands behind traces, as on the page: the trace that tells them → their label, where they are, their colour."""
MAX_LINES = 8
NAME_WIDTH = 28
"""Characters of a line of a name beside frames."""


def seams(traces: pd.DataFrame, *, trace: str = VELOCITY, around_frames: int = 10) -> Figure:
    """Plots a trace over time, one row per clip, with window starts marked, and beside it the mean around a start.

    An invisible seam leaves no peak at 0.
    """
    clips = _clips(traces, trace, WINDOW)
    figure = Figure(figsize=(9, 0.8 + 1.1 * len(clips)), layout="constrained")
    grid = np.reshape(figure.subplots(len(clips), 2, sharex="col", sharey="row", width_ratios=[3, 1]), (len(clips), 2))
    for colour, (name, clip), (over_time, around) in zip(_colours(len(clips)), clips, grid, strict=True):
        over_time.plot(clip["time_s"], clip[trace], color=colour)
        _boundaries(over_time, clip)
        over_time.set_title(name, fontsize="small", loc="left")
        offsets, mean = _around(clip[trace].to_numpy(dtype=float), _starts(clip), around_frames)
        around.plot(offsets, mean, color=colour)
        around.axvline(0, color=FAINT, linestyle=":")
    grid[-1, 0].set(xlabel="seconds")
    grid[-1, 1].set(xlabel="frames from a window's start")
    figure.suptitle(f"{trace} (dotted: window starts)", fontsize="medium")
    return figure


def coordinates(traces: pd.DataFrame, *, directions: Sequence[int] | None = None) -> Figure:
    """Plots the motion coordinates of one clip over time, with window starts and its emotion probabilities.

    The default `directions` are the eight that move most.
    """
    clips = _clips(traces, WINDOW)
    if len(clips) > 1:
        raise UserError("coordinates plots a single clip; choose it, for example traces[traces.run == '0']")
    name, clip = clips[0]
    known = [column for column in clip if str(column).startswith(DIRECTION) and clip[column].notna().any()]
    if not known:
        raise UserError("the clip has no traces of motion coordinates; measure it with metrics=[motion]")
    moving = clip[known].std().sort_values(ascending=False).index[:MAX_LINES]
    wanted = sorted(moving) if directions is None else [f"{DIRECTION}{number:02d}" for number in directions]
    need(clip, *wanted)
    bands = [column for column in clip if str(column).startswith(EMOTION) and clip[column].notna().any()]
    heights = [1.0] * len(wanted) + [1.2] * bool(bands)
    figure = Figure(figsize=(9, 0.8 + 0.6 * len(heights)), layout="constrained")
    rows = np.ravel(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    for colour, axes, column in zip(_colours(len(wanted)), rows, wanted, strict=False):
        axes.plot(clip["time_s"], clip[column], color=colour)
        axes.set_ylabel(column.removeprefix(DIRECTION), rotation=0, ha="right", va="center")
        axes.spines[["top", "right"]].set_visible(False)
        _boundaries(axes, clip)
    if bands:
        shares = clip[bands].clip(lower=0).to_numpy(dtype=float).T
        labels = [str(column).removeprefix(EMOTION) for column in bands]
        rows[-1].stackplot(clip["time_s"], shares / shares.sum(0), labels=labels, colors=_colours(len(bands)))
        rows[-1].set(ylim=(0, 1), yticks=[])
        rows[-1].set_ylabel("emotion", rotation=0, ha="right", va="center")
        rows[-1].legend(loc="upper left", bbox_to_anchor=(1, 1.4), frameon=False, fontsize="x-small")
    rows[-1].set(xlabel="seconds", xlim=(clip["time_s"].min(), clip["time_s"].max()))
    figure.suptitle(f"{name}: motion coordinates", fontsize="medium")
    return figure


def over_time(traces: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Overlays traces of several clips, one row per trace."""
    shown = [name for name in columns if name in traces and traces[name].notna().any()]
    if not shown:
        raise UserError(f"no clip has a trace of {', '.join(columns)}; measure them first")
    clips = _clips(traces)
    height = 0.8 + 1.5 * len(shown) + 0.1 * len(clips)
    figure = Figure(figsize=(9, height), layout="constrained")
    rows = np.ravel(figure.subplots(len(shown), 1, sharex=True))
    for axes, column in zip(rows, shown, strict=True):
        for colour, (name, clip) in zip(_colours(len(clips)), clips, strict=True):
            axes.plot(clip["time_s"], clip[column], color=colour, label=name, alpha=0.85)
        axes.set_title(column, fontsize="small", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set(xlabel="seconds")
    figure.legend(
        *rows[0].get_legend_handles_labels(), frameon=False, fontsize="x-small", loc="outside lower left", ncols=2
    )
    return figure


def in_speech(traces: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Plots traces of one clip, one row each, over bands of silence and of m, b and p, and the loudness.

    `traces` needs `time_s`, besides what is plotted: those of `load_traces` have it. The metric `silent_lips` tells
    where silence is, `lips` where m, b and p are, and `lip_sync` the loudness; a line is broken where no face was seen.
    """
    need(traces, "time_s")
    if {"run", "clip"} <= set(traces) and len(found := traces[["run", "clip"]].drop_duplicates()) != 1:
        raise UserError(
            f"in_speech plots a single clip, not {len(found)}; choose it, for example with traces.run == '0'"
        )
    known = {str(name) for name in traces if traces[name].notna().any()}
    shown = [name for name in columns if name in known]
    if not shown:
        raise UserError(f"the clip has no trace of {', '.join(columns)}; measure them first")
    figure = Figure(figsize=(9, 0.8 + 1.1 * len(shown)), layout="constrained")
    rows = np.ravel(figure.subplots(len(shown), 1, sharex=True))
    for axes, column in zip(rows, shown, strict=True):
        axes.plot(traces["time_s"], traces[column], color=COLOURS[0])
        axes.set_title(column, fontsize="small", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        _background(axes, traces, [name for name in (LEVEL, *BANDS) if name in known and name != column])
    rows[-1].set(xlabel="seconds", xlim=_edges(traces)[[0, -1]])
    areas = {area.get_label(): area for axes in rows for area in axes.collections}
    if areas:
        figure.legend(
            areas.values(), areas, frameon=False, fontsize="x-small", loc="outside upper right", ncols=len(areas)
        )
    return figure


def _background(axes: Axes, clip: pd.DataFrame, names: Sequence[str]) -> None:
    """Draws loudness and bands over the whole height, behind what is plotted."""
    whole = axes.get_xaxis_transform()
    for name in names:
        values = clip[name].to_numpy(dtype=float)
        if name == LEVEL:
            height = (values - np.nanmin(values)) / ((np.nanmax(values) - np.nanmin(values)) or 1)
            axes.fill_between(
                clip["time_s"], height, color=FAINT, alpha=0.4, linewidth=0, transform=whole, zorder=0.5, label=name
            )
        else:
            label, holds, colour = BANDS[name]
            changes = np.flatnonzero(np.diff(np.concatenate([[False], holds(values), [False]])))
            begin, end = _edges(clip)[changes].reshape(-1, 2).T
            stretches = list(zip(begin, end - begin, strict=True))
            axes.broken_barh(stretches, (0, 1), color=colour, linewidth=0, transform=whole, zorder=0, label=label)


def strips(clips: pd.DataFrame, *, num_frames: int = 8) -> Figure:
    """Shows frames at equal times side by side, one row per clip. A clip without its video has an empty row."""
    if clips.empty:
        raise UserError("there is no clip to show")
    figure = Figure(figsize=(1.1 * num_frames + 1.5, 1.15 * len(clips)), layout="constrained")
    grid = np.reshape(figure.subplots(len(clips), num_frames), (len(clips), num_frames))
    for row, name, path in zip(grid, names(clips), clips["video_path"], strict=True):
        row[0].set_ylabel(fill(name, NAME_WIDTH), rotation=0, ha="right", va="center", fontsize="small")
        _show(row, path, num_frames)
    return figure


def sheet(clips: pd.DataFrame, *, rows: int = 3, columns: int = 6) -> Figure:
    """Shows a contact sheet of one clip: evenly spaced frames, in reading order."""
    if len(clips) != 1:
        raise UserError(f"a contact sheet shows one clip, not {len(clips)}; choose it, for example clips.head(1)")
    figure = Figure(figsize=(1.3 * columns, 1.3 * rows + 0.4), layout="constrained")
    grid = np.ravel(figure.subplots(rows, columns))
    figure.suptitle(names(clips)[0], fontsize="medium")
    _show(grid, clips["video_path"].iloc[0], rows * columns)
    return figure


def _show(grid: Iterable[Axes], video: object, num_frames: int) -> None:
    places = list(grid)
    found = isinstance(video, str) and Path(video).is_file()
    try:
        pictures = evenly(Path(str(video)), num_frames) if found else []
    except UserError:
        pictures = []
    if not pictures:
        problem = "video damaged" if found else "video missing"
        places[0].text(0, 0.5, problem, transform=places[0].transAxes, color=FAINT)
    for axes in places:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, picture in zip(places, pictures, strict=False):
        axes.imshow(picture)


def _clips(traces: pd.DataFrame, *columns: str) -> list[tuple[str, pd.DataFrame]]:
    """Returns name and traces of each clip."""
    if traces.empty:
        raise UserError("no clip has traces; measure the runs first")
    need(traces, *columns)
    several = traces.groupby("run")["clip"].nunique().max() > 1
    groups = traces.groupby(["run", "clip"], sort=False)
    return [
        (", ".join(filter(None, [f"run {run}", str(clip) if several else "", group[SETTINGS].iloc[0]])), group)
        for (run, clip), group in groups
    ]


def _edges(clip: pd.DataFrame) -> np.ndarray:
    """Returns when each frame of a clip begins, and when the last one ends."""
    times = clip["time_s"].to_numpy(dtype=float)
    return np.append(times, 2 * times[-1] - times[-2] if len(times) > 1 else times[-1] + 1)


def _starts(clip: pd.DataFrame) -> list[int]:
    """Returns the first frames of all windows but the first."""
    window = clip[WINDOW].to_numpy()
    return [int(place) + 1 for place in np.flatnonzero(np.diff(window))]


def _boundaries(axes: Axes, clip: pd.DataFrame) -> None:
    for place in _starts(clip):
        axes.axvline(clip["time_s"].iloc[place], color=FAINT, linestyle=":")


def _around(values: np.ndarray, starts: Sequence[int], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns offsets from the window starts and the mean value at each; NaN outside the clip."""
    offsets = np.arange(-width, width + 1)
    places = np.add.outer(np.array(starts, dtype=int), offsets)
    inside = (places >= 0) & (places < len(values))
    taken = np.where(inside, values[np.clip(places, 0, len(values) - 1)], np.nan)
    counts = np.isfinite(taken).sum(0)
    return offsets, np.where(counts > 0, np.nansum(taken, 0) / np.maximum(counts, 1), np.nan)


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
