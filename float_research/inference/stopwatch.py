"""Timing of pipeline phases."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from float_research.devices import finish

T = TypeVar("T")


class Stopwatch:
    """Sums seconds per phase. Synchronizes the thread's GPU stream at both ends, so work counts for its own phase."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str, *, within: str | None = None) -> Iterator[None]:
        """Times a phase; its seconds are subtracted from the enclosing phase `within`."""
        started = self._now()
        try:
            yield
        finally:
            seconds = self._now() - started
            self.seconds[name] += seconds
            if within is not None:
                self.seconds[within] -= seconds

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yields the items, timing only how long each takes to produce."""
        iterator = iter(items)
        while True:
            with self.phase(name):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def _now(self) -> float:
        finish(self.device)
        return time.perf_counter()
