"""Measured convergence orders of solvers: they only match the declared ones if the learned vector field is smooth."""

import math
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from float_research.evaluation.figure import Figure
from float_research.inference.api import Pipeline
from float_research.sampling.solver import Euler, Midpoint, Rk4
from float_research.types import Image, Waveform

REFERENCE = ("solver=dopri5", "solver.rtol=1e-9", "solver.atol=1e-9")
ORDERS = {
    "euler": (Euler.order, (64, 128, 256)),
    "midpoint": (Midpoint.order, (256, 512, 1024)),
    "rk4": (Rk4.full_order, (512, 1024, 2048)),
}
"""Declared order, and the evaluations at which it is measured: an order is a limit, which coarse steps do not show."""
FLOAT64 = "trainer.precision=64-true"
SHARE_OF_ORDER = 0.8


def solvers(
    load: Callable[[Sequence[str]], Pipeline], portrait: Image, waveform: Waveform, rate_hz: int
) -> Iterator[Figure]:
    """Yields relative errors of one clip's motion against a converged solution with the same noise, in 64 bits."""

    def motion(*overrides: str) -> Tensor:
        result = load([FLOAT64, *overrides])(portrait, waveform, rate_hz=rate_hz, id="clip")
        return result.motion.cpu().double()

    exact = motion(*REFERENCE)

    def error(*overrides: str) -> float:
        return float((motion(*overrides) - exact).norm() / exact.norm())

    yield Figure(name="error of the default solver, 10 points", value=error("nfe=10"), goal=("≤", 0.1))
    yield Figure(name="error of euler, 10 points", value=error("solver=euler", "nfe=10"))
    for solver, (order, counts) in ORDERS.items():
        errors = [error(f"solver={solver}", "budget=evaluations", f"nfe={count}") for count in counts]
        for count, value in zip(counts, errors, strict=True):
            yield Figure(name=f"error of {solver}, {count} evaluations", value=value)
        slope = math.log2(errors[-2] / errors[-1]) if errors[-1] else math.inf
        yield Figure(name=f"order of {solver}, measured", value=slope, goal=("≥", SHARE_OF_ORDER * order))
