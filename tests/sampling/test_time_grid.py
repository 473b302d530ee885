"""The curvature time grid; the others are tested with the sampler."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from float_research.compose import build_sampler, compose_config
from float_research.data.examples import asset
from float_research.errors import UserError
from float_research.sampling.time_grid import CURVATURE, Curvature, Uniform


def measured(folder: Path, *values: float, power: float = 0.5) -> Curvature:
    file = folder / "solver.safetensors"
    save_file({CURVATURE: torch.tensor(values)}, file)
    return Curvature(file=str(file), power=power)


def test_points_are_dense_where_trajectories_bend(tmp_path: Path) -> None:
    """√(1, 1, 9) = 1, 1, 3: the halves have areas 1 and 2, so the midpoint is a quarter into the second half."""
    grid = measured(tmp_path, 1, 1, 9)(3, torch.float64)
    assert grid.tolist() == pytest.approx([0, 0.5 + 0.5 / 4, 1])


def test_constant_curvature_or_zero_power_gives_the_uniform_grid(tmp_path: Path) -> None:
    for grid in (measured(tmp_path, 3, 3, 3, 3), measured(tmp_path, 1, 7, 2, power=0)):
        assert torch.allclose(grid(8, torch.float32), Uniform()(8, torch.float32))


def test_the_demo_grid_increases_for_any_number_of_points() -> None:
    for power in (0.5, 2):
        for num_points in (2, 3, 10, 1000):
            grid = Curvature(file=asset("demo/solver.safetensors"), power=power)(num_points, torch.float32)
            assert len(grid) == num_points
    sampler = build_sampler(compose_config(["time_grid=curvature", "solver=midpoint", "nfe=5"]))
    declared = sampler.declared_cost(50)
    assert declared is not None
    assert declared.evaluations == 8


def test_a_file_without_curvature_gives_a_clear_error(tmp_path: Path) -> None:
    for values in ([1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, -1.0]):
        with pytest.raises(UserError, match=r"curvature file .*not a list of positive numbers.*fit_solver"):
            measured(tmp_path, *values)
    with pytest.raises(UserError, match=r"curvature file .*cannot be read"):
        Curvature(file=asset("demo/weights.safetensors"), power=0.5)
    with pytest.raises(UserError, match=r"time_grid\.power=-1 must be between 0 and 2"):
        measured(tmp_path, 1, 2, power=-1)
