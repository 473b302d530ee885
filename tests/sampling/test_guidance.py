import pytest
import torch

from float_research.errors import UserError
from float_research.sampling.branches import AUDIO, EVERYTHING, REFERENCE
from float_research.sampling.guidance import Incremental, NoGuidance, Reference, ZeroStar
from float_research.sampling.sampler import Meter
from float_research.sampling.schedule import Constant, Cosine, Interval, Linear
from float_research.types import Conditions, VectorField

B, L, P, D, A, E = 2, 4, 3, 5, 6, 7
T = torch.tensor(0.4)


def conditions() -> Conditions:
    g = torch.Generator().manual_seed(0)
    return Conditions(
        audio=torch.randn(B, L, A, generator=g),
        reference=torch.randn(B, D, generator=g),
        emotion=torch.rand(B, P + L, E, generator=g),
        previous_motion=torch.randn(B, P, D, generator=g),
        previous_audio=torch.randn(B, P, A, generator=g),
    )


def network(c: Conditions) -> VectorField:
    return lambda t, x: velocity(x, c)


def velocity(x: torch.Tensor, c: Conditions) -> torch.Tensor:
    """Returns a field that depends on each condition in a different way."""
    own = torch.sin(x) + c.previous_motion.mean((1, 2), keepdim=True) + c.previous_audio.mean((1, 2), keepdim=True)
    audio = c.audio.square().mean(2, keepdim=True)
    return own * (1 + audio) + 2 * c.reference[:, None].square() + 3 * c.emotion.sum((1, 2))[:, None, None] * x


X = torch.randn(B, L, D, generator=torch.Generator().manual_seed(1))


def branch(*, audio: bool, emotion: bool, reference: bool = True) -> torch.Tensor:
    c = conditions()
    kept = Conditions(
        audio=c.audio * audio,
        reference=c.reference * reference,
        emotion=c.emotion * emotion,
        previous_motion=c.previous_motion,
        previous_audio=c.previous_audio,
    )
    return velocity(X, kept)


def constants(a: float, e: float) -> dict[str, Constant]:
    return {"audio": Constant(scale=a), "emotion": Constant(scale=e)}


U, C_A, C_AE = branch(audio=False, emotion=False), branch(audio=True, emotion=False), branch(audio=True, emotion=True)


@pytest.mark.parametrize(
    ("a", "e", "branches"), [(2.0, 1.0, 3), (2.0, 3.5, 3), (2.0, 2.0, 2), (1.0, 3.0, 2), (1.0, 1.0, 1), (0.0, 0.0, 1)]
)
def test_incremental_follows_its_formula_and_computes_only_needed_branches(a: float, e: float, branches: int) -> None:
    meter = Meter()
    guidance = Incremental(**constants(a, e))
    guided = guidance.guide(meter.network(network), conditions())(T, X)
    assert torch.allclose(guided, U + a * (C_A - U) + e * (C_AE - C_A), atol=1e-5)
    assert meter.branches == branches * B == guidance.num_branches(0.4) * B


def test_dropping_audio_and_emotion_keeps_previous_frames() -> None:
    seen: list[Conditions] = []

    def spying(c: Conditions) -> VectorField:
        seen.append(c)
        return lambda t, x: x

    Incremental(**constants(2, 1)).guide(spying, conditions())(T, X)
    (batch,) = seen
    assert batch.audio[:B].abs().sum() == 0
    assert batch.emotion[: 2 * B].abs().sum() == 0
    assert torch.equal(batch.previous_audio, torch.cat([conditions().previous_audio] * 3))
    assert torch.equal(batch.reference, torch.cat([conditions().reference] * 3))


@pytest.mark.parametrize("r", [1.0, 2.5])
def test_reference_follows_its_formula(r: float) -> None:
    a, e = 2.0, 3.0
    v0 = branch(audio=False, emotion=False, reference=False)
    guidance = Reference(**constants(a, e), reference=Constant(scale=r))
    guided = guidance.guide(network, conditions())(T, X)
    assert torch.allclose(guided, v0 + r * (U - v0) + a * (C_A - U) + e * (C_AE - C_A), atol=1e-5)
    assert guidance.num_branches(0.4) == (3 if r == 1 else 4)


def test_scale_one_gives_the_conditional_field_for_every_guidance() -> None:
    one = constants(1, 1)
    for guidance in (
        NoGuidance(),
        Incremental(**one),
        Reference(**one, reference=Constant(scale=1)),
        ZeroStar(**one, zero_until=0.0),
    ):
        assert torch.equal(guidance.guide(network, conditions())(T, X), C_AE)
        assert guidance.num_branches(0.4) == 1


def test_zero_star_scales_the_unconditional_field_by_the_projection() -> None:
    s = (C_AE * U).sum((1, 2), keepdim=True) / (U * U).sum((1, 2), keepdim=True)
    guided = ZeroStar(**constants(2, 2), zero_until=0.0).guide(network, conditions())(T, X)
    assert torch.allclose(guided, (1 - 2) * s * U + 2 * C_AE, atol=1e-4)
    assert ZeroStar(**constants(2, 0), zero_until=0.0).weights(0.4).keys() == {REFERENCE, AUDIO, EVERYTHING}


def test_zero_init_computes_nothing_before_zero_until() -> None:
    meter = Meter()
    field = ZeroStar(**constants(2, 1), zero_until=0.1).guide(meter.network(network), conditions())
    assert field(torch.tensor(0.05), X).abs().sum() == 0
    assert meter.branches == 0
    assert field(torch.tensor(0.1), X).abs().sum() > 0


def test_an_interval_saves_branches_outside() -> None:
    guidance = Incremental(audio=Interval(scale=2, t_lo=0.2, t_hi=0.6), emotion=Constant(scale=1))
    assert [guidance.num_branches(t) for t in (0.0, 0.2, 0.6, 0.7)] == [1, 3, 3, 1]
    with pytest.raises(UserError, match="t_lo"):
        Interval(scale=2, t_lo=0.7, t_hi=0.6)


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_schedules_run_from_start_to_scale(kind: type[Linear | Cosine]) -> None:
    schedule = kind(start=1.0, scale=3.0)
    assert [schedule(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1, 2, 3])
    assert Constant(scale=2.0)(0.3) == 2.0


def test_conditions_are_bound_once_per_set_of_branches() -> None:
    seen: list[Conditions] = []

    def spying(c: Conditions) -> VectorField:
        seen.append(c)
        return network(c)

    scale = Interval(scale=2, t_lo=0.0, t_hi=0.5)
    field = Incremental(audio=scale, emotion=Constant(scale=1)).guide(spying, conditions())
    for t in (0.1, 0.3, 0.7, 0.9, 0.2):
        field(torch.tensor(t), X)
    assert [len(c.audio) for c in seen] == [3 * B, B]
