"""Steps from a file: results and cost, and rejected files and runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz.mutate import mutated

from float_research.compose import build_sampler, compose_config, resolved
from float_research.data.examples import asset
from float_research.errors import UserError
from float_research.sampling.fitted import Fitted, Steps, save_steps
from float_research.tracking.record import signature

SHIPPED = asset("demo/solver.safetensors")
TWO = Steps(
    torch.tensor([0, 0.25, 1], dtype=torch.float64),
    torch.tensor([[1, 0.25, 0], [0.5, 0.25, 2]], dtype=torch.float64),
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a solver file: `write({2: TWO}, weights="w")`."""

    def writing(steps: dict[int, Steps], **told: Any) -> Path:
        save_steps(steps, told, tmp_path / "solver.safetensors")
        return tmp_path / "solver.safetensors"

    return writing


def test_each_state_is_the_linear_combination_in_the_file(write: Callable[..., Path]) -> None:
    solver = Fitted(file=str(write({2: TWO})), anyway=False)
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    states = solver.trajectory(lambda t, x: 10 * t + x, x, torch.tensor(solver.points(3), dtype=torch.float64))
    middle = 1 + 0.25
    assert states.flatten().tolist() == pytest.approx([1, middle, 0.5 + 0.25 + 2 * (2.5 + middle)])


def test_measured_cost_equals_declared_cost_on_its_own_grid(
    load: Callable[..., Any], speech: Any, portrait: Path
) -> None:
    for more in (["budget=evaluations", "nfe=4"], ["nfe=5"]):
        pipeline = load("solver=fitted", "solver.anyway=true", *more)
        result = pipeline(portrait, speech(3.0))
        assert result.cost == result.declared
        assert result.cost.evaluations == 2 * 4
        assert pipeline.core.sampler.grid(torch.float64).tolist() == pipeline.core.sampler.solver.points(5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nfe=100"], r"no steps for 99 evaluations, only for 2, 3, .*fit_solver"),
        (["nfe=5", "time_grid=shifted"], r"solver fitted has its own time grid; keep the default time_grid=uniform"),
        (["nfe=5", "guidance.audio.scale=3"], r"fitted to other guidance than .*solver\.anyway=true"),
        (["nfe=5", "guidance=none"], r"fitted to other guidance than"),
        (["nfe=5", "model=tiny", "checkpoint=random"], r"fitted to other weights than"),
        (["nfe=5", "checkpoint=random", "guidance=none"], r"fitted to other weights and guidance than"),
        (["solver.file=nowhere.safetensors"], r"solver file nowhere\.safetensors does not exist; .*fit_solver"),
    ],
)
def test_other_weights_or_guidance_are_rejected(overrides: list[str], message: str) -> None:
    build_sampler(compose_config(["solver=fitted", "nfe=5"]))
    with pytest.raises(UserError, match=message):
        build_sampler(compose_config(["solver=fitted", *overrides]))


def test_other_weights_and_guidance_are_allowed_with_anyway() -> None:
    others = ["model=tiny", "checkpoint=official", "checkpoint.folder=nowhere", "guidance=none"]
    build_sampler(compose_config(["solver=fitted", "solver.anyway=true", "nfe=5", *others]))


def test_another_grid_with_equally_many_points_is_rejected(write: Callable[..., Path]) -> None:
    solver = Fitted(file=str(write({2: TWO})), anyway=False)
    with pytest.raises(UserError, match="fitted on another time grid"):
        solver.solve(lambda t, x: x, torch.ones(1, 1, 1), torch.linspace(0, 1, 3))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "holds no steps"),
        ({3: TWO}, "the wrong shape or dtype"),
        ({2: Steps(TWO.grid.float(), TWO.coefficients)}, "the wrong shape or dtype"),
        ({2: Steps(TWO.grid.flip(0), TWO.coefficients)}, "does not increase from 0 to 1"),
        ({2: Steps(TWO.grid * torch.nan, TWO.coefficients)}, "does not increase from 0 to 1"),
        ({2: Steps(TWO.grid, TWO.coefficients / 0)}, "a coefficient is not finite"),
    ],
)
def test_invalid_steps_give_a_clear_error(steps: dict[int, Steps], message: str, write: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=rf"solver file .*cannot be read \(.*{message}.*get it again, or fit one"):
        Fitted(file=str(write(steps)), anyway=True)


@pytest.mark.parametrize("size", [0, 7, 100, -20])
def test_a_truncated_file_gives_a_clear_error(size: int, write: Callable[..., Path]) -> None:
    damaged = write({2: TWO})
    damaged.write_bytes(damaged.read_bytes()[:size])
    with pytest.raises(UserError, match=r"solver file .*solver\.safetensors cannot be read \(.*get it again"):
        Fitted(file=str(damaged), anyway=True)


def test_any_damaged_byte_gives_a_clear_error_or_valid_steps(write: Callable[..., Path]) -> None:
    file = write({2: TWO}, weights="w", guidance={})
    content, said = file.read_bytes(), list[str]()
    for number in range(200):
        file.write_bytes(mutated(0, "safetensors", number, [content], None))
        try:
            assert Fitted(file=str(file), anyway=True).steps
        except UserError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(sentence.startswith(f"solver file {file} cannot be read") for sentence in said)


def test_a_file_of_other_tensors_gives_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"solver file .*cannot be read"):
        Fitted(file=asset("demo/weights.safetensors"), anyway=True)


@pytest.mark.parametrize("part", ["solver=fitted", "time_grid=curvature"])
def test_a_result_is_identified_by_file_contents_not_path(
    part: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    def signed(file: str | Path) -> str:
        named = f"{part.partition('=')[0]}.file={file}"
        return signature(resolved(compose_config(["output_dir=out", part, named])))

    moved = tmp_path / "moved.safetensors"
    shutil.copy(SHIPPED, moved)
    assert signed(moved) == signed(SHIPPED)
    assert signed(write({2: TWO})) != signed(SHIPPED)
