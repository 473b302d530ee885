"""Converged motion: the ODE solution that solvers approximate, in float64 and without sampling noise."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.cache import Cache, Entry
from float_research.devices import widest
from float_research.metrics.precision import computing_in
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.sampling.budget import GridPoints
from float_research.sampling.sampler import Sampler
from float_research.sampling.sampling_noise import ODE
from float_research.sampling.solver import Dopri5, Solver
from float_research.sampling.time_grid import Explicit
from float_research.types import ClipConditions, VectorField

CONVERGED = "converged_motion"
"""Its name in the cache."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The inputs that determine a clip's motion."""

    sampler: Sampler
    fmt: FlowMatchingTransformer
    conditions: ClipConditions


@dataclass(frozen=True, kw_only=True)
class ConvergedSolution:
    """Solves the problem of `pose` to convergence in float64, with the weights and conditions of the run.

    The motion is cached; `depends` lists everything it depends on. Conditions may come from any device: their float32
    differences are smaller than those between solvers. `candidates`: those that the run chose for its windows.
    `solving` times it.
    """

    cache: Cache
    depends: Mapping[str, Any]
    pose: Callable[[], Problem]
    candidates: Callable[[], Sequence[int]]
    solving: Callable[[], AbstractContextManager[None]]

    def motion(self, *, atol: float, rtol: float) -> Float[Tensor, "t d"]:
        """Returns the converged motion, from the cache if possible."""

        def solve() -> Entry:
            return Entry(tensors={"motion": _solve(self._problem(), Dopri5(atol=atol, rtol=rtol), (0.0, 1.0), 1)})

        settings = {"atol": atol, "rtol": rtol, "candidates": self._chosen()}
        with self.solving():
            return self.cache.get(CONVERGED, {**self.depends, **settings}, solve)[0].tensors["motion"]

    def flow_errors(self, *, atol: float, rtol: float) -> dict[str, Float[np.ndarray, " n"]]:
        """Returns the relative error of the solver's states at grid points in each window, each on its own history."""
        problem = self._problem()
        grid = problem.sampler.grid(torch.float64)
        own, exact = Traced(solver=problem.sampler.solver), Traced(solver=Dopri5(atol=atol, rtol=rtol))
        with self.solving():
            for traced in (own, exact):
                reuse = problem.sampler.guidance_reuse if traced is own else 1
                _solve(problem, traced, grid.tolist(), reuse)
        pairs = zip(own.windows, exact.windows, strict=True)
        error = torch.stack([(a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1) for (_, a), (_, b) in pairs])
        num_windows, num_points = error.shape
        return {
            "window": np.repeat(np.arange(num_windows, dtype=float), num_points),
            "step": np.tile(np.arange(num_points, dtype=float), num_windows),
            "flow_time": np.tile(grid.numpy(), num_windows),
            "error": error.flatten().cpu().numpy(),
        }

    def _chosen(self) -> list[int]:
        """Returns the candidates; empty if all are 0."""
        candidates = list(self.candidates())
        return candidates if any(candidates) else []

    def _problem(self) -> Problem:
        problem = self.pose()
        return replace(problem, conditions=replace(problem.conditions, candidates=self._chosen()))


@dataclass(frozen=True, kw_only=True)
class Traced(Solver):
    """Wraps a solver and records, per window, the field and the states at all grid points. Batches all clips."""

    solver: Solver
    windows: list[tuple[VectorField, Float[Tensor, "n b l d"]]] = field(default_factory=list)

    couples_clips = False

    @property
    def order(self) -> int:
        return self.solver.order

    def trajectory(
        self, field: VectorField, x: Float[Tensor, "b l d"], grid: Float[Tensor, " n"]
    ) -> Float[Tensor, "n b l d"]:
        states = self.solver.trajectory(field, x, grid)
        self.windows.append((field, states))
        return states

    def evaluation_times(self, grid: Sequence[float]) -> list[float] | None:
        return self.solver.evaluation_times(grid)


def _solve(problem: Problem, solver: Solver, points: Sequence[float], reuse: int) -> Float[Tensor, "t d"]:
    """Solves the clip's motion with `solver` on these grid points; returns it on the CPU. `reuse`: of guidance."""
    sampler = replace(
        problem.sampler,
        solver=solver,
        nfe=len(points),
        budget=GridPoints(),
        time_grid=Explicit(points=points),
        guidance_reuse=reuse,
        sampling_noise=ODE,
    )
    device = problem.conditions.reference.device
    if widest(device) != torch.float64:
        device = torch.device("cpu")
    with computing_in(torch.float64):
        fmt = copy.deepcopy(problem.fmt).to(device, torch.float64)
        given = problem.conditions
        conditions = replace(
            given,
            audio=given.audio.to(device, torch.float64),
            reference=given.reference.to(device, torch.float64),
            emotion=given.emotion.to(device, torch.float64),
        )
        return torch.cat([window.motion for window in sampler(fmt.vector_field, [conditions])]).cpu()
