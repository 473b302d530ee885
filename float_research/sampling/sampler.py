"""Sampling of clips: noise → ODE → motion latents, window by window (FLOAT section 3.2, arXiv 2412.01064)."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.budget import Budget, Evaluations
from float_research.sampling.chunking import Chunking
from float_research.sampling.guidance import Guidance
from float_research.sampling.noise import Noise, candidate_seed
from float_research.sampling.sampling_noise import Sde, step_noise
from float_research.sampling.solver import Solver
from float_research.sampling.stitch import Stitch
from float_research.sampling.time_grid import TimeGrid, Uniform
from float_research.sampling.values import check_values
from float_research.texts import count
from float_research.types import ClipConditions, Conditions, Cost, MotionWindow, Network, VectorField


@dataclass
class Meter:
    """Counts actual evaluations of the guided field and guidance branches."""

    evaluations: int = 0
    branches: int = 0

    def network(self, network: Network) -> Network:
        def conditioned(conditions: Conditions) -> VectorField:
            field = network(conditions)

            def metered(t: Tensor, x: Tensor) -> Tensor:
                self.branches += len(x)
                return field(t, x)

            return metered

        return conditioned

    def field(self, field: VectorField) -> VectorField:
        def metered(t: Tensor, x: Tensor) -> Tensor:
            self.evaluations += 1
            return field(t, x)

        return metered


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen candidate, the verifier's score of each, and the cost of verification."""

    candidate: int
    scores: Sequence[float | None]
    cost: Cost

    def of(self, rivals: Sequence[Sequence[MotionWindow]]) -> Iterator[MotionWindow]:
        """Yields the windows of the chosen candidate; the first carries the cost of all candidates."""
        cost = sum((window.cost for windows in rivals for window in windows), self.cost)
        first, *later = rivals[self.candidate]
        yield replace(first, cost=cost, scores=self.scores)
        yield from (replace(window, cost=Cost()) for window in later)


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """Several candidates for each window, `at_once` of them in one batch.

    `choose` takes the index of a clip and the windows of each candidate.
    """

    num: int
    at_once: int
    choose: Callable[[int, Sequence[Sequence[MotionWindow]]], Choice]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Samples motion from conditions.

    `temperature` τ scales the initial noise of any kind: `x_0 = τ ε`; below 1 the motion is closer to the mean.
    """

    solver: Solver
    nfe: int
    budget: Budget
    time_grid: TimeGrid
    guidance: Guidance
    noise: Noise
    chunking: Chunking
    stitch: Stitch
    seed: int
    guidance_reuse: int
    temperature: float
    sampling_noise: Sde
    grid_points: int = field(init=False)

    def __post_init__(self) -> None:
        check_values(nfe=self.nfe, guidance_reuse=self.guidance_reuse, temperature=self.temperature)
        if self.guidance_reuse > 1 and self.solver.evaluation_times([0.0, 1.0]) is None:
            raise UserError(
                f"guidance_reuse={self.guidance_reuse} needs a solver with fixed steps: {self.solver.name} "
                "controls its steps by error estimates, which reused differences would distort; use guidance_reuse=1"
            )
        object.__setattr__(self, "grid_points", self.budget(self.nfe, self.solver))
        self.sampling_noise.check(self.solver, self.grid(torch.float32).tolist())
        self.stitch.overlap(self.chunking.window_frames)

    def notes(self) -> list[str]:
        """Returns a sentence if evaluations of the budget are left over, since solvers take whole steps."""
        used = self.solver.evaluations(self.grid_points - 1)
        if not isinstance(self.budget, Evaluations) or used is None or used == self.nfe:
            return []
        said = f"nfe={self.nfe}: solver {self.solver.name} uses only {count(used, 'evaluation')}, since steps are whole"
        return [f"{said}; nfe={used} or nfe={self.solver.evaluations(self.grid_points)} leaves none over"]

    def grid(self, dtype: torch.dtype) -> Float[Tensor, " n"]:
        """Returns flow times from 0 to 1: the solver's own grid if it has one."""
        own = self.solver.points(self.grid_points)
        if own is None:
            return self.time_grid(self.grid_points, dtype)
        if not isinstance(self.time_grid, Uniform):
            raise UserError(f"solver {self.solver.name} has its own time grid; keep the default time_grid=uniform")
        return torch.tensor(own, dtype=dtype)

    def num_windows(self, num_frames: int) -> int:
        return len(self.stitch.starts(num_frames, self.chunking.window_frames))

    def declared_cost(self, num_frames: int) -> Cost | None:
        """Returns the cost of a clip of `num_frames`; None if the solver chooses its own evaluations."""
        times = self.solver.evaluation_times(self.grid(torch.float32).tolist())
        if times is None:
            return None
        rounds = len(self.rounds(num_frames))
        branches = self.guidance.declared_branches(times, self.guidance_reuse)
        return Cost(len(times) * rounds, branches * self.num_windows(num_frames))

    def windows_at_once(self, num_frames: int) -> int:
        """Returns the largest number of windows of a clip in one batch of the network."""
        return max(map(len, self.rounds(num_frames)))

    def __call__(
        self, network: Network, clips: Sequence[ClipConditions], rivals: Rivals | None = None
    ) -> Iterator[MotionWindow]:
        """Yields motion of the clips, sampled in one batch: in order within each clip, as soon as it is final.

        With `rivals`, the best candidate of each window is chosen first and becomes the history of the next window.
        """
        tracks = [_Track(index, clip, self) for index, clip in enumerate(clips)]
        rounds = [self.rounds(clip.num_frames) for clip in clips]
        for k in range(max(map(len, rounds))):
            active = {i: rounds[i][k] for i in range(len(clips)) if k < len(rounds[i])}
            for group in self._groups(active):
                starts = active[group[0]]
                if rivals is None:
                    for _, windows in self._advance(network, [tracks[i] for i in group], starts):
                        yield from windows
                    continue
                forks: dict[int, list[tuple[_Track, list[MotionWindow]]]] = defaultdict(list)
                at_once = 1 if self.solver.couples_clips else rivals.at_once
                for first in range(0, rivals.num, at_once):
                    some = range(first, min(first + at_once, rivals.num))
                    for fork, windows in self._advance(
                        network, [tracks[i].fork(candidate) for i in group for candidate in some], starts
                    ):
                        forks[fork.index].append((fork, windows))
                for i in group:
                    sampled = [windows for _, windows in forks[i]]
                    choice = rivals.choose(i, sampled)
                    tracks[i], _ = forks[i][choice.candidate]
                    yield from choice.of(sampled)

    def _advance(
        self, network: Network, tracks: Sequence["_Track"], starts: Sequence[int]
    ) -> Iterator[tuple["_Track", list[MotionWindow]]]:
        """Solves windows of several tracks in one batch; yields each track with its final frames."""
        solved, cost = self._solve(network, tracks, starts)
        for track, motion in zip(tracks, solved, strict=True):
            yield track, list(track.finish(motion, starts, cost))

    def rounds(self, num_frames: int) -> list[list[int]]:
        """Returns the first frames of the windows in solving order; those in one list are solved together."""
        return self.stitch.rounds(num_frames, self.chunking.window_frames)

    def _groups(self, active: Mapping[int, Sequence[int]]) -> list[list[int]]:
        """Groups clips into batches: by number of windows, or one by one if the solver couples clips."""
        groups = defaultdict(list)
        for i, starts in active.items():
            groups[i if self.solver.couples_clips else len(starts)].append(i)
        return list(groups.values())

    def _solve(
        self, network: Network, tracks: Sequence["_Track"], starts: Sequence[int]
    ) -> tuple[Float[Tensor, "b t d"], Cost]:
        conditions = stack([track.conditions(start) for track in tracks for start in starts])
        reference = conditions.reference
        precision = torch.promote_types(reference.dtype, torch.float32)
        noise = torch.stack([track.start(starts) for track in tracks]).to(reference.device, precision)
        meter = Meter()
        decides = self.solver.evaluation_times([0.0, 1.0]) is None
        guidance = self.guidance.settled() if decides else self.guidance
        guided = guidance.guide(meter.network(network), conditions, self.guidance_reuse)
        field = meter.field(self.stitch.join(guided, len(starts), self.chunking.window_frames))

        def draw_noise(step: int) -> Float[Tensor, "b t d"]:
            return torch.stack([track.step_noise(step, starts) for track in tracks])

        noise = self.temperature * noise
        solved = self.sampling_noise.solve(self.solver, field, noise, self.grid(precision), draw_noise)
        if not torch.isfinite(solved).all():
            end = starts[-1] + self.chunking.window_frames
            raise UserError(
                f"the motion of frames {starts[0]} to {end} is not finite; lower the guidance scales, raise "
                "nfe, or use vector_field.precision=float32"
            )
        return solved, Cost(meter.evaluations, meter.branches // len(tracks))


class _Track:
    """Sampling state of one clip: its padded conditions and the motion before the next window."""

    def __init__(self, index: int, clip: ClipConditions, sampler: Sampler):
        self.index, self.stitch = index, sampler.stitch
        self.num_frames: float = clip.num_frames
        self.noise, self.candidates = sampler.noise, clip.candidates
        self.streams: dict[int, Iterator[tuple[int, Float[Tensor, "l d"]]]] = {}
        self.rival: int | None = None
        self.previous, self.window = sampler.chunking.previous_frames, sampler.chunking.window_frames
        self.hop = self.window - self.stitch.overlap(self.window)
        self.id, self.seed = clip.id, sampler.seed if clip.seed is None else clip.seed
        self.reference = clip.reference
        self.know(clip.audio, clip.emotion, 0)
        self.history = torch.zeros(self.previous, len(clip.reference), device=clip.reference.device)
        self.tail: Float[Tensor, "o d"] | None = None

    def know(self, audio: Float[Tensor, "t a"], emotion: Float[Tensor, "t e"], first: int) -> None:
        """Replaces the conditions by those from frame `first` on. Before a clip, sound is zero, emotion as at first."""
        before = 0 if first else self.previous
        self.audio = torch.cat([audio.new_zeros(before, audio.shape[1]), audio])
        self.emotion = torch.cat([emotion[:1].expand(before, -1), emotion])
        self.first = first + self.previous - before

    def fork(self, candidate: int) -> "_Track":
        """Returns a copy that uses a candidate's noise. Tensors are shared; none is changed in place."""
        fork = copy.copy(self)
        fork.rival = candidate
        return fork

    def candidate(self, start: int) -> int:
        if self.rival is not None:
            return self.rival
        return self.candidates[start // self.hop] if self.candidates else 0

    def start(self, starts: Sequence[int]) -> Float[Tensor, "t d"]:
        """Returns the initial noise of windows solved together; overlaps take that of the earlier window."""
        return torch.cat([self._noise(start)[-self.hop if k else 0 :] for k, start in enumerate(starts)])

    def _noise(self, start: int) -> Float[Tensor, "l d"]:
        """Returns the noise of a window, skipping earlier windows in its candidate's stream."""
        candidate = self.candidate(start)
        if candidate not in self.streams:
            size: dict[str, Any] = {"num_frames": self.window, "latent_dim": len(self.reference)}
            seed = candidate_seed(self.seed, candidate)
            self.streams[candidate] = enumerate(self.noise(seed=seed, clip=self.id, **size))
        return next(noise for window, noise in self.streams[candidate] if window == start // self.hop)

    def step_noise(self, step: int, starts: Sequence[int]) -> Float[Tensor, "t d"]:
        """Returns the noise of a step for windows solved together; overlaps take that of the earlier window."""
        which: dict[str, Any] = {"clip": self.id, "step": step}
        size: dict[str, Any] = {"num_frames": self.window, "latent_dim": len(self.reference)}
        drawn = [
            step_noise(seed=candidate_seed(self.seed, self.candidate(start)), window=start // self.hop, **which, **size)
            for start in starts
        ]
        return torch.cat([noise[-self.hop if k else 0 :] for k, noise in enumerate(drawn)])

    def conditions(self, start: int) -> Conditions:
        audio = self._positions(self.audio, start)
        return Conditions(
            audio=audio[self.previous :][None],
            reference=self.reference[None],
            emotion=self._positions(self.emotion, start)[None],
            previous_motion=self.history[None],
            previous_audio=audio[: self.previous][None],
        )

    def _positions(self, padded: Float[Tensor, "t c"], start: int) -> Float[Tensor, "n c"]:
        """Returns the previous positions and those of the window; past the clip's end the last one is repeated."""
        found = padded[start - self.first :][: self.previous + self.window]
        missing = self.previous + self.window - len(found)
        return torch.cat([found, found[-1:].expand(missing, -1)])

    def finish(self, solved: Float[Tensor, "t d"], starts: Sequence[int], cost: Cost) -> Iterator[MotionWindow]:
        """Yields a window of final frames for each of the windows solved together.

        The first window carries the cost of solving.
        """
        for start in starts:
            offset = start - starts[0]
            end = None if start == starts[-1] else offset + self.hop
            last = start + self.window >= self.num_frames
            yield MotionWindow(
                index=self.index,
                start=start,
                motion=self.advance(solved[offset:end], int(self.num_frames) - start if last else self.hop),
                cost=cost if start == starts[0] else Cost(),
                candidate=self.candidate(start),
            )

    def advance(self, solved: Float[Tensor, "l d"], num_final: int) -> Float[Tensor, "f d"]:
        """Blends in the solved window; returns the frames that are now final."""
        if self.tail is not None and len(self.tail):
            shared = len(self.tail)
            solved = torch.cat([self.stitch.blend(self.tail, solved[:shared]), solved[shared:]])
        final, self.tail = solved[:num_final], solved[num_final:]
        self.history = torch.cat([self.history.to(final.dtype), final])[len(final) :]
        return final


class OpenClip:
    """A clip of unknown length, sampled as its conditions arrive: the windows, noise and history of a whole clip.

    `seed`: None is the sampler's.
    """

    def __init__(
        self, sampler: Sampler, network: Network, *, id: str, reference: Float[Tensor, " d"], seed: int | None
    ) -> None:
        if sampler.windows_at_once(3 * sampler.chunking.window_frames) > 1:
            raise UserError(
                f"stitch {type(sampler.stitch).__name__} samples all windows of a clip together, so it needs the whole "
                "recording; use stitch=autoregressive or stitch=crossfade"
            )
        self.sampler, self.network, self.id, self.reference, self.seed = sampler, network, id, reference, seed
        self.start = 0
        self.track: _Track | None = None

    @property
    def end(self) -> int:
        """The frame behind the next window."""
        return self.start + self.sampler.chunking.window_frames

    def covers(self, num_frames: int) -> bool:
        """Returns whether the windows so far are all that a clip of `num_frames` has."""
        return self.start // self._hop >= self.sampler.num_windows(num_frames)

    def advance(
        self, audio: Float[Tensor, "t a"], emotion: Float[Tensor, "t e"], *, first: int, num_frames: int | None
    ) -> MotionWindow:
        """Samples the next window by the conditions from frame `first` on, which include its previous frames.

        `num_frames`: of the clip; None: not known yet, and more than the window has.
        """
        clip = ClipConditions(id=self.id, audio=audio, reference=self.reference, emotion=emotion, seed=self.seed)
        track = self.track = self.track or _Track(0, clip, self.sampler)
        track.know(audio, emotion, first)
        track.num_frames = math.inf if num_frames is None else num_frames
        ((_, (window,)),) = self.sampler._advance(self.network, [track], [self.start])
        self.start += self._hop
        return window

    @property
    def _hop(self) -> int:
        return self.sampler.chunking.window_frames - self.sampler.stitch.overlap(self.sampler.chunking.window_frames)


def stack(windows: Sequence[Conditions]) -> Conditions:
    """Stacks the conditions of several windows into one batch."""
    tensors = [name for name, value in vars(windows[0]).items() if isinstance(value, Tensor)]
    together: dict[str, Any] = {name: torch.cat([getattr(window, name) for window in windows]) for name in tensors}
    return Conditions(**together)
