"""Seconds spent in each stage."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from float_research.devices import finish

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by stage. Waits for the thread's stream of a GPU at both ends: work counts where it is caused."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str, *, within: str | None = None) -> Iterator[None]:
        """Times a stage. Its seconds do not count for the stage `within` which it happens."""
        started = self._now()
        try:
            yield
        finally:
            seconds = self._now() - started
            self.seconds[name] += seconds
            if within is not None:
                self.seconds[within] -= seconds

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Passes items on, timing only how long each takes to come."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def _now(self) -> float:
        finish(self.device)
        return time.perf_counter()
