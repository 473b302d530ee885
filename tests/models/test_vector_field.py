"""The prepared vector field against the plain modules."""

import copy
import shutil
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.models import precision, vector_field
from float_research.models.field_engine import FieldEngine
from float_research.models.float_model import FloatModel
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.models.vector_field import Modules, Prepared
from float_research.types import Conditions

T = torch.tensor(0.3)


def case(fmt: FlowMatchingTransformer, num_samples: int = 3) -> tuple[Conditions, Tensor]:
    """Returns conditions and states of `num_samples` samples: four previous frames, ten in the window."""
    generator = torch.Generator().manual_seed(5)
    latent_dim = fmt.x_embedder.proj.in_features
    audio_dim = fmt.c_embedder.in_features - latent_dim - 7

    def drawn(*shape: int) -> Tensor:
        return torch.randn(num_samples, *shape, generator=generator)

    conditions = Conditions(
        audio=drawn(10, audio_dim),
        reference=drawn(latent_dim),
        emotion=drawn(14, 7),
        previous_motion=drawn(4, latent_dim),
        previous_audio=drawn(4, audio_dim),
    )
    return conditions, drawn(10, latent_dim)


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@torch.inference_mode()
@pytest.mark.parametrize(("name", "most"), [("float32", 1e-5), ("bfloat16", 2e-2), ("float16", 2e-3)])
@pytest.mark.parametrize("fused", [True, False])
def test_the_engine_agrees_with_the_modules(
    name: str, most: float, fused: bool, model: FloatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(precision, "FUSED", "not there")
    engine = FieldEngine(model.fmt, precision.PRECISIONS[name])
    for num_samples in (1, 3):
        conditions, x = case(model.fmt, num_samples)
        made = engine.vector_field(conditions)(T, x)
        assert made.dtype == torch.float32
        assert error(made, model.vector_field(conditions)(T, x)) < most


@torch.inference_mode()
def test_one_embedding_serves_all_flow_times(model: FloatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions, x = case(model.fmt)
    calls = []
    handle = model.fmt.c_embedder.register_forward_hook(lambda *_: calls.append(1))
    try:
        field = Prepared(precision=None)(model.fmt)(conditions)
        made = [field(torch.tensor(t), x) for t in (0.0, 0.5, 0.9)]
    finally:
        handle.remove()
    assert len(calls) == 1
    for t, velocity in zip((0.0, 0.5, 0.9), made, strict=True):
        assert error(velocity, model.vector_field(conditions)(torch.tensor(t), x)) < 1e-5


@torch.inference_mode()
def test_the_trainers_precision_is_the_default(model: FloatModel) -> None:
    conditions, x = case(model.fmt)

    def velocity(name: str | None) -> Tensor:
        return Prepared(precision=name)(model.fmt)(conditions)(T, x)

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(velocity(None), velocity("bfloat16"))
        assert not torch.equal(velocity("float32"), velocity("bfloat16"))
    assert torch.equal(velocity(None), velocity("float32"))


@torch.inference_mode()
def test_float64_uses_the_modules(model: FloatModel) -> None:
    double = copy.deepcopy(model.fmt).double()
    assert Prepared(precision=None)(double) == double.vector_field
    assert double not in vector_field._engines._made
    assert Modules()(double) == double.vector_field


def test_an_unknown_precision_is_rejected() -> None:
    with pytest.raises(UserError, match=r"vector_field\.precision=half is unknown; choose float32, bfloat16, float16"):
        Prepared(precision="half")


COMPILED = """
from dataclasses import replace

import torch
from test_vector_field import T, case, error
from float_research import compose
from float_research.models.vector_field import Compiled
from float_research.types import FULL_STRENGTH, Weakness

torch.manual_seed(3)
fmt = compose.build(compose.compose_config(["model=tiny"]).model).fmt.eval()
with torch.inference_mode():
    network = Compiled(precision="float32")(fmt)
    for num_samples, weakness in (3, FULL_STRENGTH), (1, Weakness(skip_blocks=(0,), attention_window=1)):
        conditions, x = case(fmt, num_samples)
        conditions = replace(conditions, weakness=weakness)
        assert error(network(conditions)(T, x), fmt.vector_field(conditions)(T, x)) < 1e-5
print("agrees")
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs g++ on a CPU")
def test_the_compiled_program_agrees_with_the_modules() -> None:
    """Runs in a process without the tests' type checker, which the compiler cannot trace."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True, cwd="tests/models"
    )
    assert done.stdout == "agrees\n"
