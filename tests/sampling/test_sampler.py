import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.sampling import budget, noise, solver, stitch, time_grid
from float_research.sampling.averaged import Averaged
from float_research.sampling.chunking import Chunking
from float_research.sampling.guidance import Incremental, NoGuidance
from float_research.sampling.multistep import Ab3
from float_research.sampling.sampler import Sampler
from float_research.sampling.sampling_noise import ODE
from float_research.sampling.schedule import Constant
from float_research.types import ClipConditions, Conditions, Cost, VectorField

WINDOW, PREVIOUS = 10, 4
JOINED = [stitch.Autoregressive(), stitch.Crossfade(overlap_frames=3), Averaged(overlap_frames=3)]
TOLERANCES = {"atol": 1e-4, "rtol": 1e-4}


def sampler(**changes: Any) -> Sampler:
    parts: dict[str, Any] = {
        "solver": solver.Euler(),
        "nfe": 4,
        "budget": budget.GridPoints(),
        "time_grid": time_grid.Uniform(),
        "guidance": Incremental(audio=Constant(scale=2), emotion=Constant(scale=1)),
        "noise": noise.Independent(),
        "chunking": Chunking(window_s=WINDOW / 25, previous_frames=PREVIOUS, attention_window=2, fps=25),
        "stitch": stitch.Autoregressive(),
        "seed": 3,
        "guidance_reuse": 1,
        "temperature": 1.0,
        "sampling_noise": ODE,
    }
    return Sampler(**{**parts, **changes})


def clip(model: FloatModel, num_frames: int, id: str = "one") -> ClipConditions:
    g = torch.Generator().manual_seed(num_frames)
    width = model.motion_autoencoder.latent_dim
    return ClipConditions(
        id=id,
        audio=torch.randn(num_frames, model.audio_encoder.feature_dim, generator=g),
        reference=torch.randn(width, generator=g),
        emotion=torch.softmax(torch.randn(num_frames, 7, generator=g), -1),
    )


@torch.inference_mode()
def sample(s: Sampler, model: FloatModel, clips: list[ClipConditions]) -> list[tuple[torch.Tensor, Cost]]:
    motion: list[list[torch.Tensor]] = [[] for _ in clips]
    cost = [Cost()] * len(clips)
    for window in s(model.vector_field, clips):
        assert window.start == sum(map(len, motion[window.index]))
        motion[window.index].append(window.motion)
        cost[window.index] += window.cost
    return [(torch.cat(m), c) for m, c in zip(motion, cost, strict=True)]


@pytest.mark.parametrize("num_frames", [1, 9, 10, 11, 20, 37])
@pytest.mark.parametrize("joined", JOINED)
@pytest.mark.parametrize(
    "kind", [solver.Euler(), solver.Rk4(skip_end=False), solver.ExplicitAdams()], ids=["euler", "rk4", "explicit_adams"]
)
def test_every_frame_is_sampled_at_the_declared_cost(
    model: FloatModel, num_frames: int, joined: stitch.Stitch, kind: solver.Solver
) -> None:
    s = sampler(stitch=joined, solver=kind)
    ((motion, cost),) = sample(s, model, [clip(model, num_frames)])
    assert len(motion) == num_frames
    assert motion.isfinite().all()
    assert cost == s.declared_cost(num_frames)


def test_one_window_equals_a_single_solve(model: FloatModel) -> None:
    """A clip of one window is one solve of the network with zero history."""
    s, conditions = sampler(), clip(model, WINDOW)
    ((motion, _),) = sample(s, model, [conditions])
    x = next(s.noise(seed=3, clip="one", num_frames=WINDOW, latent_dim=model.motion_autoencoder.latent_dim))[None]
    window = Conditions(
        audio=conditions.audio[None],
        reference=conditions.reference[None],
        emotion=torch.cat([conditions.emotion[:1].expand(PREVIOUS, -1), conditions.emotion])[None],
        previous_motion=torch.zeros(1, PREVIOUS, x.shape[-1]),
        previous_audio=torch.zeros(1, PREVIOUS, conditions.audio.shape[1]),
    )
    with torch.inference_mode():
        for t0, t1 in zip([0.0, 1 / 3, 2 / 3], [1 / 3, 2 / 3, 1.0], strict=True):
            x = x + (t1 - t0) * s.guidance.guide(model.vector_field, window)(torch.tensor(t0), x)
    assert torch.allclose(motion, x[0], atol=1e-5)


