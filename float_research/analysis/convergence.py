"""How fast sampling errors fall with evaluations: measured orders of convergence beside declared ones."""

import math

import pandas as pd

from float_research.analysis.load import varying
from float_research.sampling import solver as solvers
from float_research.tracking.runs import word

ERROR, EVALUATIONS = "sampling_error", "measured_evaluations"
NOT_GROUPS = frozenset({"solver", "nfe", "budget", "seed"})


def declared_order(name: str) -> int | None:
    """The order of the solver of that name in `conf/solver/`; None for a name that is not there."""
    kinds = [kind for kind in vars(solvers).values() if isinstance(kind, type) and issubclass(kind, solvers.Solver)]
    return next((kind.order for kind in kinds if word(kind.__name__) == name and hasattr(kind, "order")), None)


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
                "order": declared_order(str(named["solver"])),
                "slope": _slope(finest),
                "from": finest.index.min() if len(finest) else None,
                "to": finest.index.max() if len(finest) else None,
            }
        )
    return pd.DataFrame(rows)


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
