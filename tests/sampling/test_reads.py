"""Sampling reads nothing from the device: tensors on the meta device have a shape, but no values to read."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from test_branches import GUIDANCES, sampler

from float_research import compose
from float_research.models.float_model import FloatModel
from float_research.models.vector_field import Modules, Prepared
from float_research.sampling.sampler import Sampler
from float_research.types import Conditions

FRAMES, PREVIOUS, NFE = 10, 4, 6
SOLVERS = ["ab2", "ab3", "abm2", "dpm_2m", "fitted"]
"""Those that step through the grid by our own code; torchdiffeq reads its flow times from the device."""


@cache
def settings(*overrides: str) -> Sampler:
    return sampler(*overrides, f"nfe={NFE}")


@pytest.mark.parametrize("network", [Modules(), Prepared(precision="float32")])
@pytest.mark.parametrize(
    ("solver", "guidance"), [*((name, "incremental") for name in SOLVERS), *(("abm2", name) for name in GUIDANCES)]
)
def test_a_window_is_solved_without_reading_values(
    model: FloatModel, monkeypatch: pytest.MonkeyPatch, solver: str, guidance: str, network: Any
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which the meta device does not know
    solving = settings(f"solver={solver}", *(["solver.anyway=true"] if solver == "fitted" else [])).solver
    s = replace(settings(f"guidance={guidance}"), solver=solving)
    fmt = copy.deepcopy(model.fmt).to("meta")
    latent = fmt.decoder.linear.out_features
    audio = fmt.c_embedder.in_features - latent - 7

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    conditions = Conditions(
        audio=empty(1, FRAMES, audio),
        reference=empty(1, latent),
        emotion=empty(1, FRAMES + PREVIOUS, 7),
        previous_motion=empty(1, PREVIOUS, latent),
        previous_audio=empty(1, PREVIOUS, audio),
    )
    field = s.guidance.guide(network(fmt), conditions, 2)
    solved = s.solver.solve(field, empty(1, FRAMES, latent), s.grid(torch.float32))
    assert solved.shape == (1, FRAMES, latent)


def test_every_solver_of_our_own_is_tried() -> None:
    own = {
        path.stem
        for path in (Path(compose.config_folder()) / "solver").glob("*.yaml")
        if "sampling.solver." not in path.read_text()
    }
    assert own == set(SOLVERS)
