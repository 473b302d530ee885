"""What the runs of a folder came to: one row a run, from their records alone."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from float_research.files import whole
from float_research.tracking.record import FAILURE, RECORD
from float_research.tracking.tracker import mean_metrics
from float_research.types import UserError

CSV, PARQUET = "summary.csv", "summary.parquet"
PRINTED = {
    "frames": "frames",
    "measured_evaluations": "evaluations",
    "measured_rows": "rows",
    "sample_s": "sample_s",
    "sampling_error": "error",
    "lip_correlation": "lips",
    "decode_s": "decode_s",
    "wall_s": "wall_s",
}
"""Columns of every printed table, and their names there."""


def summarise(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """One row for each record under `folder`, and the records that cannot be read.

    Columns: `run`, the folder; every setting that some run overrode, by its name on the command line; costs, seconds of
    each stage, metrics, places. A run that did not override a setting has none there.

    Raises:
        UserError: there is no record.
    """
    rows, broken = [], []
    for path in _in_order(folder, RECORD):
        try:
            rows.append(row(path.parent.relative_to(folder), json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, AttributeError):
            broken.append(path)
    if not rows and not broken:
        raise UserError(f"{folder} holds no {RECORD}; name the folder of a run or of a sweep")
    settings = list(dict.fromkeys(name for overridden, _ in rows for name in overridden))
    table = pd.DataFrame([{**{name: overridden.get(name) for name in settings}, **facts} for overridden, facts in rows])
    if not table.empty:
        table.insert(0, "run", table.pop("run"))
    return table, broken


def row(run: Path, record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The overridden settings of a run, and the facts of its record."""
    totals = record["totals"]
    costs = {
        f"{kind}_{unit}": None if totals[kind] is None else totals[kind][unit]
        for kind in ("declared", "measured")
        for unit in ("evaluations", "rows")
    }
    facts = {
        "run": run.as_posix(),
        **{name: totals[name] for name in ("clips", "frames", "chunks")},
        **costs,
        **{f"{stage}_s": value for stage, value in totals["seconds"].items()},
        **mean_metrics(record),
        "load_s": record["load_s"],
        "wall_s": record["wall_s"],
        **{f"peak_memory_mb_{kind}": value for kind, value in record["peak_memory_mb"].items()},
        "device": record["device"],
        "checkpoint_hash": record["checkpoint"]["hash"],
        "trained": record["checkpoint"]["trained"],
        "started": record["started"],
        "signature": record["signature"],
        "videos": json.dumps([clip["video"] for clip in record["clips"]], ensure_ascii=False),
    }
    return dict(overridden(record["overrides"])), facts


def overridden(overrides: list[str]) -> Iterator[tuple[str, Any]]:
    """`nfe=8` → ("nfe", 8), as YAML reads the value; a key that was added or forced keeps its bare name."""
    for override in overrides:
        name, _, value = override.partition("=")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            read = value
        yield name.lstrip("+~"), read if isinstance(read, (bool, int, float, str)) else value


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """`summary.csv` and `summary.parquet` in `folder`; each appears whole or not at all.

    Parquet wants one type a column, so settings of several types are written as texts there.
    """
    mixed = [name for name in table if table[name].map(type).nunique() > 1 and table[name].dtype == object]
    plain = table.astype(dict.fromkeys(mixed, "string"))
    with whole(folder / CSV) as part:
        table.to_csv(part, index=False)
    with whole(folder / PARQUET) as part:
        plain.to_parquet(part, index=False)
    return [folder / CSV, folder / PARQUET]


def printed(table: pd.DataFrame) -> Table:
    """Run, the settings in which runs differ, and the main costs."""
    settings = list(table.columns[1 : table.columns.get_loc("clips")])
    shown = ["run", *(name for name in settings if table[name].astype(str).nunique() > 1)]
    shown += [name for name in PRINTED if name in table]
    lines = Table(*(PRINTED.get(name, name) for name in shown), title="summary", title_justify="left")
    for values in table[shown].itertuples(index=False):
        lines.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values))
    return lines


def failures(folder: Path) -> list[tuple[str, str, str]]:
    """Run, overrides and error of each run under `folder` that failed."""
    found = []
    for path in _in_order(folder, FAILURE):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            found.append((path.parent.relative_to(folder).as_posix(), str(said["overrides"]), str(said["error"])))
        except (ValueError, KeyError, TypeError):
            found.append((path.parent.relative_to(folder).as_posix(), "", f"{FAILURE} is damaged"))
    return found


def report(folder: Path, console: Console) -> tuple[pd.DataFrame, int]:
    """Writes and prints the summary of a folder and names records that are damaged.

    Returns the summary, which is empty where all runs failed, and how many runs failed.
    """
    failed = failures(folder)
    if failed:
        lines = Table("run", "settings", "error", title="failed", title_justify="left")
        for run in failed:
            lines.add_row(*map(escape, run))
        console.print(lines)
        if not _in_order(folder, RECORD):
            console.print(f"all {len(failed)} runs failed")
            return pd.DataFrame(), len(failed)
    table, broken = summarise(folder)
    for path in broken:
        told = f"{path} is damaged and left out; run it again"
        console.print(told, style="bold yellow", soft_wrap=True, markup=False)
    if table.empty:
        raise UserError(f"no record under {folder} can be read; run the sweep again")
    files = write(table, folder)
    console.print(printed(table))
    count = f"{len(table)} runs" + (f", {len(failed)} failed" if failed else "")
    console.print(f"{count}: {', '.join(map(str, files))}", soft_wrap=True, markup=False)
    return table, len(failed)


def _in_order(folder: Path, name: str) -> list[Path]:
    """The files of that name under a folder, run 10 after run 9."""
    return sorted(folder.rglob(name), key=lambda path: _by_number(path.relative_to(folder)))


def _by_number(path: Path) -> list[tuple[bool, int, str]]:
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path.parts]