def test_later_windows_see_the_previous_frames_and_audio(model: FloatModel) -> None:
    seen = []

    def spying(c: Conditions) -> VectorField:
        seen.append(c)
        return model.vector_field(c)

    conditions, s = clip(model, 25), sampler(nfe=2)
    with torch.inference_mode():
        motion = torch.cat([window.motion for window in s(spying, [conditions])])
    first, second, third = seen
    assert first.previous_motion.abs().sum() == first.previous_audio.abs().sum() == 0
    assert torch.equal(second.previous_motion[0], motion[WINDOW - PREVIOUS : WINDOW])
    assert torch.equal(second.previous_audio[0], conditions.audio[WINDOW - PREVIOUS : WINDOW])
    assert torch.equal(third.audio[-1, :5], conditions.audio[20:])
    assert torch.equal(third.audio[-1, 5:], conditions.audio[-1:].expand(5, -1)), "the last position fills the window"


def test_crossfade_without_overlap_equals_autoregressive(model: FloatModel) -> None:
    plain, faded = (
        sample(sampler(stitch=joined), model, [clip(model, 33)])[0][0]
        for joined in (stitch.Autoregressive(), stitch.Crossfade(overlap_frames=0))
    )
    assert torch.equal(plain, faded)


@pytest.mark.parametrize("overlap", [1, 3, 5])
@pytest.mark.parametrize("kind", [stitch.Crossfade, Averaged])
def test_an_overlap_spreads_a_jump_over_its_frames(kind: type[stitch.Crossfade | Averaged], overlap: int) -> None:
    """Two windows differ by the distance of their starts; each frame step is that divided by overlap + 1."""

    class Zero:
        def __call__(self, *, seed: int, clip: str, num_frames: int, latent_dim: int) -> Iterator[torch.Tensor]:
            while True:
                yield torch.zeros(num_frames, latent_dim)

    def starts(c: Conditions) -> VectorField:
        return lambda t, x: c.audio[:, :1, :1].expand_as(x)

    clip = ClipConditions(
        id="one",
        audio=torch.arange(WINDOW * 2 - overlap)[:, None].float(),
        reference=torch.zeros(2),
        emotion=torch.zeros(WINDOW * 2 - overlap, 7),
    )
    s = sampler(stitch=kind(overlap_frames=overlap), noise=Zero(), guidance=NoGuidance())
    motion = torch.cat([window.motion for window in s(starts, [clip])])
    hop = WINDOW - overlap
    assert torch.allclose(motion[:hop], torch.zeros(1))
    assert torch.allclose(motion[WINDOW:], torch.tensor(float(hop)))
    assert torch.allclose(motion[hop - 1 : WINDOW + 1].diff(dim=0), torch.tensor(hop / (overlap + 1)))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_temperature_scales_the_initial_noise(temperature: float) -> None:
    """With a zero field, the motion is the scaled initial noise."""

    def still(c: Conditions) -> VectorField:
        return lambda t, x: x * 0

    given = ClipConditions(
        id="one", audio=torch.zeros(WINDOW, 3), reference=torch.zeros(2), emotion=torch.zeros(WINDOW, 7)
    )
    s = sampler(temperature=temperature)
    (window,) = s(still, [given])
    noise = next(s.noise(seed=3, clip="one", num_frames=WINDOW, latent_dim=2))
    assert torch.equal(window.motion, temperature * noise)


@pytest.mark.parametrize("joined", [stitch.Autoregressive(), Averaged(overlap_frames=3)])
@pytest.mark.parametrize("kind", [solver.Midpoint(), solver.Dopri5(**TOLERANCES), solver.ImplicitAdams(**TOLERANCES)])
def test_a_clip_does_not_depend_on_its_batch(model: FloatModel, kind: solver.Solver, joined: stitch.Stitch) -> None:
    s = sampler(solver=kind, stitch=joined)
    clips = [clip(model, 25, "a"), clip(model, 8, "b"), clip(model, 31, "c"), clip(model, 24, "d")]
    together = sample(s, model, clips)
    for single, (motion, cost) in zip(clips, together, strict=True):
        ((alone, cost_alone),) = sample(s, model, [single])
        assert torch.allclose(motion, alone, atol=1e-5)
        assert cost == cost_alone


@pytest.mark.parametrize("kind", [solver.Euler(), solver.Dopri5(**TOLERANCES)])
def test_stored_motion_holds_no_intermediate_states(model: FloatModel, kind: solver.Solver) -> None:
    with torch.inference_mode():
        motion = next(sampler(solver=kind)(model.vector_field, [clip(model, 20)])).motion
    assert motion.untyped_storage().nbytes() == motion.nbytes


def test_any_previous_frames_and_window_work(model: FloatModel) -> None:
    for window_s, previous in ((0.2, 0), (0.2, 5), (2.0, 3)):
        chunking = Chunking(window_s=window_s, previous_frames=previous, attention_window=2, fps=25)
        assert len(sample(sampler(chunking=chunking), model, [clip(model, 17)])[0][0]) == 17


