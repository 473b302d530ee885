"""All pairs of sampler options have the declared cost or are rejected with a clear error."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from float_research import compose
from float_research.errors import UserError
from float_research.sampling.sampler import Sampler
from float_research.types import ClipConditions, Conditions, Cost, VectorField

FROM_CONF = (
    "solver", "budget", "time_grid", "guidance", "noise", "sampling_noise", "stitch", "chunking", "schedule",
)  # fmt: skip
VALUES: dict[str, list[Any]] = {"guidance_reuse": [1, 2, 3], "temperature": [0.0, 0.5, 1.0]}
PAIRS = list(itertools.combinations([*FROM_CONF, *VALUES], 2))
VARIANTS = {
    ("solver", "heun2", "heun2_skip_end"): "skip_end=true",
    ("solver", "rk4", "rk4_skip_end"): "skip_end=true",
    ("sampling_noise", "sde", "noisy"): "g.scale=0.5",
}
"""Settings of an option that are tested as a further option with the last name."""
DECIDING = {"dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun", "implicit_adams"}
"""Solvers that choose their own evaluations."""
SETTINGS = [
    "solver.fitted.anyway=true",
    "time_grid.explicit.points=[0, 0.1, 0.4, 1]",
    *(f"schedule.{name}.scale=2" for name in ("constant", "linear", "cosine", "interval")),
    *(f"solver.{name}.{tolerance}=0.01" for name in sorted(DECIDING) for tolerance in ("atol", "rtol")),
]
ONCE = {"euler", "ab2", "abm2", "dpm_2m", "fitted"}
"""Solvers that evaluate the field only at the start of each step."""


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, Any]]:
    """Builds every option of every group from one config."""
    files = [(group, path.stem) for group in FROM_CONF for path in (compose.config_folder() / group).glob("*.yaml")]
    chosen = [(group, name, name) for group, name in sorted(files)] + list(VARIANTS)
    cfg = compose.compose_config(
        [
            *["model=tiny", "checkpoint=random", "nfe=4", "output_dir=out"],
            *(f"+{group}@options.{group}.{called}={name}" for group, name, called in chosen),
            *(f"options.{group}.{called}.{setting}" for (group, _, called), setting in VARIANTS.items()),
            *(f"options.{setting}" for setting in SETTINGS),
        ]
    )
    built = {group: {name: compose.build(node) for name, node in cfg.options[group].items()} for group in FROM_CONF}
    plain = {"plain": compose.build_sampler(cfg)}
    return {"sampler": plain, **built, **{group: {str(v): v for v in values} for group, values in VALUES.items()}}


def network(c: Conditions) -> VectorField:
    """A smooth field that depends on conditions."""
    about = c.audio.mean(2, keepdim=True) + c.reference[:, None] + c.previous_motion.mean((1, 2), keepdim=True)
    pull = 1 + c.emotion.mean((1, 2))[:, None, None]
    return lambda t, x: about.tanh() - pull * x


def clip(num_frames: int) -> ClipConditions:
    g = torch.Generator().manual_seed(0)
    audio, reference, emotion = (torch.randn(*size, generator=g) for size in ((num_frames, 3), (2,), (num_frames, 7)))
    return ClipConditions(id="one", audio=audio, reference=reference, emotion=emotion.softmax(-1))


def together(plain: Sampler, parts: dict[str, Any]) -> Sampler:
    """Returns the plain sampler with these parts. A schedule replaces that of audio guidance, if there is one."""
    changes = dict(parts)
    schedule, guidance = changes.pop("schedule", None), changes.get("guidance", plain.guidance)
    if schedule is not None and hasattr(guidance, "audio"):
        changes["guidance"] = dataclasses.replace(guidance, audio=schedule)
    return dataclasses.replace(plain, **changes)


def stated(chosen: dict[str, str]) -> str:
    """Returns the expected error of this pair; empty if the pair must work."""
    solver, grid = chosen.get("solver", "euler"), chosen.get("time_grid", "uniform")
    if chosen.get("budget") == "evaluations" and solver in DECIDING:
        return f"budget=evaluations cannot bound solver {solver}"
    if chosen.get("guidance_reuse", "1") != "1" and solver in DECIDING:
        return "needs a solver with fixed steps"
    if chosen.get("sampling_noise") == "noisy" and solver not in ONCE:
        return f"{solver.removesuffix('_skip_end')} does not; use solver=euler"
    if solver == "fitted" and grid != "uniform":
        return "solver fitted has its own time grid"
    if grid == "explicit" and chosen.get("budget") == "evaluations":
        return "has 4 points"
    return ""


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_pair_of_options_has_the_declared_cost_or_is_rejected(
    options: dict[str, dict[str, Any]], one: str, other: str
) -> None:
    """With one window, or two or three for pairs with `stitch`."""
    given = clip(60 if "stitch" in (one, other) else 50)
    for names in itertools.product(options[one], options[other]):
        chosen = dict(zip((one, other), names, strict=True))
        refused, expected = "", stated(chosen)
        try:
            s = together(options["sampler"]["plain"], {group: options[group][name] for group, name in chosen.items()})
        except UserError as error:
            refused = str(error)
            print(*map("=".join, chosen.items()), "is refused:", refused)
        assert bool(refused) == bool(expected), f"{chosen}: {refused}"
        if refused:
            assert expected in refused
            continue
        windows = list(s(network, [given]))
        motion = torch.cat([window.motion for window in windows])
        measured = sum((window.cost for window in windows), Cost())
        assert motion.shape == (given.num_frames, 2)
        assert motion.isfinite().all(), chosen
        declared = s.declared_cost(given.num_frames)
        assert (declared is None) == (chosen.get("solver") in DECIDING), chosen
        assert measured == declared or (declared is None and measured.evaluations > 0), chosen
