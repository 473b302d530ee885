"""Search over initial noise: the best of several candidates, scored by a metric."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.errors import UserError, printable
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import ClipMetric, FrameMetric, Metric, Need, Subject
from float_research.metrics.panel import Panel
from float_research.metrics.track import MotionTrack
from float_research.sampling.sampler import Choice, Rivals, Sampler
from float_research.types import ClipConditions, Cost, MotionWindow, Network

DIRECTIONS = {"max": 1, "min": -1}
CLIP, WINDOW = "clip", "window"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Inputs of a verifier. `frames` decodes motion of clip i at `size_px`; None: full size."""

    subjects: Sequence[Subject]
    directions: Float[Tensor, "d m"]
    frames: Callable[[int, Float[Tensor, "l d"], int | None], Iterator[UInt8[Tensor, "n h w 3"]]]
    watch: Stopwatch


@runtime_checkable
class Search(Protocol):
    """Samples clips, possibly several times each, and yields one motion per clip."""

    @property
    def candidates_at_once(self) -> int:
        """Number of candidates of a clip in one batch of the network."""

    def declared_cost(self, sampler: Sampler, num_frames: int) -> Cost | None:
        """Returns the cost of a clip of `num_frames`; None if the solver chooses its own evaluations."""

    def check(self, image_size: int) -> None:
        """Raises a UserError if a decoder of this image size cannot provide the frames."""

    def __call__(
        self, sampler: Sampler, network: Network, clips: Sequence[ClipConditions], evidence: Evidence
    ) -> Iterator[MotionWindow]: ...


