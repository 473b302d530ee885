"""Runs all metrics of one clip. One that fails is reported, and the others continue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from float_research.errors import UserError
from float_research.metrics.metric import (
    ClipMetric,
    Findings,
    FrameMetric,
    Frames,
    Metric,
    MotionMetric,
    Subject,
    Watching,
)
from float_research.metrics.precision import computing_in
from float_research.metrics.track import MotionTrack

SEEN_TOGETHER, MOST_BYTES = 16, 64 * 2**20
"""How many frames metrics get at a time, fewer if they are large: their networks read them faster than one by one."""


class Panel:
    """Passes a clip's frames and motion to its metrics. Frames are gathered until there are `SEEN_TOGETHER`."""

    def __init__(self, metrics: Sequence[ClipMetric], clip: Subject) -> None:
        self.clip, self.found = clip, Findings()
        self._watching: dict[int, tuple[FrameMetric, Watching]] = {}
        self._later: list[MotionMetric] = []
        self._carried: dict[Any, Any] = {}
        self._waiting: list[UInt8[np.ndarray, "n h w 3"]] = []
        for number, metric in enumerate(metrics):
            if reason := metric.obstacle(clip):
                self.found.absent.update(dict.fromkeys(metric.names, reason))
            elif isinstance(metric, MotionMetric):
                self._later.append(metric)
            elif isinstance(metric, FrameMetric):
                with reported(self.found, metric):
                    watching = metric.watch(clip)
                    next(watching)
                    self._watching[number] = metric, watching

    @property
    def wants_frames(self) -> bool:
        return bool(self._watching)

    def see(self, images: UInt8[np.ndarray, "n h w 3"]) -> None:
        """Takes the next frames, which may be overwritten later."""
        if not self._watching or not len(images):
            return
        self._waiting.append(images.copy())
        together = max(1, min(SEEN_TOGETHER, MOST_BYTES // images[0].nbytes))
        if sum(map(len, self._waiting)) >= together:
            self._show()

    def _show(self) -> None:
        """Passes the frames that wait to the frame metrics."""
        if not self._waiting:
            return
        frames, self._waiting = Frames(np.concatenate(self._waiting), self._carried), []
        for number, (metric, watching) in list(self._watching.items()):
            del self._watching[number]
            with reported(self.found, metric):
                watching.send(frames)
                self._watching[number] = metric, watching

    def finish(self, track: MotionTrack | None) -> Findings:
        """Returns the findings of all metrics. `track` may only be None if the clip lists it as missing."""
        self._show()
        for metric, watching in self._watching.values():
            with reported(self.found, metric):
                try:
                    watching.send(None)
                except StopIteration as end:
                    self.found.add(end.value)
        for later in self._later:
            assert track is not None
            with reported(self.found, later):
                self.found.add(later.measure(self.clip, track))
        self._watching, self._later = {}, []
        return self.found


@contextmanager
def reported(found: Findings, metric: Metric) -> Iterator[None]:
    """Runs a metric in 32 bits, and records an exception as the reason why its numbers are absent.

    A UserError is recorded by its message only.
    """
    try:
        with computing_in(torch.float32):
            yield
    except Exception as error:
        text = " ".join(str(error).split())
        reason = text if isinstance(error, UserError) else f"failed with {type(error).__name__}: {text}"
        found.absent.update(dict.fromkeys(metric.names, reason))
