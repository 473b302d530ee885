"""Stages of a pipeline at work at the same time."""

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue
from typing import TypeVar

import torch

from float_research.devices import own_stream
from float_research.stopping import held

T = TypeVar("T")


class _End:
    """Comes last, with the exception that ended the maker, if one did."""

    def __init__(self, error: BaseException | None):
        self.error = error


def ahead(items: Generator[T], *, at_most: int, device: torch.device) -> Generator[T]:
    """Passes on, in order, what a thread of its own makes beforehand; `at_most` items wait to be taken.

    The maker works in the caller's modes, on a GPU in a stream of its own. What it hands over has to be finished there,
    as after `Stopwatch.each`. Its exception is raised here, after the items before. Closing this generator closes the
    maker, once the item in hand is made, and waits for that.

    A signal may interrupt this thread in any line. So the two threads meet in SimpleQueues alone: the locks of a
    Semaphore or an Event stay locked if an exception comes as they are taken, those of a Thread too.
    """
    queue: SimpleQueue[T | _End] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()
    for _ in range(at_most):
        room.put(None)
    closed = False
    num_threads, modes = torch.get_num_threads(), callers_modes(device)

    def make() -> None:
        error: BaseException | None = None
        try:
            with modes():
                while True:
                    room.get()
                    if closed:
                        break
                    queue.put(next(items))
        except StopIteration:
            pass
        except BaseException as caught:
            error = caught
        finally:
            items.close()
            queue.put(_End(error))

    def close() -> None:
        nonlocal closed
        with held():
            closed = True
            room.put(None)
            if maker.is_alive():
                maker.join()
        torch.set_num_threads(num_threads)  # some libraries have one number for all threads

    maker = threading.Thread(target=make)
    try:
        try:
            with held():
                maker.start()
            while not isinstance(item := queue.get(), _End):
                room.put(None)
                yield item
            if item.error is not None:
                raise item.error
        finally:
            close()
    finally:
        close()  # a signal may have interrupted the first time


def threads_of_a_stage() -> int:
    """Half as many for operators as this thread has, for two stages share a CPU."""
    return max(1, torch.get_num_threads() // 2)


def callers_modes(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """The inference mode and autocast of this thread, to be entered in another.

    There, a GPU has a stream of its own, and operators on a CPU `threads_of_a_stage`.
    """
    kind, inference = device.type, torch.is_inference_mode_enabled()
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    num_threads = threads_of_a_stage()

    def enter() -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode(inference))
        stack.enter_context(torch.autocast(kind, dtype, enabled=enabled))
        stack.enter_context(own_stream(device))
        if kind == "cpu":
            torch.set_num_threads(num_threads)
        return stack

    return enter
