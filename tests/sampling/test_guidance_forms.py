"""Forms of guidance besides incremental: formulas, neutral settings, memory, invalid settings."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_branches import sampled, sampler
from test_guidance import C_A, C_AE, T, U, X, conditions, constants, network
from torch import Tensor

from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.sampling.guidance import Guidance, Incremental, Reference
from float_research.sampling.guidance_apg import Apg
from float_research.sampling.guidance_autoguidance import Autoguidance
from float_research.sampling.guidance_history import History
from float_research.sampling.guidance_magnitude_aware import MagnitudeAware
from float_research.sampling.guidance_rectified_cfg_pp import RectifiedCfgPp
from float_research.sampling.guidance_tangential import Tangential
from float_research.sampling.schedule import Constant
from float_research.types import Conditions, VectorField

NEUTRAL: dict[str, Callable[..., Guidance]] = {
    "apg": lambda **scales: Apg(**scales, momentum=0.0, norm_threshold=0.0, parallel=1.0),
    "tangential": lambda **scales: Tangential(**scales, damping=0.0),
    "magnitude_aware": lambda **scales: MagnitudeAware(**scales, alpha=0.0),
    "history": lambda **scales: History(**scales, history=Constant(scale=0.0)),
    "reference": lambda **scales: Reference(**scales, reference=Constant(scale=1.0)),
    "autoguidance": lambda **scales: Autoguidance(
        **scales,
        weak=Constant(scale=1.0),
        skip_blocks=[0],
        attention_window=None,
        num_blocks=2,
        full_attention_window=2,
    ),
}
STRONG: dict[str, Callable[..., Guidance]] = {
    "apg": lambda **scales: Apg(**scales, momentum=-0.5, norm_threshold=0.1, parallel=0.0),
    "tangential": lambda **scales: Tangential(**scales, damping=1.0),
    "magnitude_aware": lambda **scales: MagnitudeAware(**scales, alpha=2.0),
    "rectified_cfg_pp": lambda **scales: RectifiedCfgPp(**scales, ahead=0.2),
}


def field(guidance: Guidance) -> Tensor:
    return guidance.guide(network, conditions())(T, X)


@pytest.mark.parametrize("scales", [(2, 1), (2, 3), (3, 0)])
@pytest.mark.parametrize("form", NEUTRAL)
def test_neutral_settings_equal_incremental_guidance(form: str, scales: tuple[float, float]) -> None:
    neutral = NEUTRAL[form](**constants(*scales)).guide(network, conditions())
    plain = Incremental(**constants(*scales)).guide(network, conditions())
    for t in (0.0, 0.4, 1.0):
        assert torch.equal(neutral(torch.tensor(t), X), plain(torch.tensor(t), X))


@pytest.mark.parametrize("form", STRONG)
def test_scale_one_gives_the_conditional_field_for_every_form(form: str) -> None:
    guidance = STRONG[form](**constants(1, 1))
    assert torch.equal(field(guidance), C_AE)
    assert guidance.num_branches(0.4) == 1
    assert not torch.allclose(field(STRONG[form](**constants(2, 1))), field(Incremental(**constants(2, 1))))


def apg(**changes: Any) -> Apg:
    return Apg(**constants(2, 1), **{"momentum": 0.0, "norm_threshold": 0.0, "parallel": 1.0} | changes)


def test_apg_damps_the_component_parallel_to_the_predicted_data() -> None:
    data, g = X + (1 - T) * C_AE, C_A - U
    parallel = (g * data).sum((1, 2), keepdim=True) / (data * data).sum((1, 2), keepdim=True) * data
    assert torch.allclose(field(apg(parallel=0.0)), C_AE + g - parallel, atol=1e-4)
    left = field(apg(parallel=0.0)) - C_AE
    assert torch.allclose((left * data).sum((1, 2)), torch.zeros(1), atol=1e-2)
    assert torch.allclose(field(apg(parallel=0.25)), C_AE + g - 0.75 * parallel, atol=1e-4)


def test_apg_clips_only_large_differences() -> None:
    size = (C_A - U).square().mean((1, 2)).sqrt()
    made = (field(apg(norm_threshold=float(size.mean()))) - C_AE).square().mean((1, 2)).sqrt()
    assert torch.allclose(made, size.clamp_max(size.mean()), rtol=1e-3)


def test_apg_has_memory_within_a_window_only() -> None:
    guidance = apg(momentum=-0.5)
    window = guidance.guide(network, conditions())
    gains = [((window(T, X) - C_AE) / (C_A - U)).mean().item() for _ in range(3)]
    assert gains == pytest.approx([1, 0.5, 0.75], rel=1e-3)
    assert torch.equal(field(guidance), field(apg())), "a new window has no memory"


def test_apg_converges_to_its_dense_limit() -> None:
    guidance = apg(momentum=-0.5, parallel=0.5)
    window = guidance.guide(network, conditions())
    for _ in range(40):
        last = window(T, X)
    settled = guidance.settled()
    assert torch.allclose(last, field(settled), atol=1e-4)
    assert settled.settled() == settled
    assert torch.equal(field(settled), field(settled))


def test_adaptive_solvers_integrate_the_dense_limit(model: FloatModel) -> None:
    """Dense Euler steps, which have memory, come close to it."""
    strong = ["guidance=apg", "guidance.audio.scale=4"]
    adaptive = sampler(*strong, "solver=dopri5")
    exact = sampled(adaptive, model, 10)[0]
    settled = dataclasses.replace(adaptive, guidance=adaptive.guidance.settled())
    assert torch.equal(exact, sampled(settled, model, 10)[0])
    dense, coarse = (sampled(sampler(*strong, nfe), model, 10)[0] for nfe in ("nfe=200", "nfe=3"))
    assert (dense - exact).norm() < 0.1 * (coarse - exact).norm()


def test_tangential_damping_projects_on_the_first_singular_vector() -> None:
    pairs = torch.stack([C_AE.flatten(1), U.flatten(1)], 1).double()
    s = torch.linalg.svd(pairs, full_matrices=False).Vh[:, :1]
    shared = ((pairs[:, 1:] * s).sum(2, keepdim=True) * s).view_as(U).float()
    for damping in (1.0, 0.3):
        made = field(Tangential(**constants(2, 1), damping=damping))
        assert torch.allclose(made, C_A + C_AE - U + damping * (U - shared), atol=1e-3)


def test_magnitude_aware_guidance_is_damped_per_clip() -> None:
    ratio = (C_AE - U).flatten(1).norm(dim=1) / U.flatten(1).norm(dim=1)
    assert ratio[0] != ratio[1]
    made = field(MagnitudeAware(**constants(2, 1), alpha=2.0))
    assert torch.allclose(made, C_AE + (-2 * ratio).exp()[:, None, None] * (C_A - U), atol=1e-4)


def test_rectified_guidance_evaluates_differences_ahead() -> None:
    def moving(c: Conditions) -> VectorField:
        return lambda t, x: (1 + t) * network(c)(t, x)

    def velocity(a: float, e: float, t: float, x: Tensor) -> Tensor:
        return Incremental(**constants(a, e)).guide(moving, conditions())(torch.tensor(t), x)

    for t, later in ((0.4, 0.6), (0.9, 1.0)):
        made = RectifiedCfgPp(**constants(2, 3), ahead=0.2).guide(moving, conditions())(torch.tensor(t), X)
        here = velocity(1, 1, t, X)
        ahead = X + (later - t) * here
        u, c_a, c_ae = (velocity(a, e, later, ahead) for a, e in ((0, 0), (1, 0), (1, 1)))
        assert torch.allclose(made, here + (c_a - u) + 2 * (c_ae - c_a), rtol=1e-4, atol=1e-2)
    assert torch.allclose(
        field(RectifiedCfgPp(**constants(2, 3), ahead=0.0)), field(Incremental(**constants(2, 3))), atol=1e-3
    )


@pytest.mark.parametrize(("a", "e", "branches"), [(2.0, 1.0, 4), (1.0, 1.0, 2), (2.0, 0.0, 4)])
def test_history_guidance_uses_the_difference_without_previous_frames(a: float, e: float, branches: int) -> None:
    known = conditions()
    motion, audio = torch.zeros_like(known.previous_motion), torch.zeros_like(known.previous_audio)
    forgetful = network(dataclasses.replace(known, previous_motion=motion, previous_audio=audio))(T, X)
    guidance = History(**constants(a, e), history=Constant(scale=0.5))
    plain = Incremental(**constants(a, e))
    assert torch.allclose(field(guidance), field(plain) + 0.5 * (C_AE - forgetful), atol=1e-4)
    assert guidance.num_branches(0.4) == branches


def test_reused_differences_need_no_branch() -> None:
    guidance = RectifiedCfgPp(**constants(2, 1), ahead=0.2)
    assert [guidance.declared_branches([0.1, 0.2, 0.3], k) for k in (1, 2, 3)] == [9, 7, 5]
    window = guidance.guide(network, conditions(), 2)
    correction = window(T, X) - C_AE
    later = torch.tensor(0.7)
    assert torch.allclose(window(later, X + 1), network(conditions())(later, X + 1) + correction, atol=1e-4)


@pytest.mark.parametrize(
    ("form", "changes", "said"),
    [
        ("apg", {"momentum": 1.0}, r"guidance\.momentum=1\.0 must be between -1 and 1"),
        ("apg", {"norm_threshold": -1.0}, r"guidance\.norm_threshold=-1\.0 must not be negative"),
        ("tangential", {"damping": 1.5}, r"guidance\.damping=1\.5 must be in \[0, 1\]"),
        ("rectified_cfg_pp", {"ahead": 2.0}, r"guidance\.ahead=2\.0 must be in \[0, 1\]"),
        ("magnitude_aware", {"alpha": -1.0}, r"guidance\.alpha=-1\.0 must not be negative"),
    ],
)
def test_invalid_settings_are_rejected(form: str, changes: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        dataclasses.replace(STRONG[form](**constants(2, 1)), **changes)  # type: ignore[type-var]
