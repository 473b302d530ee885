"""The summary of a folder of runs: one row per run, computed from their records."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from float_research.errors import UserError, reading, writable
from float_research.files import whole
from float_research.printing import Table, say
from float_research.texts import count
from float_research.tracking.logger import mean_metrics
from float_research.tracking.record import flat_costs
from float_research.tracking.runs import (
    OURS,
    SOURCE,
    SUMMARY,
    Found,
    Run,
    as_numbers,
    find,
    parse_overrides,
    refuse_empty,
)

PARQUET = "summary.parquet"
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
    is empty.
    """
    rows = [
        (dict(parse_overrides(run.record.get("overrides") or [])), facts(run), mean_metrics(run.record))
        for run in found.runs
    ]
    settings = list(dict.fromkeys(name for own, _, _ in rows for name in own))
    if SOURCE in settings:
        rows = [({SOURCE: OURS, **own}, known, metrics) for own, known, metrics in rows]
    table = pd.DataFrame(
        [{**{name: own.get(name) for name in settings}, **known, **(metrics | known)} for own, known, metrics in rows]
    )
    if not table.empty:
        table.pop("run")
        table.insert(0, "run", as_numbers(run.name for run in found.runs))
    return table


def facts(run: Run) -> dict[str, Any]:
    """Flattens a run's record, except for metrics. Records of older versions lack some entries."""
    record = run.record
    totals, checkpoint = record.get("totals") or {}, record.get("checkpoint") or {}
    return {
        "run": run.name,
        **{name: totals.get(name) for name in ("clips", "frames", "windows")},
        "failed": len(record.get("failed") or []),
        **suite_facts(record),
        **costs(totals, record),
        "solver_order": record.get("solver_order"),
        "device": record.get("device"),
        "checkpoint_hash": checkpoint.get("hash"),
        "trained": checkpoint.get("trained"),
        "started": record.get("started"),
        "signature": record.get("signature"),
        "sources": record.get("sources"),
        "other_code": record.get("other_code"),
        **{name: (record.get("git") or {}).get(name) for name in ("commit", "changed")},
        "videos": json.dumps([clip.get("video") for clip in record["clips"]], ensure_ascii=False),
    }


def suite_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the suite of a run, as `NAME VERSION`, and its hash; None for other clips and older records."""
    suite = record.get("suite")
    name = f"{suite.get('name')} {suite.get('version')}" if suite else None
    return {"suite": name, "suite_sha256": suite.get("sha256") if suite else None}


def costs(part: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a clip or a run's totals cost, with the times and the memory of the run as a whole."""
    return {
        **flat_costs(part),
        **{f"{phase}_s": value for phase, value in (part.get("seconds") or {}).items()},
        "load_s": record.get("load_s"),
        "wall_s": record.get("wall_s"),
        **{f"peak_memory_mb_{kind}": value for kind, value in (record.get("peak_memory_mb") or {}).items()},
    }


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


def format_value(value: object) -> str:
    """Formats a value for a terminal. What a run lacks, such as the costs of videos from outside, is left out."""
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def console_table(table: pd.DataFrame) -> Table:
    """Returns the console table: run, and the settings, main costs and numbers in which runs differ."""
    settings = list(table.columns[1 : table.columns.get_loc("clips")])
    columns = ["run", *(name for name in settings if name == SOURCE or table[name].astype(str).nunique() > 1)]
    columns += [name for name in PRINTED if name in table and (name not in OCCASIONAL or table[name].any())]
    if len(table) > 1:
        columns = ["run", *(name for name in columns[1:] if table[name].astype(str).nunique() > 1 or name == SOURCE)]
    rows = [[format_value(value) for value in values] for values in table[columns].itertuples(index=False)]
    return Table([PRINTED.get(name, name) for name in columns], rows, "summary")


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
    named = [name for name in PRINTED if name in table and name not in OCCASIONAL]
    if same := [name for name in named if PRINTED[name] not in shown.names]:
        equal = ", ".join(f"{PRINTED[name]} {format_value(table[name].iloc[0])}" for name in same)
        say(console, f"the same in all runs: {equal}")
    counts = count(len(table), "run") + (f", {len(found.failed)} failed" if found.failed else "")
    say(console, f"{counts}: {', '.join(map(str, files))}")
    return table, len(found.failed)
