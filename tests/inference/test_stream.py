"""Prefetching in background threads."""

import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from float_research.errors import UserError
from float_research.inference.ahead import ahead
from float_research.inference.api import Pipeline

CPU = torch.device("cpu")
WAIT_S = 10


class Maker:
    """Counts up and records its calls."""

    def __init__(self, num: int, breaks_at: int | None = None):
        self.num, self.breaks_at = num, breaks_at
        self.made, self.threads, self.closed = 0, set[int](), threading.Event()
        self.changed = threading.Condition()

    def items(self) -> Generator[int]:
        try:
            for number in range(self.num):
                if number == self.breaks_at:
                    raise UserError(f"item {number} is broken")
                self.threads.add(threading.get_ident())
                with self.changed:
                    self.made += 1
                    self.changed.notify_all()
                yield number
        finally:
            self.closed.set()

    def has_made(self, num: int) -> bool:
        """Returns whether `num` items are produced without a consumer."""
        with self.changed:
            return self.changed.wait_for(lambda: self.made >= num, timeout=WAIT_S)


def test_items_come_in_order_from_another_thread() -> None:
    maker = Maker(20)
    assert list(ahead(maker.items(), at_most=3, device=CPU)) == list(range(20))
    assert threading.get_ident() not in maker.threads
    assert len(maker.threads) == 1


def test_at_most_the_given_number_of_items_is_prefetched() -> None:
    maker = Maker(20)
    with closing(ahead(maker.items(), at_most=2, device=CPU)) as made:
        assert next(made) == 0
        assert maker.has_made(3), "two are prefetched while the first is used"
        maker.changed.acquire()
        assert not maker.changed.wait_for(lambda: maker.made > 3, timeout=0.2)
        maker.changed.release()
        assert next(made) == 1
        assert maker.has_made(4)
    assert maker.made <= 5


def test_an_exception_comes_after_the_items_before_it() -> None:
    made = ahead(Maker(9, breaks_at=4).items(), at_most=2, device=CPU)
    assert [next(made) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(UserError, match="item 4 is broken"):
        next(made)


def test_closing_ends_the_worker() -> None:
    maker, before = Maker(10**9), threading.active_count()
    items = maker.items()
    with pytest.raises(KeyboardInterrupt), closing(ahead(items, at_most=2, device=CPU)) as made:
        for item in made:
            if item == 5:
                raise KeyboardInterrupt
    assert maker.closed.is_set()
    assert threading.active_count() == before


def test_an_interrupted_start_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a signal arrived while the thread starts."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    maker = Maker(10**9)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    items = maker.items()
    with pytest.raises(KeyboardInterrupt):
        next(ahead(items, at_most=2, device=CPU))
    assert maker.closed.wait(WAIT_S)


SIGNALS = """
import signal, sys, threading, types
import torch
from float_research.inference.ahead import ahead
from float_research.stopping import stoppable

def stopped_at(moment: int) -> bool:  # the number of an operation of this thread's bytecode
    def trace(frame: types.FrameType, kind: str, arg: object):
        nonlocal moment
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        moment -= kind == "opcode"
        if moment == 0 and kind == "opcode":
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)
        return trace
    items = ahead((number for number in range(9)), at_most=1, device=torch.device("cpu"))
    try:
        with stoppable():
            sys.settrace(trace)
            try:
                for _ in items:
                    pass
            finally:
                sys.settrace(None)
                items.close()
    except SystemExit:
        pass
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    return moment <= 0

signal.signal(signal.SIGTERM, signal.SIG_DFL)
moment = 1
while stopped_at(moment):
    moment += 1
print(moment)
"""


def test_a_signal_at_any_moment_ends_both_threads() -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNALS]
    done = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100, "number of moments tried"


@pytest.mark.parametrize("inference", [True, False])
def test_the_worker_runs_in_the_callers_modes(inference: bool) -> None:
    def modes() -> Generator[tuple[Any, ...]]:
        yield torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    num_threads = torch.get_num_threads()
    with torch.inference_mode(inference), torch.autocast("cpu", torch.bfloat16, enabled=inference):
        assert list(ahead(modes(), at_most=1, device=CPU)) == list(modes())
    assert torch.get_num_threads() == num_threads


@pytest.mark.parametrize("overlap", ["true", "false"])
def test_frames_come_before_the_clip_is_sampled(
    overlap: str,
    load: Callable[..., Pipeline],
    portrait: Path,
    speech: Callable[[float], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, audio = load("nfe=3", f"overlap={overlap}"), speech(9.0)
    expected = pipeline(portrait, audio)
    sampled: list[int] = []
    motion = type(pipeline.core).motion

    def watched(*args: Any) -> Generator[Any]:
        for window in motion(*args):
            sampled.append(window.start)
            yield window

    monkeypatch.setattr(type(pipeline.core), "motion", watched)
    frames = pipeline.stream(portrait, audio)
    first = next(frames)
    assert len(sampled) <= (3 if overlap == "true" else 1)
    made = [first, *frames]
    assert len(sampled) == 5
    difference = np.abs(np.stack(made).astype(int) - np.stack(list(expected.frames())))
    assert difference.max() <= 1, "batch sizes differ, and some processors round differently by size"
    assert (difference > 0).mean() < 1e-4
