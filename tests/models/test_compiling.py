"""Programs of torch.compile, with a backend that does not generate code."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from float_research.models import compiling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    compile = torch.compile

    def without_code(function: object, **settings: object) -> object:
        assert settings.pop("mode") == "default"
        return compile(function, backend="eager", **settings)

    monkeypatch.setattr(torch, "compile", without_code)


def test_a_sweep_over_many_shapes_is_compiled() -> None:
    double = compiling.compiled_for(CPU, lambda x: 2 * x)
    for length in range(2, 22):
        assert double(torch.ones(length)).sum() == 2 * length


def test_threads_may_call_programs_while_others_are_compiled() -> None:
    def one(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(x[None, None], torch.ones(1, 1, 1)).flatten() + 1

    def two(x: torch.Tensor) -> torch.Tensor:
        return x.sin().cos().tan() + 2

    programs = [compiling.compiled_for(CPU, each) for each in (one, two)]

    def call(number: int) -> bool:
        x = torch.linspace(0, 1, 2 + number // 2)
        return torch.allclose(programs[number % 2](x), (one, two)[number % 2](x))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(40)))
