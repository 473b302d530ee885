"""How fast sampling errors fall with evaluations: measured orders of convergence beside declared ones."""

import math

import pandas as pd

from float_research.analysis.load import varying

ERROR, EVALUATIONS, ORDER = "sampling_error", "measured_evaluations", "solver_order"
NOT_GROUPS = frozenset({"solver", "nfe", "budget", "seed"})


def slopes(runs: pd.DataFrame, error: str = ERROR, evaluations: str = EVALUATIONS) -> pd.DataFrame:
    """Measured slope of each solver: -d log(error) / d log(evaluations) between its two finest step sizes.

    An order is a limit, so coarser steps say little of it.

    One row for each solver and each combination of the other settings that vary, seeds averaged. Points from where the
    error no longer falls are left out: there rounding speaks. `slope` is NaN with fewer than two points.
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
    """The order that the solver of these runs declared; None where their records are too old to say."""
    if ORDER not in runs or runs[ORDER].isna().all():
        return None
    return float(runs[ORDER].dropna().iloc[0])


def falling(errors: "pd.Series[float]") -> "pd.Series[float]":
    """Errors by evaluations up to where they no longer fall."""
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
