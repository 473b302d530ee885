"""Fits solver steps to converged trajectories of a model, for `solver=fitted`."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from float_research.errors import UserError
from float_research.files import whole
from float_research.inference.api import Pipeline
from float_research.inference.inputs import AudioInput
from float_research.inference.solution import Traced
from float_research.printing import Table, say
from float_research.sampling.budget import GridPoints
from float_research.sampling.fitted import Steps, linear_combination, save_steps
from float_research.sampling.sampling_noise import ODE
from float_research.sampling.solver import Dopri5, Euler
from float_research.sampling.time_grid import Power, Shifted, Uniform
from float_research.toyface.portraits import save_portraits
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ
from float_research.types import ClipConditions, VectorField

FINE = 129
"""Points of a converged trajectory, dense enough for linear interpolation."""
STRIDE = 4
"""Subsampling of these points, so that second differences are accurate in float32."""
PORTRAIT_PX = 512


class Window(NamedTuple):
    """A window of a batch of clips: its guided field and the converged states at densely spaced flow times."""

    field: VectorField
    states: Float[Tensor, "n b l d"]

    def at(self, t: float) -> Float[Tensor, "b l d"]:
        """Interpolates the converged states at flow time t."""
        position = t * (len(self.states) - 1)
        before = min(int(position), len(self.states) - 2)
        return torch.lerp(self.states[before], self.states[before + 1], position - before)

    def error(self, end: Float[Tensor, "b l d"]) -> Float[Tensor, " b"]:
        """Returns the relative error of each clip's end state."""
        return (end - self.states[-1]).flatten(1).norm(dim=1) / self.states[-1].flatten(1).norm(dim=1)

    def normalized(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, " e"]:
        """Divides by the norm of each clip's end state, so that least squares minimizes relative errors."""
        return (x / self.states[-1].flatten(1).norm(dim=1)[:, None, None]).flatten().double().cpu()


def solve_windows(pipeline: Pipeline, clips: Sequence[ClipConditions], tolerance: float) -> list[Window]:
    """Solves clips to convergence, each window on the converged motion before it; returns the windows."""
    traced = Traced(solver=Dopri5(atol=tolerance, rtol=tolerance))
    own = pipeline.core.sampler
    plain: dict[str, Any] = {"guidance_reuse": 1, "sampling_noise": ODE}
    sampler = replace(own, solver=traced, nfe=FINE, budget=GridPoints(), time_grid=Uniform(), **plain)
    for _ in sampler(pipeline.core.vector_field(pipeline.core.model.fmt), clips):
        pass
    return list(starmap(Window, traced.windows))


def fit(windows: Sequence[Window], grid: Sequence[float]) -> tuple[Steps, float]:
    """Fits coefficients step by step by least squares to the converged states.

    Also returns the mean error of the end states.

    The field is evaluated at the states of the fitted steps, not on the converged trajectories, so that each step
    corrects the errors of the previous ones.
    """
    num_steps = len(grid) - 1
    coefficients = torch.zeros(num_steps, num_steps + 1, dtype=torch.float64)
    known = [[window.states[0]] for window in windows]
    states = [window.states[0] for window in windows]
    for i in range(num_steps):
        for window, values, x in zip(windows, known, states, strict=True):
            values.append(window.field(torch.tensor(grid[i]).to(x), x))
        pairs = list(zip(windows, known, strict=True))
        basis = torch.cat([torch.stack([w.normalized(value) for value in values], 1) for w, values in pairs])
        wanted = torch.cat([window.normalized(window.at(grid[i + 1])) for window in windows])
        coefficients[i, : i + 2] = torch.linalg.lstsq(basis, wanted[:, None]).solution[:, 0]
        states = [linear_combination(coefficients[i, : i + 2].tolist(), values) for values in known]
    return Steps(torch.tensor(grid, dtype=torch.float64), coefficients), mean_error(windows, states)


def mean_error(windows: Sequence[Window], ends: Iterable[Tensor]) -> float:
    """Returns the mean relative error over windows and clips."""
    return float(torch.cat([window.error(end) for window, end in zip(windows, ends, strict=True)]).mean())


def fitted_error(windows: Sequence[Window], steps: Steps) -> float:
    """Returns the mean error of fitted steps."""
    return mean_error(windows, (steps.trajectory(window.field, window.states[0])[-1] for window in windows))


def euler_error(windows: Sequence[Window], num_steps: int) -> float:
    """Returns the mean error of `num_steps` Euler steps."""
    grid = torch.linspace(0, 1, num_steps + 1)
    return mean_error(windows, (Euler().solve(w.field, w.states[0], grid.to(w.states)) for w in windows))


def curvature(windows: Sequence[Window]) -> Float[Tensor, " k"]:
    """Returns the mean `‖x″‖ / ‖x(1)‖` of the converged states by second differences, repeated at both ends."""
    found = []
    for window in windows:
        states = window.states[::STRIDE]
        bend = states.diff(n=2, dim=0).flatten(2).norm(dim=2) * (len(states) - 1) ** 2
        found.append(bend / states[-1].flatten(1).norm(dim=1))
    inner = torch.cat(found, 1).mean(1).double().cpu()
    return torch.cat([inner[:1], inner, inner[-1:]])


