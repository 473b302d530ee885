"""Guidance by a weakened network: its field in modules and engine, its cost, and rejected settings."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from test_branches import sampled, sampler
from test_guidance import constants
from torch import Tensor, nn

from float_research import compose
from float_research.errors import UserError
from float_research.models.field_engine import FieldEngine
from float_research.models.float_model import FloatModel
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.sampling.guidance import Incremental
from float_research.sampling.guidance_autoguidance import Autoguidance
from float_research.sampling.schedule import Constant
from float_research.types import Weakness
from tests.models.test_vector_field import T, case, error

SKIPPED, NARROWED = Weakness(skip_blocks=(0,)), Weakness(attention_window=1)


def weakened(fmt: FlowMatchingTransformer, weakness: Weakness) -> FlowMatchingTransformer:
    """Returns a network built without these blocks and with this attention window."""
    made = copy.deepcopy(fmt)
    made.blocks = nn.ModuleList([block for i, block in enumerate(made.blocks) if i not in weakness.skip_blocks])
    if weakness.attention_window is not None:
        made.attention_window = weakness.attention_window
    return made


def autoguidance(weakness: Weakness = SKIPPED, weak: float = 1.5, **changes: Any) -> Autoguidance:
    settings = {**weakness._asdict(), "num_blocks": 2, "full_attention_window": 2, **changes}
    return Autoguidance(**constants(2, 1), weak=Constant(scale=weak), **settings)


@torch.inference_mode()
@pytest.mark.parametrize("weakness", [SKIPPED, NARROWED])
def test_guidance_pushes_away_from_a_weaker_network(model: FloatModel, weakness: Weakness) -> None:
    fmt = model.fmt
    conditions, x = case(fmt)
    everything, weak = fmt.vector_field(conditions)(T, x), weakened(fmt, weakness).vector_field(conditions)(T, x)
    assert error(weak, everything) > 1e-2
    plain = Incremental(**constants(2, 1)).guide(fmt.vector_field, conditions)(T, x)
    for network in (fmt.vector_field, FieldEngine(fmt, torch.float32).vector_field):
        guided = autoguidance(weakness).guide(network, conditions)(T, x)
        assert error(guided, plain + 0.5 * (everything - weak)) < 1e-5
    assert autoguidance(weakness).num_branches(0.4) == 4
    assert autoguidance(weakness, weak=1.0).num_branches(0.4) == 3


@torch.inference_mode()
@pytest.mark.parametrize("weakness", [SKIPPED, NARROWED])
def test_engine_and_modules_weaken_alike(model: FloatModel, weakness: Weakness) -> None:
    conditions, x = case(model.fmt)
    exact = weakened(model.fmt, weakness).vector_field(conditions)(T, x)
    conditions = dataclasses.replace(conditions, weakness=weakness)
    assert torch.equal(model.vector_field(conditions)(T, x), exact)
    assert error(FieldEngine(model.fmt, torch.float32).vector_field(conditions)(T, x), exact) < 1e-5


def test_the_papers_form_needs_two_branches_and_one_with_reuse() -> None:
    alone = dataclasses.replace(autoguidance(), **constants(1, 1))
    assert alone.num_branches(0.4) == 2
    assert [alone.declared_branches([0.1, 0.2, 0.3], reuse) for reuse in (1, 2, 3)] == [6, 5, 4]


def test_settings_change_the_motion_at_the_declared_cost(model: FloatModel) -> None:
    motions: list[Tensor] = []
    plain = sampler("guidance=autoguidance", "nfe=4")
    narrow = {"skip_blocks": None, "attention_window": 0}
    for changes in ({}, {"skip_blocks": [0]}, narrow, {"weak": Constant(scale=3.0)}):
        s = dataclasses.replace(plain, guidance=dataclasses.replace(plain.guidance, **changes))
        motion, cost = sampled(s, model)
        assert cost == s.declared_cost(15)
        assert not any(torch.allclose(motion, other) for other in motions)
        motions.append(motion)


def test_blocks_are_checked_against_the_model() -> None:
    official = ["model=official", "output_dir=out", "guidance=autoguidance"]
    compose.build_sampler(compose.compose_config([*official, "guidance.skip_blocks=[6, 7]"]))
    with pytest.raises(UserError, match=r"guidance\.skip_blocks=\[8\] must be blocks of the model, 0 to 7"):
        compose.build_sampler(compose.compose_config([*official, "guidance.skip_blocks=[8]"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skip_blocks": None}, r"skip_blocks=None and guidance\.attention_window=None: set one of them"),
        ({"skip_blocks": []}, r"skip_blocks=\[\] and guidance\.attention_window=None: set one of them"),
        ({"attention_window": 1}, r"skip_blocks=\(0,\) and guidance\.attention_window=1: set one of them"),
        ({"skip_blocks": [1, 2]}, r"guidance\.skip_blocks=\[1, 2\] must be blocks of the model, 0 to 1"),
        ({"skip_blocks": [-1]}, r"guidance\.skip_blocks=\[-1\] must be blocks"),
        ({"skip_blocks": None, "attention_window": 2}, r"guidance\.attention_window=2 must be .* less than .*window=2"),
        ({"skip_blocks": None, "attention_window": -1}, r"guidance\.attention_window=-1 must be 0 or more"),
    ],
)
def test_a_network_that_is_not_weaker_is_rejected(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        autoguidance(**changes)
