"""How far sampling is from what it approximates."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from float_research.files import whole
from float_research.metrics.metric import Findings, MotionMetric, Need, Subject
from float_research.metrics.track import MotionTrack
from float_research.types import UserError


@dataclass(frozen=True, kw_only=True)
class Sampling(MotionMetric):
    """`sampling_error`: `‖r - r*‖ / ‖r*‖` over the clip, r* being solved by dopri5 with `atol` and `rtol` in 64 bits.

    r* has the run's noise, conditions and chunks. It is kept in the folder `cache` under all that it depends on, so a
    sweep over solvers, evaluations and time grids solves it once. `flow`: also the error at each step of flow time.
    """

    atol: float
    rtol: float
    cache: str
    flow: bool

    names = ("sampling_error",)
    needs = frozenset({Need.MOTION, Need.SOLUTION})

    def __post_init__(self) -> None:
        if not (self.atol > 0 and self.rtol > 0):
            raise UserError(f"metrics.sampling.atol={self.atol} and rtol={self.rtol} must be positive, such as 1e-6")

    def measure(self, clip: Subject, track: MotionTrack) -> Findings:
        solution = clip.solution
        assert solution is not None
        tolerances = {"atol": self.atol, "rtol": self.rtol}
        name = hashlib.sha256(f"{solution.key} {tolerances}".encode()).hexdigest()[:32]
        exact = cached(Path(self.cache) / f"{name}.safetensors", lambda: solution.motion(**tolerances)).double()
        if exact.shape != track.motion.shape:
            raise UserError(f"the converged motion has the shape {tuple(exact.shape)}, not {tuple(track.motion.shape)}")
        error, size = (track.motion.double() - exact).norm(dim=1), exact.norm(dim=1)
        if not size.norm() > 0:
            raise UserError("the converged motion is zero, and errors relative to it mean nothing")
        return Findings(
            metrics={"sampling_error": float(error.norm() / size.norm())},
            traces={"sampling_error": relative(error, size)},
            tables={"flow": solution.flow_errors(**tolerances)} if self.flow else {},
        )


def relative(error: Float[Tensor, " t"], size: Float[Tensor, " t"]) -> Float[np.ndarray, " t"]:
    """Each frame's error over the root mean square of all frames' sizes."""
    return (error / size.square().mean().sqrt()).numpy()


def cached(path: Path, solve: Callable[[], Float[Tensor, "t d"]]) -> Float[Tensor, "t d"]:
    """The motion in a file, solved and written there if it is not. Two processes may both solve; neither sees half."""
    try:
        return load_file(path)["motion"]
    except FileNotFoundError:
        solved = solve().cpu().contiguous()
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it") from error
    with whole(path) as part:
        save_file({"motion": solved}, part)
    return solved
