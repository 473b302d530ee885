"""A wrong reuse is worse than none: whatever a model depends on must make another one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from float_research import compose
from float_research.inference import reuse
from float_research.models.checkpoint import Random, parameter_shapes
from float_research.types import UserError

BASE = ("model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "output_dir=out")


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    reuse.forget_models()


def loaded(*overrides: str) -> tuple[Any, bool]:
    job = compose.build_job(compose.compose_config([*BASE, *overrides]))
    return reuse.loaded_model(job.build_model, job.checkpoint, job.config)


@pytest.mark.parametrize("override", ["nfe=20", "solver=rk4", "seed=3", "guidance.audio.scale=3", "noise=independent"])
def test_sampling_settings_share_a_model(override: str) -> None:
    first, reused = loaded()
    assert not reused
    second, reused = loaded(override)
    assert reused
    assert second is first


@pytest.mark.parametrize(
    "override",
    ["checkpoint.seed=1", "model.fmt.depth=1", "chunking.attention_window=3", "trainer.precision=bf16-true"],
)
def test_what_a_model_depends_on_makes_another(override: str) -> None:
    first, _ = loaded()
    second, reused = loaded(override)
    assert not reused
    assert second is not first


def test_weights_that_change_on_disk_are_loaded_anew(tmp_path: Path) -> None:
    job = compose.build_job(compose.compose_config(list(BASE)))
    with torch.device("meta"):
        shapes = parameter_shapes(job.build_model())
    file = tmp_path / "weights.safetensors"
    here = ["checkpoint=unified", f"checkpoint.file={file}"]
    save_file(Random(seed=0).tensors(shapes), file)
    first, _ = loaded(*here)
    assert loaded(*here) == (first, True)
    save_file(Random(seed=1).tensors(shapes), file)
    assert loaded(*here)[1] is False
    file.unlink()
    with pytest.raises(UserError, match="does not exist"):
        loaded(*here)


def test_no_more_models_are_kept_than_said() -> None:
    for seed in range(reuse.MAX_MODELS + 2):
        loaded(f"checkpoint.seed={seed}")
    assert loaded("checkpoint.seed=0")[1] is False, "the oldest were let go"
    assert loaded(f"checkpoint.seed={reuse.MAX_MODELS + 1}")[1] is True


def test_a_run_leaves_its_model_as_it_was(portrait: Path, speech: Any, tmp_path: Path) -> None:
    inputs = [f"data.image={portrait}", f"data.audio={speech(0.5)}", "nfe=3", f"output_dir={tmp_path}"]
    for reused in (False, True):
        content = compose.build_job(compose.compose_config([*BASE[:-1], *inputs])).run(Console(quiet=True))
        assert content is not None
        assert content["model_reused"] is reused
    used, _ = loaded()
    reuse.forget_models()
    fresh, _ = loaded()
    for (name, value), (_, original) in zip(used.state_dict().items(), fresh.state_dict().items(), strict=True):
        assert torch.equal(value, original), name
    assert used.training is fresh.training is False
    assert {parameter.requires_grad for parameter in used.parameters()} == {False}