@dataclass(frozen=True, kw_only=True)
class Takes:
    """Clips to solve: each recording with each noise seed, cycling through the portraits."""

    images: Sequence[str]
    audios: Sequence[str]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        if not self.seeds:
            raise UserError("seeds=[] must be one or more integers")

    def conditions(
        self, pipeline: Pipeline, images: Sequence[str | Path], audios: Mapping[str, AudioInput]
    ) -> list[ClipConditions]:
        """Prepares the clips; `images` and `audios` are used if none are configured."""
        faces: Sequence[str | Path] = self.images or images
        voices = {name: name for name in self.audios} or audios
        found = []
        for number, (name, audio) in enumerate(voices.items()):
            rate_hz = None if self.audios else RATE_HZ
            result = pipeline(faces[number % len(faces)], audio, rate_hz=rate_hz, id=name)
            found += [replace(result.clip.conditions, seed=seed) for seed in self.seeds]
        return found


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Fits steps for each number of `evaluations` to the clips of `fit`, and tests them on those of `held_out`.

    Grids are uniform grids, shifted and raised to a power: the best of `shifts` with the first of `exponents`, then the
    best of `exponents`, by the error on the clips of `fit`. `tolerance`: of the converged trajectories. `weights`:
    returns the hash of the weights.
    """

    load: Callable[[], Pipeline]
    weights: Callable[[], str]
    guidance: Mapping[str, Any]
    evaluations: Sequence[int]
    fit: Takes
    held_out: Takes
    shifts: Sequence[float]
    exponents: Sequence[float]
    tolerance: float
    output: Path

    def __post_init__(self) -> None:
        if self.output.suffix != ".safetensors":
            raise UserError(f"output={self.output} must end in .safetensors")
        for name, values in {
            "evaluations": self.evaluations,
            "shifts": self.shifts,
            "exponents": self.exponents,
        }.items():
            if not values or not all(value > 0 for value in values):
                raise UserError(f"{name}={list(values)} must be one or more positive numbers")

    def run(self, console: Console) -> None:
        """Fits the steps, prints their errors and writes the file atomically."""
        weights, pipeline = self.weights(), self.load()
        with pipeline.computing():
            windows, held_out = self._windows(pipeline)
            steps, results = dict[int, Steps](), list[dict[str, float]]()
            for number in sorted(set(self.evaluations)):
                steps[number], settings = self._best(windows, number)
                errors = {
                    "held_out_error": fitted_error(held_out, steps[number]),
                    "held_out_error_of_euler": euler_error(held_out, number),
                }
                results.append({"evaluations": number, **settings, **errors})
        fitted_to = {
            "weights": weights,
            "guidance": self.guidance,
            "clips": describe(self.fit),
            "held_out_clips": describe(self.held_out),
            "tolerance": self.tolerance,
            "steps": results,
        }
        with whole(self.output) as part:
            save_steps(steps, fitted_to, part, curvature(windows))
        rows = [[f"{value:.4g}" for value in entry.values()] for entry in results]
        console.print(
            Table([name.replace("_", " ") for name in results[0]], rows, "relative error to converged motion")
        )
        say(console, f"use the fitted steps with solver=fitted solver.file={self.output}")

    def _windows(self, pipeline: Pipeline) -> tuple[list[Window], list[Window]]:
        """Returns the windows of the clips to fit, and of those held out."""
        spoken = recordings()
        seen, unseen = spoken[1 : 1 + len(spoken) // 2], [*spoken[:1], *spoken[1 + len(spoken) // 2 :]]
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for number, (takes, speech) in enumerate([(self.fit, seen), (self.held_out, unseen)]):
                faces = save_portraits(Path(folder), num=len(speech), size_px=PORTRAIT_PX, seed=number)
                voices = {utterance.id: utterance.waveform for utterance in speech}
                found.append(solve_windows(pipeline, takes.conditions(pipeline, faces, voices), self.tolerance))
        return found[0], found[1]

    def _best(self, windows: Sequence[Window], number: int) -> tuple[Steps, dict[str, float]]:
        """Returns the steps on the best grid, with its settings and error."""
        tried: dict[tuple[float, float], tuple[Steps, float]] = {}

        def error(shift: float, exponent: float) -> float:
            if (shift, exponent) not in tried:
                grid = Shifted(shift=shift)(number + 1, torch.float64)
                tried[shift, exponent] = fit(windows, Power(exponent=exponent).place(grid).tolist())
            return tried[shift, exponent][1]

        shift = min(self.shifts, key=lambda shift: error(shift, self.exponents[0]))
        exponent = min(self.exponents, key=lambda exponent: error(shift, exponent))
        steps, found = tried[shift, exponent]
        return steps, {"shift": shift, "exponent": exponent, "error": found}


def describe(takes: Takes) -> dict[str, Any]:
    """Returns the file names, without folders, and seeds of clips."""
    audios = [Path(name).name for name in takes.audios] or "the recordings of this package"
    return {"audios": audios, "images": [Path(name).name for name in takes.images], "seeds": list(takes.seeds)}
