"""Measured orders of convergence of solvers, next to the declared ones."""

import math

import pandas as pd

from float_research.analysis.load import varying

ERROR, EVALUATIONS, ORDER = "sampling_error", "measured_evaluations", "solver_order"
NOT_GROUPS = frozenset({"solver", "nfe", "budget", "seed"})


def slopes(runs: pd.DataFrame, error: str = ERROR, evaluations: str = EVALUATIONS) -> pd.DataFrame:
    """Measures the slope of each solver: -d log(error) / d log(evaluations) between its two finest step sizes.

    An order is a limit, which coarser steps do not show.

    Returns one row for each solver and combination of the other settings that vary, averaged over seeds. Points from
    where the error stops falling are excluded, since rounding dominates there. `slope` is NaN with fewer than two
    points.
    """
    if error not in runs or "solver" not in runs:
        return pd.DataFrame(columns=["solver", "order", "slope", "from", "to"])
    by = ["solver", *(name for name in varying(runs) if name not in NOT_GROUPS)]
    rows = []
    for key, group in runs.groupby(by, dropna=False, sort=False):
        points = falling(group.groupby(evaluations)[error].mean())
        finest = points.iloc[-2:]
        named = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        rows.append(
            {
                **named,
                "order": declared_order(group),
                "slope": _slope(finest),
                "from": finest.index.min() if len(finest) else None,
                "to": finest.index.max() if len(finest) else None,
            }
        )
    return pd.DataFrame(rows)


def declared_order(runs: pd.DataFrame) -> float | None:
    """Returns the declared order of these runs' solver; None if their records are too old to hold it."""
    if ORDER not in runs or runs[ORDER].isna().all():
        return None
    return float(runs[ORDER].dropna().iloc[0])


def falling(errors: "pd.Series[float]") -> "pd.Series[float]":
    """Returns the errors by evaluations up to where they stop falling."""
    kept: dict[float, float] = {}
    for count, value in errors.sort_index().items():
        if not (math.isfinite(value) and value > 0) or (kept and value >= min(kept.values())):
            break
        kept[float(str(count))] = value
    return pd.Series(kept, dtype=float)


def _slope(points: "pd.Series[float]") -> float:
    if len(points) < 2:
        return math.nan
    return -math.log(points.iloc[1] / points.iloc[0]) / math.log(points.index[1] / points.index[0])
