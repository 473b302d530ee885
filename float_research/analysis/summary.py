"""The summary of a folder of runs: one row per run, computed from their records."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from float_research.analysis.crossed import Design
from float_research.analysis.load import clip_table
from float_research.analysis.pairs import factors, keyed, settings
from float_research.analysis.statistics import headlines, leaders, paired
from float_research.errors import UserError, reading, writable
from float_research.files import whole
from float_research.printing import Table, say
from float_research.program import typed
from float_research.texts import count
from float_research.tracking.facts import (
    BEST,
    ENDS,
    HIGH,
    INSEPARABLE,
    LOW,
    METRICS,
    NUM_CLIPS,
    STANDING,
    WORSE,
    facts,
    format_value,
)
from float_research.tracking.logger import mean_metrics
from float_research.tracking.runs import (
    OURS,
    SOURCE,
    SUMMARY,
    Found,
    as_numbers,
    find,
    parse_overrides,
    refuse_empty,
)

PARQUET, UNMARKED = "summary.parquet", "unmarked"
MARKS = {BEST: "*", INSEPARABLE: "~"}
LEGEND = (
    "* best setting of a metric, ~ not separable from it: paired t-tests, Holm's correction over all pairs of settings "
    "and headline metrics, 5 %"
)
PRINTED = {
    "frames": "frames",
    "failed": "failed",
    "measured_evaluations": "evaluations",
    "measured_branches": "branches",
    "sample_s": "sample_s",
    "measured_verified_frames": "verified",
    "verify_s": "verify_s",
    "sampling_error": "error",
    "lip_correlation": "lips",
    "decode_s": "decode_s",
    "wall_s": "wall_s",
}
"""Columns of the printed table and their headings."""
OCCASIONAL = {"failed", "measured_verified_frames", "verify_s"}
"""Columns that are printed only where they say something."""


def summarise(found: Found) -> pd.DataFrame:
    """Returns one row per run.

    Columns: `run`, the folder, as integers if all are; every setting that some run overrode, by its command-line name;
    costs, seconds of each phase, places, and metrics whose names are not taken. A setting that a run did not override
    is empty. Beside each metric that clips have, for example `flicker`: the ends of the 95 % interval of its mean,
    `flicker_low` and `flicker_high`, empty for a single clip, the number of clips, `flicker_n`, and for headline
    metrics `flicker_standing` of the run's setting: `best`, `not separable` from it (see `Contrasts`), or `worse`.

    `attrs`: the columns of metrics, and as `unmarked` a sentence on settings that have no standing.
    """
    rows = [
        (dict(parse_overrides(run.record.get("overrides") or [])), facts(run), mean_metrics(run.record))
        for run in found.runs
    ]
    names = list(dict.fromkeys(name for own, _, _ in rows for name in own))
    if SOURCE in names:
        rows = [({SOURCE: OURS, **own}, known, metrics) for own, known, metrics in rows]
    table = pd.DataFrame(
        [{**{name: own.get(name) for name in names}, **known, **(metrics | known)} for own, known, metrics in rows]
    )
    if table.empty:
        return table
    table.pop("run")
    table.insert(0, "run", as_numbers(run.name for run in found.runs))
    taken = {*names, *(name for _, known, _ in rows for name in known)}
    metrics = [str(name) for name in table if name not in taken]
    columns, unmarked = beside(found, metrics)
    run = table["run"].astype(str)
    added = {name: pd.Series(run.map(own), name=name) for name, own in columns.items() if name not in table}
    ordered = [[table[name], *(added[f"{name}_{end}"] for end in ENDS if f"{name}_{end}" in added)] for name in table]
    table = pd.concat([*chain.from_iterable(ordered)], axis=1)
    table = table.astype({f"{name}_{NUM_CLIPS}": "Int64" for name in metrics if f"{name}_{NUM_CLIPS}" in added})
    table.attrs = {METRICS: metrics, UNMARKED: unmarked}
    return table


def beside(found: Found, metrics: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str]:
    """Returns the columns beside the metrics, each as run → value, and why settings have no standing."""
    if not any(run.record["clips"] for run in found.runs):
        return {}, ""
    clips = clip_table(found)
    clips["run"] = clips["run"].astype(str)
    of_runs = {run.name: run.record.get("metrics") or {} for run in found.runs}
    columns: dict[str, dict[str, Any]] = {}
    for run, own in clips.groupby("run", sort=False):
        of_clips = [name for name in metrics if name in own and name not in of_runs[str(run)]]
        for name, values in intervals(own, of_clips).items():
            for end, value in zip((LOW, HIGH, NUM_CLIPS), values, strict=True):
                columns.setdefault(f"{name}_{end}", {})[str(run)] = value
    if len(found.runs) == 1:
        return columns, ""
    try:
        standing, unmarked = standings(clips)
    except UserError as error:
        return columns, f"no setting is marked as best: {error}"
    return columns | {f"{name}_{STANDING}": own for name, own in standing.items() if name in metrics}, unmarked


def intervals(clips: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[float, float, int]]:
    """Returns the 95 % interval of the mean of each number over the clips of a run, and how many have it.

    The interval, that of `Design.estimate`, is NaN for a single clip.
    """
    numbers = clips[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float).T
    held = np.isfinite(numbers)
    units = factors([keyed(clips)])
    found: dict[str, tuple[float, float, int]] = {}
    for pattern in np.unique(held, axis=0):
        same = [place for place in range(len(names)) if (held[place] == pattern).all()]
        num_held = int(pattern.sum())
        if num_held == 0:
            continue
        values = numbers[same][:, pattern]
        half = Design.of(units[pattern]).estimate(values).half_width if num_held > 1 else np.full(len(same), np.nan)
        ends = np.stack([values.mean(1) - half, values.mean(1) + half], 1).tolist()
        found |= {names[place]: (low, high, num_held) for place, (low, high) in zip(same, ends, strict=True)}
    return found


def standings(clips: pd.DataFrame) -> tuple[dict[str, dict[str, str]], str]:
    """Returns how settings stand in headline metrics, as metric → run → standing, and which metrics have none.

    Raises:
        UserError: the clips of the settings have no pairs, or no headline metric.
    """
    groups = settings(clips, [])
    rows, untold, notes = paired(groups, headlines(groups))
    if not rows:
        raise UserError(
            "; ".join([*untold.values(), *notes]) or f"the clips have no headline metric; {typed('measure')} adds some"
        )
    best, inseparable = leaders(rows)
    found = {}
    for row in rows:
        if (name := row.number.name) in best:
            words = {**dict.fromkeys(inseparable[name], INSEPARABLE), best[name]: BEST}
            of = zip(row.labels, groups.values(), strict=True)
            found[name] = {run: words.get(label, WORSE) for label, own in of for run in own["run"].unique()}
    left_out = ", ".join(name for name in headlines(groups) if name not in [row.number.name for row in rows])
    return found, f"no setting is marked as best in {left_out}; {typed('compare')} says why" if left_out else ""


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `summary.csv` and `summary.parquet` to `folder`, atomically.

    Parquet needs one type per column, so settings of several types are written as strings there.

    Raises:
        UserError: there is a `summary.csv` or `summary.parquet` that is not ours.
    """
    for path in (folder / SUMMARY, folder / PARQUET):
        if path.exists() and not is_ours(path):
            raise UserError(f"{path} was not written by float-research; move it elsewhere")
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.assign(**{str(name): table[name].map(writable) for name in texts})
    mixed = [name for name in table if table[name].map(type).nunique() > 1 and table[name].dtype == object]
    plain = table.astype(dict.fromkeys(mixed, "string"))
    with whole(folder / SUMMARY) as part:
        table.to_csv(part, index=False)
    with whole(folder / PARQUET) as part:
        plain.to_parquet(part, index=False)
    return [folder / SUMMARY, folder / PARQUET]


