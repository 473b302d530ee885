"""Branches are computed as declared, for every guidance, with and without reuse of differences."""

import dataclasses

import pytest
import torch
from test_guidance import T, X, conditions, constants, network

from float_research import compose
from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.sampling.branches import AUDIO, EVERYTHING, REFERENCE, Reuse
from float_research.sampling.guidance import Incremental
from float_research.sampling.sampler import Meter, Sampler
from float_research.types import ClipConditions, Conditions, Cost, Network, VectorField

GUIDANCES = sorted(path.stem for path in (compose.config_folder() / "guidance").glob("*.yaml"))
SCALES = {REFERENCE: -1.0, AUDIO: 1.0, EVERYTHING: 1.0}


def sampler(*overrides: str) -> Sampler:
    small = ["model=tiny", "checkpoint=random", "chunking.window_s=0.4", "chunking.previous_frames=4", "output_dir=out"]
    return compose.build_sampler(compose.compose_config([*small, *overrides]))


@torch.inference_mode()
def sampled(s: Sampler, model: FloatModel, frames: int = 15) -> tuple[torch.Tensor, Cost]:
    g = torch.Generator().manual_seed(frames)
    clip = ClipConditions(
        id="one",
        audio=torch.randn(frames, model.audio_encoder.feature_dim, generator=g),
        reference=torch.randn(model.motion_autoencoder.latent_dim, generator=g),
        emotion=torch.softmax(torch.randn(frames, 7, generator=g), -1),
    )
    windows = list(s(model.vector_field, [clip]))
    return torch.cat([window.motion for window in windows]), sum((window.cost for window in windows), Cost())


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
@pytest.mark.parametrize("reuse", [1, 2, 3])
@pytest.mark.parametrize("guidance", GUIDANCES)
def test_every_guidance_computes_the_branches_it_declares(
    model: FloatModel, guidance: str, reuse: int, solver: str
) -> None:
    s = sampler(f"guidance={guidance}", f"guidance_reuse={reuse}", f"solver={solver}", "nfe=6")
    motion, cost = sampled(s, model)
    assert motion.isfinite().all()
    assert cost == s.declared_cost(15)


@pytest.mark.parametrize("guidance", sorted(set(GUIDANCES) - {"none"}))
def test_every_guidance_saves_branches_with_reuse(guidance: str) -> None:
    plain, kept = (sampler(f"guidance={guidance}", f"guidance_reuse={k}").declared_cost(15) for k in (1, 2))
    assert plain is not None
    assert kept is not None
    assert kept.evaluations == plain.evaluations
    assert kept.branches < plain.branches


def test_reuse_for_two_evaluations_saves_eight_of_the_official_27_branches() -> None:
    branches = [sampler(f"guidance_reuse={k}").declared_cost(10) for k in (1, 2, 9)]
    assert branches == [Cost(9, 27), Cost(9, 19), Cost(9, 11)]


def test_the_base_is_recomputed_and_differences_are_reused() -> None:
    """The field changes with t in all branches and in their differences."""

    def moving(c: Conditions) -> VectorField:
        return lambda t, x: (1 + t) * network(c)(t, x) + t * x

    guidance = Incremental(**constants(2, 1))
    field, later = guidance.guide(moving, conditions(), 3), T + 0.1
    assert torch.equal(field(T, X), guidance.guide(moving, conditions())(T, X))
    everything = Incremental(**constants(1, 1)).guide(moving, conditions())
    difference = guidance.guide(moving, conditions())(T, X) - everything(T, X)
    for shift in (0.1, 0.2):
        assert torch.allclose(field(T + shift, X), everything(T + shift, X) + difference, atol=1e-4)
    assert torch.equal(field(later, X), guidance.guide(moving, conditions())(later, X)), "a fresh difference"


def test_reuse_of_one_is_no_reuse(model: FloatModel) -> None:
    """Compares with a guidance that is reset at each evaluation, so that nothing is reused."""

    class Forgetful(Incremental):
        def guide(self, network: Network, conditions: Conditions, reuse: int = 1) -> VectorField:
            def field(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
                return Incremental.guide(self, network, conditions)(t, x)

            return field

    s = sampler()
    forgetful = Forgetful(audio=s.guidance.audio, emotion=s.guidance.emotion)  # type: ignore[attr-defined]
    plain = dataclasses.replace(s, guidance=forgetful)
    assert torch.equal(sampled(s, model)[0], sampled(plain, model)[0])
    assert not torch.equal(sampled(sampler("guidance_reuse=2"), model)[0], sampled(plain, model)[0])


def test_branches_without_stored_differences_are_computed() -> None:
    choose = Reuse(3)
    assert choose(SCALES) == tuple(SCALES)
    assert choose({AUDIO: 2.0, EVERYTHING: 1.0}) == (AUDIO,), "the largest weight"
    assert choose({EVERYTHING: 1.0}) == (EVERYTHING,), "a single branch is always computed"
    assert choose(SCALES) == (EVERYTHING,), "among equal weights, the branch with the most conditions"
    assert choose(SCALES) == tuple(SCALES)
    choose = Reuse(3)
    choose({AUDIO: 2.0, EVERYTHING: 1.0})
    assert choose(SCALES) == tuple(SCALES), "one of them has no stored difference"


@pytest.mark.parametrize("solver", ["dopri5", "implicit_adams"])
def test_error_controlled_solvers_reject_reuse(solver: str) -> None:
    with pytest.raises(UserError, match="guidance_reuse=2 needs a solver with fixed steps"):
        sampler(f"solver={solver}", "guidance_reuse=2")
    assert sampler(f"solver={solver}").declared_cost(10) is None


def test_reuse_of_zero_is_rejected() -> None:
    with pytest.raises(UserError, match="guidance_reuse=0 must be at least 1"):
        sampler("guidance_reuse=0")


def test_differences_are_stored_per_clip_of_a_batch() -> None:
    meter = Meter()
    field = Incremental(**constants(2, 1)).guide(meter.network(network), conditions(), 2)
    for _ in range(4):
        field(T, X)
    assert meter.branches == (3 + 1 + 3 + 1) * len(X)
