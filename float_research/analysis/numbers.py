"""What is declared of the columns of a sweep: units, better directions, and which of them are shown first."""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module

from float_research import metrics
from float_research.metrics.metric import Better, MeansMetric, Metric, Number, RunMetric
from float_research.tracking.record import UNITS

OF_RUNS = (RunMetric, MeansMetric)
CONVERGE = "converge"
PHASES = (
    *("load", "read", "crop", "encode_image", "encode_audio", "emotion"),
    *("sample", "verify", "decode", "write", "metrics", CONVERGE),
)
"""In the order in which a run executes them."""
COSTS = {
    number.name: number
    for number in (
        Number("frames", "frames", None),
        Number("windows", "windows", None),
        *(
            Number(f"{kind}_{unit}", unit.replace("_", " "), Better.LOWER, (kind, unit) == ("measured", "evaluations"))
            for kind in ("measured", "declared")
            for unit in UNITS
        ),
        *(Number(f"{phase}_s", "s", Better.LOWER, phase in ("sample", "wall")) for phase in (*PHASES, "wall")),
        *(Number(f"peak_memory_mb_{place}", "MB", Better.LOWER) for place in ("host", "device")),
    )
}


@cache
def known_metrics() -> dict[str, Number]:
    """Returns the numbers of all metrics of this package by name."""
    return {number.name: number for kind in _metrics() for number in kind.numbers}


@cache
def numbers_of_runs() -> frozenset[str]:
    """Returns the names of numbers that are one for all clips of a run."""
    return frozenset(number.name for kind in _metrics() if issubclass(kind, OF_RUNS) for number in kind.numbers)


def declared(name: str) -> Number:
    """Returns a metric or cost. Nothing is declared of other names: older records', or the user's own."""
    return known_metrics().get(name) or COSTS.get(name) or Number(name, "", None)


def declared_cost(name: str) -> Number:
    """Returns a cost. One that only a record declares, such as the seconds of a phase of one's own, is better low."""
    return COSTS.get(name) or Number(name, "", Better.LOWER)


def _metrics() -> Iterator[type[Metric]]:
    for module in pkgutil.iter_modules(metrics.__path__, f"{metrics.__name__}."):
        for found in vars(import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, Metric) and "numbers" in vars(found):
                yield found
