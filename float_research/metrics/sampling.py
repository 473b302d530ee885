"""The error of sampling against the exact solution of its ODE."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.metrics.metric import Better, Findings, MotionMetric, Need, Number, Subject
from float_research.metrics.track import MotionTrack


@dataclass(frozen=True, kw_only=True)
class Sampling(MotionMetric):
    """`sampling_error`: `‖r - r*‖ / ‖r*‖` over the clip, with r* solved by dopri5 with `atol` and `rtol` in 64 bits.

    r* has the run's noise, conditions and windows. It is cached by everything that it depends on, so that a sweep over
    solvers, evaluations and time grids solves it once. `flow`: also the error at each step of flow time.
    """

    atol: float
    rtol: float
    flow: bool

    numbers = (Number("sampling_error", "relative error", Better.LOWER, headline=True),)
    needs = frozenset({Need.MOTION, Need.SOLUTION})

    def __post_init__(self) -> None:
        if not (self.atol > 0 and self.rtol > 0):
            raise UserError(f"metrics.sampling.atol={self.atol} and rtol={self.rtol} must be positive, such as 1e-6")

    def measure(self, clip: Subject, track: MotionTrack) -> Findings:
        solution = clip.solution
        assert solution is not None
        exact = solution.motion(atol=self.atol, rtol=self.rtol).double()
        if exact.shape != track.motion.shape:
            raise UserError(f"the converged motion has the shape {tuple(exact.shape)}, not {tuple(track.motion.shape)}")
        error, size = (track.motion.double() - exact).norm(dim=1), exact.norm(dim=1)
        if not size.norm() > 0:
            raise UserError("the converged motion is zero, so the relative error is undefined")
        return Findings(
            metrics={"sampling_error": float(error.norm() / size.norm())},
            traces={"sampling_error": relative(error, size)},
            tables={"flow": solution.flow_errors(atol=self.atol, rtol=self.rtol)} if self.flow else {},
        )


def relative(error: Float[Tensor, " t"], size: Float[Tensor, " t"]) -> Float[np.ndarray, " t"]:
    """Returns each frame's error over the root mean square of all frames' norms."""
    return (error / size.square().mean().sqrt()).numpy()
