"""Noise during sampling: the flow as a stochastic differential equation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.noise import draw, hash_seed
from float_research.sampling.schedule import Constant, Schedule
from float_research.sampling.solver import Solver
from float_research.types import VectorField

Draw = Callable[[int], Tensor]
"""Draws the standard normal noise of a step, for all states."""


def step_noise(
    *, seed: int, clip: str, window: int, step: int, num_frames: int, latent_dim: int
) -> Float[Tensor, "l d"]:
    """Draws separate noise for each clip, window and step on the CPU, different from any initial noise."""
    return draw(hash_seed(f"{seed}\n{window}.{step}\n{clip}"), num_frames, latent_dim)


@dataclass(frozen=True, kw_only=True)
class Sde:
    """`dx = (v + g² s / 2) dt + g dW` with the score of the flow, `s = (t v - x) / (1 - t)` (arXiv 2303.08797).

    It has the marginals of the ODE for every g. Euler-Maruyama on the grid: noise `g(t) sqrt(h) ε` at the end of a step
    that starts at t. The last step follows the ODE, because no later step would remove its noise. If g is 0 at all
    other points, the solver solves the ODE and no noise is drawn. Note that the schedule `interval` is 1 outside.
    """

    g: Schedule

    def check(self, solver: Solver, grid: Sequence[float]) -> None:
        """Raises a UserError for negative g, and for noise with a solver that does not evaluate once per step."""
        for t in grid:
            g = self.g(t)
            if not 0 <= g < math.inf:
                raise UserError(f"sampling_noise.g is {g:g} at flow time {t:g}, but must be finite and not negative")
        if self.acts(grid) and not evaluates_at_starts(solver.evaluation_times(grid), grid[:-1]):
            raise UserError(
                "sampling_noise.g above 0 needs a solver that evaluates the field once per step, at its start, which "
                f"{solver.name} does not; use solver=euler"
            )

    def acts(self, grid: Sequence[float]) -> bool:
        """Returns whether noise is added in any step."""
        return any(self.g(t) != 0 for t in grid[:-2])

    def solve(
        self, solver: Solver, field: VectorField, x: Float[Tensor, "b t d"], grid: Float[Tensor, " n"], draw: Draw
    ) -> Float[Tensor, "b t d"]:
        """Solves for `x - N`, with N the noise added so far, so that multistep solvers work unchanged."""
        times = grid.tolist()
        if not self.acts(times):
            return solver.solve(field, x, grid)
        noise, step = torch.zeros_like(x), 0

        def noised(t: Tensor, y: Tensor) -> Tensor:
            nonlocal noise, step
            while times[step + 1] <= float(t) + 1e-6:
                scale = self.g(times[step]) * math.sqrt(times[step + 1] - times[step])
                noise = noise + scale * draw(step).to(x) if scale else noise
                step += 1
            here, g = y + noise, self.g(times[step]) if step + 2 < len(times) else 0.0
            v = field(t, here)
            return v + g**2 / 2 * (t * v - here) / (1 - t) if g else v

        return solver.solve(noised, x, grid) + noise


def evaluates_at_starts(times: Sequence[float] | None, starts: Sequence[float]) -> bool:
    """Returns whether the field is evaluated exactly once per step, at its start."""
    if times is None or len(times) != len(starts):
        return False
    return all(abs(time - start) < 1e-6 for time, start in zip(times, starts, strict=True))


ODE = Sde(g=Constant(scale=0.0))
"""No noise during sampling."""