def is_ours(path: Path) -> bool:
    """Returns whether a summary is ours: its first column is `run`."""
    try:
        with reading(path, "move it elsewhere"), path.open("rb") as file:
            if path.name == SUMMARY:
                return file.read(4) in (b"run,", b"run\n")
            from pyarrow import parquet

            return parquet.read_schema(file).names[:1] == ["run"]
    except UserError:
        return False


def headings(table: pd.DataFrame) -> dict[str, str]:
    """Returns the columns of the printed table and their headings: the usual ones, and metrics with a best setting."""
    marked = [name for name in table.attrs.get(METRICS, ()) if f"{name}_{STANDING}" in table]
    known = PRINTED | {name: PRINTED.get(name, name) for name in marked}
    return {name: heading for name, heading in known.items() if name in table}


def console_table(table: pd.DataFrame) -> Table:
    """Returns the console table: run, and the settings, main costs and numbers in which runs differ, with marks."""
    settings, known = list(table.columns[1 : table.columns.get_loc("clips")]), headings(table)
    columns = ["run", *(name for name in settings if name == SOURCE or table[name].astype(str).nunique() > 1)]
    columns += [name for name in known if name not in OCCASIONAL or table[name].any()]
    if len(table) > 1:
        columns = ["run", *(name for name in columns[1:] if table[name].astype(str).nunique() > 1 or name == SOURCE)]
    rows = [
        [format_value(row[name]) + MARKS.get(str(row.get(f"{name}_{STANDING}")), "") for name in columns]
        for row in table.to_dict("records")
    ]
    return Table([known.get(name, name) for name in columns], rows, "summary")


def report(folder: Path, console: Console) -> tuple[pd.DataFrame, int]:
    """Writes and prints the summary of a folder and reports damaged records.

    Returns the summary, which is empty if all runs failed, and the number of failed runs.

    Raises:
        UserError: there is no readable record.
    """
    found = find(folder)
    if found.failed:
        console.print(
            Table(["run", "settings", "error"], [[str(cell) for cell in run] for run in found.failed], "failed")
        )
        if not found.runs and not found.damaged:
            say(console, f"failed: {len(found.failed)} of {count(len(found.failed), 'run')}")
            return pd.DataFrame(), len(found.failed)
    for note in replace(found, failed=(), ended=found.complete() or not found.runs).notes():
        say(console, note, style="bold yellow")
    refuse_empty(found, folder)
    table = summarise(found)
    files = write(table, folder)
    shown = console_table(table)
    console.print(shown)
    if any(f"{name}_{STANDING}" in table for name in table.attrs[METRICS]):
        say(console, LEGEND)
    if table.attrs[UNMARKED]:
        say(console, table.attrs[UNMARKED])
    named = {name: heading for name, heading in headings(table).items() if name not in OCCASIONAL}
    if same := [name for name, own in named.items() if own not in shown.names and table[name].notna().any()]:
        equal = ", ".join(f"{named[name]} {format_value(table[name].iloc[0])}" for name in same)
        say(console, f"the same in all runs: {equal}")
    counts = count(len(table), "run") + (f", {len(found.failed)} failed" if found.failed else "")
    say(console, f"{counts}: {', '.join(map(str, files))}")
    return table, len(found.failed)
