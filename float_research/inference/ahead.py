"""Prefetching: pipeline phases that run concurrently in threads."""

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
    """Marks the end of the items; holds the exception that ended the worker, if any."""

    def __init__(self, error: BaseException | None):
        self.error = error


def ahead(items: Generator[T], *, at_most: int, device: torch.device) -> Generator[T]:
    """Prefetches up to `at_most` items in a background thread and yields them in order.

    The worker runs in the caller's torch modes and, on a GPU, in its own stream. Items must be complete when it hands
    them over, as after `Stopwatch.each`. Its exception is raised here, after the items before it. Closing this
    generator lets the worker finish its current item, closes `items` and waits for the thread.

    A signal handler may raise at any line of this thread. The threads therefore share only SimpleQueues: the locks of
    a Semaphore, an Event or a Thread stay locked if an exception arrives while they are acquired.
    """
    queue: SimpleQueue[T | _End] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()
    for _ in range(at_most):
        room.put(None)
    closed = False
    num_threads, modes = torch.get_num_threads(), caller_modes(device)

    def work() -> None:
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
            if worker.is_alive():
                worker.join()
        torch.set_num_threads(num_threads)  # in some libraries this number is global

    worker = threading.Thread(target=work)
    try:
        try:
            with held():
                worker.start()
            while not isinstance(item := queue.get(), _End):
                room.put(None)
                yield item
            if item.error is not None:
                raise item.error
        finally:
            close()
    finally:
        close()  # again, in case a signal interrupted the first call


def phase_threads() -> int:
    """Returns half the current number of intra-op threads, because two phases share the CPU."""
    return max(1, torch.get_num_threads() // 2)


def caller_modes(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Returns a context that applies this thread's inference mode and autocast in another thread.

    It also sets a separate stream on a GPU, or `phase_threads` intra-op threads on a CPU.
    """
    kind, inference = device.type, torch.is_inference_mode_enabled()
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    num_threads = phase_threads()

    def enter() -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode(inference))
        stack.enter_context(torch.autocast(kind, dtype, enabled=enabled))
        stack.enter_context(own_stream(device))
        if kind == "cpu":
            torch.set_num_threads(num_threads)
        return stack

    return enter
