"""The interface of metrics.

A metric declares what it `needs` and the `numbers` that it may find. It returns numbers, traces over the frames, or the
reason why a number is absent; never a zero in place of a missing one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.errors import UserError
from float_research.metrics.requirements import Requirements
from float_research.metrics.track import MotionTrack
from float_research.types import Image, Waveform

T = TypeVar("T")
Trace = Float[np.ndarray, " t"]
Columns = Mapping[str, Float[np.ndarray, " n"]]


class Need(StrEnum):
    """The inputs of metrics."""

    MOTION = "motion latents"
    FRAMES = "video frames"
    AUDIO = "the recording"
    PORTRAIT = "the portrait"
    SOLUTION = "the model and its settings"


class Better(StrEnum):
    """The better direction of a number."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Number:
    """A number that a metric may find. `better`: its better direction, the value that it is best close to, or None.

    `headline`: whether tables and comparisons show it first.
    """

    name: str
    unit: str
    better: Better | float | None
    headline: bool = False


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Results: numbers, reasons for absent ones, traces with one value per frame (NaN if missing), other tables."""

    metrics: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    tables: dict[str, Columns] = field(default_factory=dict)

    def add(self, found: "Findings") -> None:
        """Adds more findings; a number that is not finite becomes absent."""
        for name, value in found.metrics.items():
            if np.isfinite(value):
                self.metrics[name] = float(value)
            else:
                self.absent[name] = f"came out as {value}"
        self.absent.update(found.absent)
        self.traces.update(found.traces)
        self.tables.update(found.tables)


@runtime_checkable
class Solution(Protocol):
    """Solves the motion of a clip to convergence, with the same noise."""

    def motion(self, *, atol: float, rtol: float) -> Float[Tensor, "t d"]:
        """Returns the converged motion."""

    def flow_errors(self, *, atol: float, rtol: float) -> Columns:
        """Returns `window`, `step`, `flow_time`, `error`: the relative error of the run's solver at its grid points."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A clip as known before its first frame. `missing`: need → why it is not available.

    `portrait`: the model's input crop. `toy`: whether it shows a face of the toy world. `read`: yields the frames of
    another video at a frame rate.
    """

    id: str
    num_frames: int
    fps: float
    toy: bool
    emotions: Sequence[str]
    portrait: Image | None
    waveform: Waveform | None
    sampling_rate_hz: int
    solution: Solution | None
    read: Callable[[Path, float], Iterator[Image]]
    missing: Mapping[Need, str]

    def without(self, need: Need) -> str | None:
        """Returns why a number that needs this is absent, or None if it is there."""
        return f"needs {need}, and {self.missing[need]}" if need in self.missing else None


class Frames:
    """Consecutive frames of a clip, and results that several metrics share, computed once.

    `carried`: what is kept from one part of the clip to the next.
    """

    def __init__(self, images: UInt8[np.ndarray, "n h w 3"], carried: dict[Any, Any] | None = None) -> None:
        self.images = images
        self.carried = {} if carried is None else carried
        self._shared: dict[Any, Any] = {}

    @cached_property
    def grey(self) -> UInt8[np.ndarray, "n h w"]:
        """Luma by ITU-R BT.601."""
        return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in self.images])

    def shared(self, key: Any, make: Callable[[UInt8[np.ndarray, "n h w 3"]], T]) -> T:
        """Returns `make(images)`, computed once for each key."""
        if key not in self._shared:
            self._shared[key] = make(self.images)
        return self._shared[key]


def tabulate(
    width: int, measure: Callable[[Frames], Float[np.ndarray, "n k"]]
) -> Generator[None, Frames | None, Float[np.ndarray, "t k"]]:
    """Watches all frames of a clip; returns `width` values of each, which `measure` returns of some frames."""
    rows: list[list[float]] = []  # not small arrays, which would fragment freed memory
    while (frames := (yield)) is not None:
        rows += measure(frames).tolist()
    return np.array(rows).reshape(-1, width)


class Metric(ABC):
    """The base of all metrics. `requires`: what it needs on this machine besides the inputs it `needs`.

    `reads_videos`: whether it measures files instead of the network's frames.
    """

    numbers: ClassVar[tuple[Number, ...]]
    needs: ClassVar[frozenset[Need]]
    requires: ClassVar[Requirements | None] = None
    reads_videos: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(number.name for number in self.numbers)

    def lacks(self) -> str | None:
        """Returns why it cannot run on this machine: a missing setting, package or file."""
        return None if self.requires is None else self.requires.lacking(partial(getattr, self))


class ClipMetric(Metric):
    """A metric of a single clip."""

    def obstacle(self, clip: Subject) -> str | None:
        """Returns why it cannot measure this clip."""
        missing = [reason for need in sorted(self.needs) if (reason := clip.without(need))]
        return missing[0] if missing else self.lacks()


class MotionMetric(ClipMetric):
    """Measures the motion latents of a whole clip."""

    @abstractmethod
    def measure(self, clip: Subject, track: MotionTrack) -> Findings:
        """Measures a clip. A UserError becomes the reason why its numbers are absent."""


Watching = Generator[None, Frames | None, Findings]
"""A running metric: it is sent frames as they are written, then None, and returns its findings."""


class FrameMetric(ClipMetric):
    """Measures frames as they are written."""

    @abstractmethod
    def watch(self, clip: Subject) -> Watching:
        """Starts measuring a clip: `while (frames := (yield)) is not None: …`, then `return Findings(…)`."""


class RunMetric(Metric):
    """Measures all videos of a run together."""

    reads_videos = True

    @abstractmethod
    def compare(self, videos: Sequence[Path], read: Callable[[Path], Iterator[Image]]) -> Findings:
        """Measures the run's videos."""


class MeansMetric(Metric):
    """Computes numbers of a run from the means over its clips."""

    needs = frozenset()

    @abstractmethod
    def summarise(self, means: Mapping[str, float], absent: Mapping[str, str]) -> Findings:
        """Returns the numbers, given the mean of each metric over the clips that have it, and why a clip lacks it."""


def check_names(metrics: Sequence[Metric]) -> None:
    """Raises a UserError if two metrics share a name."""
    names = [name for metric in metrics for name in metric.names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"two metrics are named {twice[0]}; list each of them once")
