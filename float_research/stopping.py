"""Signals that ask a run to end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TypeVar

STOP_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
STOP_SIGNALS = tuple(signal.Signals[name] for name in STOP_NAMES if hasattr(signal, name))
"""Those that the platform knows: Windows has the first two."""

F = TypeVar("F", bound=Callable[..., object])


class Stopped(SystemExit):
    """A signal, as an exception that no library handles: what is half-written is discarded on the way out."""


_received: list[int] = []
"""The signal that is being obeyed."""
_callbacks: set[CodeType] = set()
_holding = 0
"""How many blocks put signals off."""
PARENT_S = 0.5
"""How often a worker looks after the process that started it."""


def _stop(number: int, frame: FrameType | None) -> None:
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second one would interrupt the tidying up
    _received.append(number)
    if not _holding and (frame is None or frame.f_code not in _callbacks):
        raise Stopped(number)


def callback(function: F) -> F:
    """Marks a function that an extension calls from C, where an exit would be at once: no signal is raised within.

    It is by the next `check_stopped`.
    """
    _callbacks.add(function.__code__)
    return function


@contextmanager
def held() -> Iterator[None]:
    """Puts a signal off until the end of a few lines that must not be parted, as making a file and noting its name."""
    global _holding  # noqa: PLW0603, one main thread receives all signals
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
    """Raises Stopped again in a run that was asked to end and goes on.

    The first is lost where it falls into a callback of an extension, such as FFmpeg's or a destructor.
    """
    if _received:
        raise Stopped(_received[-1])


@contextmanager
def stoppable() -> Iterator[None]:
    """Raises Stopped at a signal that asks to end. Where a launcher listens for it, it is told once all is tidied up.

    A signal that is ignored stays so, as nohup wants it, and a shell that starts a program in the background. SLURM
    warns of a time limit by a signal, upon which submitit requeues the job.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    former = {int(number): signal.signal(number, _stop) or signal.SIG_DFL for number in heeded}
    try:
        yield
    except BaseException:
        if not _received:  # Ray makes another exception of Stopped
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


def end_with(parent: int) -> None:
    """Lets a worker process end as by SIGTERM once the process that started it is gone, in whatever way."""
    if os.getpid() != parent and all(thread.name != end_with.__name__ for thread in threading.enumerate()):
        threading.Thread(target=_end_after, args=(parent,), name=end_with.__name__, daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_S)
    while True:  # the first is obeyed, further ones are ignored while all is tidied up, and one then ends the process
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PARENT_S)
