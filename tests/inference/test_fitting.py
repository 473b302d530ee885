"""Fitted steps: exact for linear fields, better than Euler on a model, and usable by its runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from float_research import compose, studies
from float_research.errors import UserError
from float_research.inference.fitting import FINE, Window, curvature, fit
from float_research.sampling.fitted import Fitted

RATES = torch.tensor([-3.0, -0.5, 1.0], dtype=torch.float64)


def linear(noise: Tensor) -> Window:
    """Returns the exact solution of `dx/dt = λ x` with three rates λ as a window."""
    times = torch.linspace(0, 1, FINE, dtype=torch.float64)
    return Window(lambda t, x: RATES * x, torch.exp(RATES * times[:, None, None, None]) * noise)


def test_two_evaluations_solve_a_linear_field_of_three_rates_exactly() -> None:
    """The end state is in the span of x, λ x and λ² x, with the same coefficients for any noise."""
    seen, unseen = torch.randn(2, 4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    steps, error = fit([linear(seen)], [0, 0.5, 1])
    assert error < 1e-9
    window = linear(unseen)
    assert float(window.error(steps.trajectory(window.field, unseen)[-1]).max()) < 1e-9
    alone, _ = fit([linear(seen)], [0, 1])
    assert float(window.error(alone.trajectory(window.field, unseen)[-1]).max()) > 1e-3, "one evaluation cannot"


def test_the_curvature_is_the_size_of_the_second_derivative() -> None:
    noise = torch.ones(1, 1, 3, dtype=torch.float64)
    found = curvature([linear(noise)])
    times = torch.linspace(0, 1, len(found), dtype=torch.float64)[:, None]
    exact = (RATES**2 * torch.exp(RATES * times)).norm(dim=1) / torch.exp(RATES).norm()
    assert torch.allclose(found[1:-1], exact[1:-1], rtol=1e-2)


def fitting(speech: Callable[[float], Path], output: Path, *more: str) -> Any:
    short = [f"fit.audios=[{speech(0.5)}]", f"held_out.audios=[{speech(0.6)}]", "fit.seeds=[0]", "held_out.seeds=[1]"]
    few = ["evaluations=[2,3]", "shifts=[1.0,2.0]", "exponents=[1.0]", "tolerance=1e-3", f"output={output}"]
    tiny = "overrides=[model=tiny,checkpoint=random,face=none,trainer.accelerator=cpu,noise=independent]"
    return studies.build_fitting(compose.compose_config([tiny, *short, *few, *more], "fit_solver"))


def test_steps_fitted_to_a_model_are_used_by_its_runs(
    speech: Callable[[float], Path], load: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "solver.safetensors"
    fitting(speech, file).run(Console(quiet=True))
    solver = Fitted(file=str(file), anyway=False)
    assert list(solver.steps) == [2, 3]
    for told in solver.fitted_to["steps"]:
        assert told["held_out_error"] < told["held_out_error_of_euler"]
    load("solver=fitted", f"solver.file={file}", "budget=evaluations", "nfe=3")
    with pytest.raises(UserError, match="fitted to other guidance"):
        load("solver=fitted", f"solver.file={file}", "budget=evaluations", "nfe=3", "guidance.audio.scale=1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluations=[]", "evaluations=.* must be one or more positive numbers"),
        ("evaluations=[0]", "evaluations=.* must be one or more positive"),
        ("evaluations=[1.5]", "each of evaluations=1.5 must be an integer"),
        ("shifts=[-1]", "shifts=.* must be one or more positive"),
        ("fit.seeds=[]", "seeds=.* must be one or more integers"),
        ("held_out.seeds=[a]", "each of held_out.seeds=a must be an integer"),
        ("fit.images=[1]", "each of fit.images=1 must be a string"),
        ("output=solver.pt", r"output=solver\.pt must end in \.safetensors"),
    ],
)
def test_invalid_settings_are_rejected(
    override: str, message: str, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        fitting(speech, tmp_path / "solver.safetensors", override)
