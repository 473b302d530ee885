"""Termination signals, turned into an exception that cleans up."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TypeVar

STOP_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
STOP_SIGNALS = tuple(signal.Signals[name] for name in STOP_NAMES if hasattr(signal, name))
"""Those that the platform has: Windows has the first two."""

F = TypeVar("F", bound=Callable[..., object])


class Stopped(SystemExit):
    """A signal as an exception that libraries do not catch. Partial files are discarded as it propagates."""


_received: list[int] = []
"""The signal being handled."""
_callbacks: set[CodeType] = set()
_holding = 0
"""The number of nested blocks that defer signals."""


def _stop(number: int, frame: FrameType | None) -> None:
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second one would interrupt the cleanup
    _received.append(number)
    if not _holding and (frame is None or frame.f_code not in _callbacks):
        raise Stopped(number)


def callback(function: F) -> F:
    """Marks a function that an extension calls from C, where SystemExit would end the process without cleanup.

    A signal that arrives within is raised by the next `check_stopped` instead.
    """
    _callbacks.add(function.__code__)
    return function


@contextmanager
def held() -> Iterator[None]:
    """Defers signals to the end of a block that must not be interrupted, such as creating and registering a file."""
    global _holding  # noqa: PLW0603, only the main thread receives signals
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = len(_received)
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
    if not _holding and len(_received) > before:
        raise Stopped(_received[-1])


def check_stopped() -> None:
    """Raises Stopped again in a run that should have ended.

    The first exception is lost if it is raised in an extension's callback, such as FFmpeg's, or in a destructor.
    """
    if _received:
        raise Stopped(_received[-1])


@contextmanager
def stoppable() -> Iterator[None]:
    """Raises Stopped at a termination signal. A launcher's own handler is called after cleanup.

    Ignored signals stay ignored, as under nohup or in a shell's background jobs. SLURM announces a time limit by a
    signal, at which submitit's handler requeues the job.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    former = {int(number): signal.signal(number, _stop) or signal.SIG_DFL for number in heeded}
    try:
        yield
    except BaseException:
        if not _received:  # Ray replaces Stopped by another exception
            raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if _received:
        number = _received.pop()
        listener = former[number]
        if callable(listener) and listener not in (_stop, signal.default_int_handler):
            listener(number, None)
        raise Stopped(number)
