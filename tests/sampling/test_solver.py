"""Every solver of conf/: declared order, evaluations and evaluation times are compared with measured ones."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.errors import HydraException
from hydra.utils import instantiate

from float_research import compose, suggestions
from float_research.sampling import solver as solvers
from float_research.sampling.multistep import Ab2, Abm2, weights
from float_research.sampling.sampler import Meter
from float_research.sampling.solver import Adaptive, Controlled, ImplicitAdams, ReachingEnd, Solver

CONF = Path(compose.config_folder())
TOLERANCES = {"atol": 1e-6, "rtol": 1e-6}
GRIDS = {
    "even": lambda u: u,
    "finer near noise": lambda u: u**1.5,
    "finer near both ends": lambda u: u / 2 + (1 - torch.cos(math.pi * u)) / 4,
}
OWN_SLOPE = {"explicit_adams"}
"""Their order grows with the number of previous steps, so the slope fluctuates."""


def found() -> list[Any]:
    """Builds every solver of conf/, those with `skip_end` in both forms."""
    made = []
    for path in sorted(set((CONF / "solver").glob("*.yaml")) - {CONF / "solver" / "fitted.yaml"}):  # see test_fitted
        settings = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "defaults"}
        tolerances = TOLERANCES if "defaults" in yaml.safe_load(path.read_text()) else {}
        solver = instantiate({**settings, **tolerances})
        made.append(pytest.param(solver, id=path.stem))
        if isinstance(solver, ReachingEnd):
            made.append(pytest.param(type(solver)(skip_end=True), id=f"{path.stem}, end skipped"))
    return made


ALL = found()
STEPPING = [param for param in ALL if not isinstance(param.values[0], Controlled)]
ADAPTIVE = [solvers.Dopri5, solvers.Dopri8, solvers.Bosh3, solvers.Fehlberg2, solvers.AdaptiveHeun]


def field(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """X' = x cos(3 t) + t-dependent drive; x(0) = 1 has the solution exp(sin(3 t) / 3) (1 + t²)."""
    growth = torch.exp(torch.sin(3 * t) / 3)
    return x * torch.cos(3 * t) + 2 * t * growth


EXACT = math.exp(math.sin(3) / 3) * 2


def solve(solver: Solver, num_steps: int, place: Any = GRIDS["even"]) -> tuple[float, int]:
    meter = Meter()
    grid = place(torch.linspace(0, 1, num_steps + 1, dtype=torch.float64))
    grid[-1] = 1
    end = solver.solve(meter.field(field), torch.ones(1, 2, 3, dtype=torch.float64), grid)
    return float((end - EXACT).abs().max()), meter.evaluations


@pytest.mark.parametrize("place", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("solver", [param for param in STEPPING if param.id not in OWN_SLOPE])
def test_the_error_falls_with_the_declared_order(solver: Solver, place: Any) -> None:
    finest = 64 if solver.order > 3 else 1024
    errors = [solve(solver, n, place)[0] for n in (finest // 2, finest)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.2)


@pytest.mark.parametrize("solver", [solvers.ExplicitAdams(), ImplicitAdams(atol=1e-13, rtol=1e-13)])
def test_the_error_of_adams_solvers_falls_at_least_with_the_declared_order(solver: Solver) -> None:
    """Their order grows with the number of previous steps, so the slope is measured over four doublings."""
    errors = [solve(solver, n)[0] for n in (16, 256)]
    assert solver.order - 0.2 < math.log2(errors[0] / errors[1]) / 4 < solver.order + 1.5


@pytest.mark.parametrize("solver", STEPPING)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
def test_measured_cost_equals_declared_cost(solver: Solver, num_steps: int) -> None:
    times: list[float] = []

    def recording(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        times.append(float(t))
        return field(t, x)

    grid = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 2
    states = solver.trajectory(recording, torch.ones(2, 1, 1, dtype=torch.float64), grid)
    assert times == pytest.approx(solver.evaluation_times(grid.tolist()))
    assert solver.evaluations(num_steps) == len(times)
    assert states.shape == (num_steps + 1, 2, 1, 1)
    end = solver.solve(field, torch.ones(2, 1, 1, dtype=torch.float64), grid)
    torch.testing.assert_close(end, states[-1], rtol=0, atol=0)


def test_all_declare_an_order() -> None:
    assert {param.id: param.values[0].order for param in ALL} == {
        "ab2": 2,
        "ab3": 3,
        "abm2": 3,
        "adaptive_heun": 2,
        "bosh3": 3,
        "dopri5": 5,
        "dopri8": 8,
        "dpm_2m": 2,
        "euler": 1,
        "explicit_adams": 4,
        "fehlberg2": 2,
        "heun2": 2,
        "heun2, end skipped": 2,
        "heun3": 3,
        "implicit_adams": 4,
        "midpoint": 2,
        "rk4": 4,
        "rk4, end skipped": 2,
    }
    assert [param.values[0].name for param in ALL if "skipped" not in param.id] == [
        param.id for param in ALL if "skipped" not in param.id
    ]


@pytest.mark.parametrize("solver", [param for param in STEPPING if "skipped" in param.id or "ab" in param.id])
def test_these_never_evaluate_at_the_end(solver: Solver) -> None:
    assert max(solver.evaluation_times([0.0, 0.5, 1.0]) or []) < 1


def test_weights_match_the_textbook() -> None:
    assert weights([0.0, 1.0], 1.0, 2.0) == pytest.approx([-1 / 2, 3 / 2])
    assert weights([0.0, 1.0, 2.0], 2.0, 3.0) == pytest.approx([5 / 12, -16 / 12, 23 / 12])
    assert weights([0.0, 1.0, 2.0], 1.0, 2.0) == pytest.approx([-1 / 12, 8 / 12, 5 / 12])
    before, step = 0.3, 0.2
    ratio = step / before
    assert weights([0.0, before], before, before + step) == pytest.approx([-step * ratio / 2, step * (1 + ratio / 2)])


def test_one_or_two_steps_reduce_to_simpler_methods() -> None:
    x, grid = torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    for solver in (Ab2(), Abm2()):
        torch.testing.assert_close(solver.solve(field, x, grid[:2]), x + 0.4 * field(grid[0], x))
    corrected = x + 0.2 * (field(grid[0], x) + field(grid[1], x + 0.4 * field(grid[0], x)))
    torch.testing.assert_close(Abm2().trajectory(field, x, grid)[1], corrected)


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


def test_skip_end_exists_only_where_it_applies() -> None:
    error = HydraException("Could not override 'solver.skip_end'.")
    said = suggestions.unknown_setting(error, ["solver=dopri5", "solver.skip_end=true"])
    assert said == "solver=dopri5 has no setting solver.skip_end; choose solver=heun2 or solver=rk4"