@dataclass(frozen=True, kw_only=True)
class NoSearch:
    """No search: one noise, one motion."""

    @property
    def candidates_at_once(self) -> int:
        return 1

    def declared_cost(self, sampler: Sampler, num_frames: int) -> Cost | None:
        return sampler.declared_cost(num_frames)

    def check(self, image_size: int) -> None:
        pass

    def __call__(
        self, sampler: Sampler, network: Network, clips: Sequence[ClipConditions], evidence: Evidence
    ) -> Iterator[MotionWindow]:
        return sampler(network, clips)


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """Random search with a verifier (arXiv 2501.09732, section 3): `argmax_c s(x(ε_c))` over n initial noises ε_c.

    `s`: the number `verifier` of one of `metrics`, negated if `direction` is min. Candidate 0 has the noise of a run
    without search and is the fallback if no candidate has a score; n = 1 is no search. Candidates differ like different
    seeds under the same noise policy.

    `per` clip: s covers the whole clip, which is sampled before its first frame is decoded. `per` window: s covers a
    window and the previous frames that the network saw, and the best candidate becomes the history of the next window.
    Windows solved together are chosen together. Motion is scored at the model's frame rate.
    """

    n: int
    verifier: str
    direction: str
    per: str
    at_once: int | None
    size_px: int | None
    metrics: Mapping[str, Metric]

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"search.n={self.n} must be at least 1; 1 means no search")
        if self.at_once is not None and self.at_once < 1:
            raise UserError(f"search.at_once={self.at_once} must be at least 1; null samples all candidates at once")
        for name, value, known in (("direction", self.direction, DIRECTIONS), ("per", self.per, (CLIP, WINDOW))):
            if value not in known:
                raise UserError(f"search.{name}={printable(value)} is unknown; choose {' or '.join(known)}")
        names = [name for metric in self.metrics.values() for name in metric.names]
        if self.verifier not in names:
            raise UserError(
                f"search.verifier={printable(self.verifier)} is not computed by search.metrics "
                f"({', '.join(names)}); choose one of these or add its metric, as in 'metrics@search.metrics=[face]'"
            )
        metric = next(metric for metric in self.metrics.values() if self.verifier in metric.names)
        if not isinstance(metric, ClipMetric) or Need.SOLUTION in metric.needs:
            raise UserError(f"search.verifier={self.verifier} cannot score one candidate's motion or frames")
        if reason := metric.lacks():
            raise UserError(f"search.verifier={self.verifier} cannot be computed: it {reason}")

    @property
    def metric(self) -> ClipMetric:
        """The metric that computes the verifier's number."""
        found = (metric for metric in self.metrics.values() if self.verifier in metric.names)
        return next(metric for metric in found if isinstance(metric, ClipMetric))

    @property
    def candidates_at_once(self) -> int:
        return min(self.n, self.at_once or self.n)

    def declared_cost(self, sampler: Sampler, num_frames: int) -> Cost | None:
        cost = sampler.declared_cost(num_frames)
        if cost is None or self.n == 1:
            return cost
        shown = 0
        if isinstance(self.metric, FrameMetric):
            previous = sampler.chunking.previous_frames
            before = [min(previous, starts[0]) for starts in sampler.rounds(num_frames)]
            shown = num_frames + (sum(before) if self.per == WINDOW else 0)
        return (cost + Cost(verified_frames=shown)) * self.n

    def check(self, image_size: int) -> None:
        sizes = [2**level for level in range(3, image_size.bit_length())]
        if self.size_px not in (None, *sizes):
            raise UserError(
                f"search.size_px={self.size_px} is not a resolution level of the decoder; choose one of "
                f"{', '.join(map(str, sizes))}, or null for full size"
            )

    def __call__(
        self, sampler: Sampler, network: Network, clips: Sequence[ClipConditions], evidence: Evidence
    ) -> Iterator[MotionWindow]:
        for subject in evidence.subjects:
            if reason := self.metric.obstacle(subject):
                raise UserError(
                    f"search.verifier={self.verifier} cannot be computed of {printable(subject.id)}: it {reason}"
                )
        if self.n == 1:
            return sampler(network, clips)
        search = self._whole_clips if self.per == CLIP else self._windows
        return search(sampler, network, clips, partial(self._choice, evidence, clips))

    def _whole_clips(
        self, sampler: Sampler, network: Network, clips: Sequence[ClipConditions], choice: "Judge"
    ) -> Iterator[MotionWindow]:
        sampled: list[list[list[MotionWindow]]] = [[[] for _ in range(self.n)] for _ in clips]
        for first in range(0, self.n, self.candidates_at_once):
            some = range(first, min(first + self.candidates_at_once, self.n))
            which = [(i, candidate) for i in range(len(clips)) for candidate in some]
            variants = [
                replace(clips[i], candidates=[candidate] * sampler.num_windows(clips[i].num_frames))
                for i, candidate in which
            ]
            for window in sampler(network, variants):
                i, candidate = which[window.index]
                sampled[i][candidate].append(replace(window, index=i))
        for i, rivals in enumerate(sampled):
            yield from choice(i, rivals).of(rivals)

    def _windows(
        self, sampler: Sampler, network: Network, clips: Sequence[ClipConditions], choice: "Judge"
    ) -> Iterator[MotionWindow]:
        history: dict[int, Tensor] = {}

        def choose(i: int, rivals: Sequence[Sequence[MotionWindow]]) -> Choice:
            chosen = choice(i, rivals, history.get(i))
            past = [history[i]] if i in history else []
            motion = torch.cat([*past, *(window.motion for window in rivals[chosen.candidate])])
            history[i] = motion[max(0, len(motion) - sampler.chunking.previous_frames) :]
            return chosen

        rivals = Rivals(num=self.n, at_once=self.candidates_at_once, choose=choose)
        return sampler(network, clips, rivals)

    def _choice(
        self,
        evidence: Evidence,
        clips: Sequence[ClipConditions],
        i: int,
        rivals: Sequence[Sequence[MotionWindow]],
        history: Float[Tensor, "p d"] | None = None,
    ) -> Choice:
        """Chooses the best candidate: the first of equals, and candidate 0 if none has a score."""
        scores, shown = list[float | None](), 0
        with evidence.watch.phase("verify", within="sample"):
            for windows in rivals:
                score, num_frames = self._score(evidence, clips[i], i, windows, history)
                scores.append(score)
                shown += num_frames
        known = {k: DIRECTIONS[self.direction] * score for k, score in enumerate(scores) if score is not None}
        best = max(known, key=lambda k: known[k], default=0)
        return Choice(candidate=best, scores=scores, cost=Cost(verified_frames=shown))

    def _score(
        self,
        evidence: Evidence,
        clip: ClipConditions,
        i: int,
        windows: Sequence[MotionWindow],
        history: Float[Tensor, "p d"] | None,
    ) -> tuple[float | None, int]:
        """Returns the score of these windows with the motion before them, and the number of frames decoded for it."""
        past = [] if history is None or not len(history) else [history]
        motion = torch.cat([*past, *(window.motion for window in windows)])
        first = windows[0].start - sum(map(len, past))
        span = slice(first, first + len(motion))
        track = MotionTrack(
            motion=motion.cpu(),
            directions=evidence.directions.cpu(),
            emotion=clip.emotion[span].cpu(),
            window_starts=torch.tensor([0] * len(past) + [window.start - first for window in windows]),
        )
        panel, num_frames = Panel([self.metric], excerpt(evidence.subjects[i], span)), 0
        if panel.wants_frames:
            for frames in evidence.frames(i, motion, self.size_px):
                panel.see(frames.cpu().numpy())
                num_frames += len(frames)
        return panel.finish(track).metrics.get(self.verifier), num_frames


class Judge(Protocol):
    """Chooses a candidate of clip i from the windows of each and the motion before them."""

    def __call__(
        self, i: int, rivals: Sequence[Sequence[MotionWindow]], history: Float[Tensor, "p d"] | None = None, /
    ) -> Choice: ...


def excerpt(subject: Subject, frames: slice) -> Subject:
    """Returns consecutive frames of a clip with their sound."""
    assert subject.waveform is not None
    start, end = (round(frame * subject.sampling_rate_hz / subject.fps) for frame in (frames.start, frames.stop))
    return replace(subject, num_frames=frames.stop - frames.start, waveform=subject.waveform[start:end])
