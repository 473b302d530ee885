import math
from typing import Any

import pytest
import torch

from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.sampling import solver, stitch
from float_research.sampling.averaged import Averaged
from float_research.sampling.sampling_noise import ODE, Sde
from float_research.sampling.schedule import Constant, Linear
from tests.sampling.test_sampler import TOLERANCES, clip, sample, sampler

NOISY = Sde(g=Constant(scale=0.7))


def draw(step: int) -> torch.Tensor:
    return torch.randn(1, 1000, 100, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def test_every_step_follows_its_formula() -> None:
    def field(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x) + t

    grid, x = torch.tensor([0, 0.2, 0.5, 1], dtype=torch.float64), draw(99)
    schedule = Linear(start=1.0, scale=0.0)
    solved = Sde(g=schedule).solve(solver.Euler(), field, x, grid, draw)
    for step, (t, h, g) in enumerate([(0.0, 0.2, 1.0), (0.2, 0.3, 0.8), (0.5, 0.5, 0.0)]):
        v = field(torch.tensor(t), x)
        x = x + h * (v + g**2 / 2 * (t * v - x) / (1 - t)) + g * math.sqrt(h) * draw(step)
    assert torch.allclose(solved, x)


@pytest.mark.parametrize("g", [0.0, 1.0])
def test_the_marginal_equals_that_of_the_ode(g: float) -> None:
    """Normal data with mean 2 and standard deviation 0.5, for which the field is known."""
    mean, deviation = 2.0, 0.5

    def field(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        variance = (t * deviation) ** 2 + (1 - t) ** 2
        return mean + (t * deviation**2 - (1 - t)) / variance * (x - t * mean)

    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    x = Sde(g=Constant(scale=g)).solve(solver.Euler(), field, draw(999), grid, draw)
    assert x.mean().item() == pytest.approx(mean, abs=0.01)
    assert x.std().item() == pytest.approx(deviation, abs=0.015)


def test_without_noise_every_solver_solves_the_ode_and_draws_nothing() -> None:
    def never(step: int) -> torch.Tensor:
        raise AssertionError

    grid, x = torch.linspace(0, 1, 5, dtype=torch.float64), draw(1)
    for kind in (solver.Euler(), solver.Rk4(skip_end=False), solver.Dopri5(**TOLERANCES)):
        ODE.check(kind, grid.tolist())
        plain = kind.solve(lambda t, y: -y * t, x, grid)
        assert torch.equal(ODE.solve(kind, lambda t, y: -y * t, x, grid, never), plain)


@pytest.mark.parametrize("joined", [stitch.Autoregressive(), Averaged(overlap_frames=3)])
def test_noise_depends_on_the_clip_and_costs_as_declared(model: FloatModel, joined: stitch.Stitch) -> None:
    s = sampler(sampling_noise=NOISY, stitch=joined)
    clips = [clip(model, 25, "a"), clip(model, 8, "b"), clip(model, 25, "c")]
    together = sample(s, model, clips)
    for single, (motion, cost) in zip(clips, together, strict=True):
        ((alone, _),) = sample(s, model, [single])
        assert torch.allclose(motion, alone, atol=1e-5)
        assert cost == s.declared_cost(len(motion)) == sampler(stitch=joined).declared_cost(len(motion))
    ((plain, _),) = sample(sampler(stitch=joined), model, clips[:1])
    ((other, _),) = sample(sampler(sampling_noise=NOISY, stitch=joined, seed=4), model, clips[:1])
    assert not torch.allclose(together[0][0], plain)
    assert not torch.allclose(together[0][0], other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling_noise": Sde(g=Constant(scale=-0.1))}, "g is -0.1 at flow time 0"),
        ({"sampling_noise": Sde(g=Linear(start=1.0, scale=-1.0))}, "g is -0.33"),
        ({"sampling_noise": NOISY, "solver": solver.Midpoint()}, "midpoint does not; use solver=euler"),
        ({"sampling_noise": NOISY, "solver": solver.Dopri5(**TOLERANCES)}, "dopri5 does not"),
    ],
)
def test_invalid_sampling_noise_is_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sampler(**changes)