def test_time_grids_run_from_0_to_1() -> None:
    shifted = time_grid.Shifted(shift=3.0)(5, torch.float64)
    assert shifted.tolist() == pytest.approx([0, 0.5, 0.75, 0.9, 1])
    assert time_grid.Power(exponent=2.0)(3, torch.float64).tolist() == [0, 0.25, 1]
    assert time_grid.Cosine()(3, torch.float32).tolist() == pytest.approx([0, 0.5, 1])
    assert time_grid.Explicit(points=[0, 0.2, 1])(3, torch.float64).tolist() == [0, 0.2, 1]
    assert torch.equal(time_grid.Uniform()(10, torch.float32), torch.linspace(0, 1, 10))
    for points in ([0, 1, 0.5], [0.1, 0.5, 1], [0, 0.5, 0.9], [0, 0, 1]):
        with pytest.raises(UserError, match="increase strictly"):
            time_grid.Explicit(points=points)(3, torch.float32)
    with pytest.raises(UserError, match="4 points"):
        sampler(time_grid=time_grid.Explicit(points=[0, 0.2, 0.3, 1]), nfe=3)


@pytest.mark.parametrize(
    ("kind", "nfe", "points", "evaluations"),
    [
        (solver.Euler(), 8, 9, 8),
        (solver.Midpoint(), 8, 5, 8),
        (solver.Heun3(), 8, 3, 6),
        (solver.Rk4(skip_end=False), 8, 3, 8),
        (solver.ExplicitAdams(), 10, 5, 10),
    ],
)
def test_a_budget_of_evaluations_is_never_exceeded(
    kind: solver.Solver, nfe: int, points: int, evaluations: int
) -> None:
    s = sampler(solver=kind, budget=budget.Evaluations(), nfe=nfe)
    cost = s.declared_cost(1)
    assert s.grid_points == points
    assert cost is not None
    assert cost.evaluations == evaluations


def test_grid_points_match_the_official_nfe() -> None:
    costs = {
        kind.name: sampler(solver=kind, nfe=10).declared_cost(1)
        for kind in (solver.Euler(), solver.Midpoint(), solver.Rk4(skip_end=False))
    }
    assert {k: c.evaluations for k, c in costs.items() if c} == {"euler": 9, "midpoint": 18, "rk4": 36}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nfe": 0}, "nfe=0"),
        ({"nfe": -1}, "nfe=-1"),
        ({"nfe": 1}, "at least 2"),
        ({"nfe": 3, "solver": solver.Rk4(skip_end=False), "budget": budget.Evaluations()}, "takes 4"),
        ({"nfe": 1, "solver": Ab3(), "budget": budget.Evaluations()}, "one step of solver ab3 takes 2"),
        ({"nfe": 3, "solver": solver.ExplicitAdams(), "budget": budget.Evaluations()}, "explicit_adams takes 4"),
        ({"guidance_reuse": 2, "solver": solver.Dopri5(**TOLERANCES)}, "fixed steps: dopri5 controls its steps"),
        ({"temperature": -0.5}, "temperature=-0.5 must be"),
        ({"temperature": float("inf")}, "temperature=inf must be"),
        ({"temperature": float("nan")}, "temperature=nan must be"),
        ({"solver": solver.Dopri5(**TOLERANCES), "budget": budget.Evaluations()}, "cannot bound"),
        ({"stitch": stitch.Crossfade(overlap_frames=6)}, "overlap_frames=6"),
        ({"stitch": Averaged(overlap_frames=WINDOW)}, "overlap_frames=10 must be 0 or more and less than .* 10 frames"),
        ({"stitch": Averaged(overlap_frames=-1)}, "overlap_frames=-1"),
    ],
)
def test_invalid_settings_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sampler(**changes)


def test_more_previous_frames_than_window_frames_are_rejected() -> None:
    settings = Chunking(window_s=0.4, previous_frames=10, attention_window=2, fps=25)
    with pytest.raises(UserError, match="previous_frames=11"):
        dataclasses.replace(settings, previous_frames=11)
    with pytest.raises(UserError, match="shorter than one frame"):
        dataclasses.replace(settings, window_s=0.01, previous_frames=0)


def test_non_finite_motion_raises_an_error(model: FloatModel) -> None:
    """The second window overflows."""

    def grows(c: Conditions) -> VectorField:
        return lambda t, x: x * 0 + c.audio[:, :1, :1] * 3e38

    conditions = dataclasses.replace(clip(model, 20), audio=torch.arange(20.0)[:, None].expand(-1, 32))
    windows = sampler(nfe=3)(grows, [conditions])
    assert next(windows).motion.isfinite().all()
    with pytest.raises(UserError, match=r"frames 10 to 20 is not finite; .* vector_field\.precision=float32"):
        next(windows)
