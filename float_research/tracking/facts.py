"""What the record of a run says, as the columns of tables."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from float_research.tracking.record import flat_costs
from float_research.tracking.runs import Run

METRICS = "metrics"
"""The key of a summary's `attrs` for its columns of metrics."""
LOW, HIGH, NUM_CLIPS, STANDING = ENDS = "low", "high", "n", "standing"
"""Ends of the columns beside that of a metric, such as `flicker_low`."""
BEST, INSEPARABLE, WORSE = "best", "not separable", "worse"
"""How a setting stands in a metric."""


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


def metric_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns a row per run and metric of a summary: run, settings, metric, mean, interval, clips and standing."""
    metrics = table.attrs.get(METRICS, ())
    if not metrics:
        return []
    names = list(table.columns[: table.columns.get_loc("clips")])
    return [
        {
            **{name: row[name] for name in names},
            "metric": metric,
            "mean": row[metric],
            **{end: row.get(f"{metric}_{end}") if f"{metric}_{end}" not in metrics else None for end in ENDS},
        }
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
        for metric in metrics
        if row[metric] is not None
    ]


def format_value(value: object) -> str:
    """Formats a value for a terminal. What a run lacks, such as the costs of videos from outside, is left out."""
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
