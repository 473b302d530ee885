"""The distance to the converged motion: of a planted solution, and of real solvers on the tiny model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from subjects import subject, track
from torch import Tensor

from float_research import cache, compose
from float_research.errors import UserError
from float_research.metrics.metric import Columns
from float_research.metrics.panel import Panel
from float_research.metrics.sampling import Sampling

Run = Callable[..., dict[str, Any]]
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "metrics=[sampling]"]


@dataclasses.dataclass(frozen=True)
class Known:
    """A known solution."""

    exact: Tensor

    def motion(self, *, atol: float, rtol: float) -> Tensor:
        return self.exact

    def flow_errors(self, *, atol: float, rtol: float) -> Columns:
        return {"error": np.full(3, rtol)}


def metric(**changes: Any) -> Sampling:
    return Sampling(**{"atol": 1e-6, "rtol": 1e-6, "flow": False} | changes)


def test_the_error_is_relative() -> None:
    exact = torch.randn(100, 4, dtype=torch.float64)
    clip, made = subject(solution=Known(exact)), track((1.25 * exact).float())
    found = metric().measure(clip, made)
    assert found.metrics["sampling_error"] == pytest.approx(0.25)
    assert np.sqrt(np.mean(found.traces["sampling_error"] ** 2)) == pytest.approx(0.25)
    assert found.tables == {}
    assert metric().measure(clip, track(exact)).metrics["sampling_error"] == 0
    assert metric(flow=True, rtol=0.5).measure(clip, made).tables["flow"]["error"].tolist() == [0.5] * 3


def test_incomparable_motions_are_absent_with_a_reason() -> None:
    clips = {"is zero": torch.zeros(100, 4), "has the shape (50, 4)": torch.ones(50, 4)}
    for reason, exact in clips.items():
        found = Panel([metric()], subject(solution=Known(exact))).finish(track(torch.rand(100, 4)))
        assert found.metrics == {}
        assert reason in found.absent["sampling_error"]
    with pytest.raises(UserError, match=r"metrics\.sampling\.atol=0.* must be positive"):
        metric(atol=0.0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> Run:
    """Returns `measured("solver=rk4")`, the results of a tiny run with these settings; all share one cache."""
    folder, audio = tmp_path_factory.mktemp("sampling"), speech(2.4)
    cache.forget()

    def run(*overrides: str) -> dict[str, Any]:
        place = [f"cache.folder={folder / 'cache'}", f"output_dir={folder / 'run'}", f"data.audio={audio}"]
        cfg = compose.compose_config([*TINY, *place, "budget=evaluations", *overrides])
        content = compose.build_job(cfg).run(Console(quiet=True))
        assert content is not None
        flow = content["clips"][0]["flow"]
        return {
            "error": content["clips"][0]["metrics"]["sampling_error"],
            "cached": sorted(path.name for path in (folder / "cache").glob("converged_motion/*/*")),
            "flow": pd.read_parquet(folder / "run" / flow) if flow else None,
        }

    return run


def test_errors_fall_with_the_order_and_share_one_solution(measured: Run) -> None:
    """Two windows, 64 bits: slopes of one refinement, with one shared file in the cache."""
    exact = ["metrics.sampling.rtol=1e-9", "metrics.sampling.atol=1e-9", "trainer.precision=64-true"]
    for solver, order, coarse in (("euler", 1, 32), ("midpoint", 2, 32), ("rk4", 4, 32)):
        first, second = (measured(f"solver={solver}", f"nfe={nfe}", *exact) for nfe in (coarse, 2 * coarse))
        assert len(second["cached"]) == 1
        assert np.log2(first["error"] / second["error"]) == pytest.approx(order, rel=0.2)


def test_only_changes_of_the_exact_motion_are_solved_again(measured: Run) -> None:
    base = measured("nfe=4")["cached"]
    assert measured("nfe=6", "solver=heun2", "time_grid=cosine", "video.crf=40")["cached"] == base
    assert measured("nfe=4", "guidance_reuse=2")["cached"] == base
    changed = ["guidance.audio.scale=3", "noise=shared", "seed=4", "chunking.previous_frames=5"]
    for number, override in enumerate(changed, 1):
        assert len(measured("nfe=4", override)["cached"]) == len(base) + number


def test_the_error_over_flow_time_ends_at_the_sampling_error(measured: Run) -> None:
    found = measured("nfe=8", "solver=midpoint", "metrics.sampling.flow=true")
    flow = found["flow"]
    assert flow["flow_time"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1] * 2)
    assert (flow["error"][flow["step"] == 0] == 0).all(), "both start from the same noise"
    assert flow["error"][flow["step"] == 4].max() == pytest.approx(found["error"], rel=0.5)
    assert measured("nfe=8")["flow"] is None


def test_guidance_reuse_only_applies_to_the_approximation(measured: Run) -> None:
    plain, kept = (measured("nfe=8", f"guidance_reuse={k}", "metrics.sampling.flow=true") for k in (1, 8))
    assert kept["error"] > plain["error"]
    assert kept["flow"]["error"].iloc[-1] > plain["flow"]["error"].iloc[-1] > 0
