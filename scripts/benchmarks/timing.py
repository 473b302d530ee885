"""Timing of a call."""

import time
from collections.abc import Callable


def timed(act: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
