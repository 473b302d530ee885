"""Progress of a run, passed on to loggers while it is at work."""

import time
from collections.abc import Sequence
from contextlib import suppress

from float_research.inference.progress import ProgressBars, Silent
from float_research.tracking.logger import LiveLogger

EVERY_S = 2.0


class LiveProgress:
    """Observes a run for its progress bars and, at most every two seconds, for loggers."""

    def __init__(self, bars: ProgressBars, loggers: Sequence[LiveLogger]):
        self.bars, self.loggers = bars, loggers
        self.counts = {"progress/clips": 0, "progress/windows": 0, "progress/frames": 0}
        self.started_s = time.monotonic()
        self.reported_s = self.started_s - EVERY_S

    def __reduce__(self) -> tuple[type[Silent], tuple[()]]:
        """Pickles as `Silent`: only one process reports."""
        return Silent, ()

    def clip_started(self, id: str, num_frames: int, num_windows: int) -> None:
        self.bars.clip_started(id, num_frames, num_windows)

    def frames_written(self, id: str, num_frames: int, window: int) -> None:
        self.bars.frames_written(id, num_frames, window)
        self._count(frames=num_frames, windows=1)

    def clip_finished(self, id: str) -> None:
        self.bars.clip_finished(id)
        self._count(clips=1)

    def _count(self, **more: int) -> None:
        for name, number in more.items():
            self.counts[f"progress/{name}"] += number
        now = time.monotonic()
        if now < self.reported_s + EVERY_S:
            return
        self.reported_s = now
        numbers = {**self.counts, "progress/frames_per_s": self.counts["progress/frames"] / (now - self.started_s)}
        for logger in self.loggers:
            with suppress(Exception):  # a run does not depend on its loggers
                logger.progress(numbers)
