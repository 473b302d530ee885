import itertools

import pytest
import torch

from float_research.errors import UserError
from float_research.sampling.noise import Correlated, Independent, Noise, Shared


def draw(noise: Noise, seed: int = 1, clip: str = "a", count: int = 3) -> torch.Tensor:
    return torch.stack(list(itertools.islice(noise(seed=seed, clip=clip, num_frames=50, latent_dim=64), count)))


def test_shared_equals_the_official_noise() -> None:
    expected = torch.randn(1, 50, 64, generator=torch.Generator().manual_seed(15))
    assert torch.equal(draw(Shared(), seed=15), expected.expand(3, -1, -1))


@pytest.mark.parametrize("noise", [Shared(), Independent(), Correlated(rho=0.5)])
def test_noise_depends_only_on_seed_and_clip(noise: Noise) -> None:
    assert torch.equal(draw(noise), draw(noise))
    assert not torch.equal(draw(noise), draw(noise, seed=2))
    torch.manual_seed(99)
    assert torch.equal(draw(noise), draw(noise)), "the global generator must not matter"


def test_independent_noise_differs_between_clips_and_windows() -> None:
    a, b = draw(Independent()), draw(Independent(), clip="b")
    flat = torch.cat([a, b]).flatten(1)
    correlations = torch.corrcoef(flat) - torch.eye(6)
    assert correlations.abs().max() < 0.1


@pytest.mark.parametrize("rho", [-0.5, 0.3, 0.9])
def test_correlated_noise_has_unit_variance_and_correlation_rho(rho: float) -> None:
    x = draw(Correlated(rho=rho), count=40).flatten(1)
    assert x.var().item() == pytest.approx(1, abs=0.05)
    products = (x[1:] * x[:-1]).mean().item()
    assert products == pytest.approx(rho, abs=0.05)


def test_extreme_correlations() -> None:
    assert torch.equal(draw(Correlated(rho=0.0)), draw(Independent()))
    constant = draw(Correlated(rho=1.0))
    assert torch.equal(constant[0], constant[2])
    with pytest.raises(UserError, match="rho"):
        Correlated(rho=1.1)
