import math

import pytest
import torch

from float_research.sampling import solver as solvers
from float_research.sampling.sampler import Meter
from float_research.sampling.solver import Adaptive, FixedStep, ImplicitAdams, Solver

FIXED = [solvers.Euler, solvers.Midpoint, solvers.Heun2, solvers.Heun3, solvers.Rk4, solvers.ExplicitAdams]
ADAPTIVE = [solvers.Dopri5, solvers.Dopri8, solvers.Bosh3, solvers.Fehlberg2, solvers.AdaptiveHeun]


def field(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """X' = x cos(3 t) + t-dependent drive; x(0) = 1 has the solution exp(sin(3 t) / 3) (1 + t²)."""
    growth = torch.exp(torch.sin(3 * t) / 3)
    return x * torch.cos(3 * t) + 2 * t * growth


EXACT = math.exp(math.sin(3) / 3) * 2


def solve(solver: Solver, num_steps: int) -> tuple[float, int]:
    meter = Meter()
    grid = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    end = solver.solve(meter.field(field), torch.ones(1, 2, 3, dtype=torch.float64), grid)
    return float((end - EXACT).abs().max()), meter.evaluations


@pytest.mark.parametrize("kind", FIXED[:-1], ids=lambda kind: kind.method)
def test_the_error_falls_with_the_declared_order(kind: type[FixedStep]) -> None:
    errors = [solve(kind(), n)[0] for n in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(kind.order, abs=0.2)


@pytest.mark.parametrize(
    "solver", [solvers.ExplicitAdams(), ImplicitAdams(atol=1e-13, rtol=1e-13)], ids=lambda solver: solver.method
)
def test_the_error_of_multistep_solvers_falls_at_least_with_the_declared_order(solver: Solver) -> None:
    """Their order grows with the steps behind them, so the slope wanders: it is taken over four doublings."""
    errors = [solve(solver, n)[0] for n in (16, 256)]
    assert solver.order - 0.2 < math.log2(errors[0] / errors[1]) / 4 < solver.order + 1.5


@pytest.mark.parametrize("kind", FIXED, ids=lambda kind: kind.method)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
def test_fixed_solvers_cost_what_they_declare(kind: type[FixedStep], num_steps: int) -> None:
    times: list[float] = []

    def recording(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        times.append(float(t))
        return field(t, x)

    grid = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 2
    kind().solve(recording, torch.ones(1, 1, 1, dtype=torch.float64), grid)
    assert times == pytest.approx(kind().evaluation_times(grid.tolist()))
    assert kind().evaluations(num_steps) == len(times)


@pytest.mark.parametrize("kind", ADAPTIVE, ids=lambda kind: kind.method)
def test_adaptive_solvers_reach_their_tolerance_in_whole_steps(kind: type[Adaptive]) -> None:
    loose, tight = kind(atol=1e-3, rtol=1e-3), kind(atol=1e-6, rtol=1e-6)
    (error_loose, cost_loose), (error_tight, cost_tight) = solve(loose, 1), solve(tight, 1)
    assert error_tight < 1e-4
    assert error_tight <= error_loose
    assert cost_tight >= cost_loose
    assert (cost_tight - 2) % kind.stages == 0
    assert tight.evaluations(5) is None
    assert solve(tight, 9) == (error_tight, cost_tight), "the inner grid points must not matter"
