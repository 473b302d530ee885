"""Termination signals."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from float_research import stopping
from float_research.media import Sought, Within
from float_research.sound import read_sound
from float_research.stopping import STOP_SIGNALS, Stopped, callback, check_stopped, held, stoppable
from float_research.types import WHOLE
from float_research.video.reader import count_frames, probe, read_frames
from float_research.video.writer import H264, Recording

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
CALLED = ("read", "seek", "tell")
"""The methods of a file that PyAV calls."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}  # background jobs ignore some
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # Python's handler runs


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_stops(number: signal.Signals) -> None:
    assert number in STOP_SIGNALS, "it would end this process"
    before = signal.getsignal(number)
    went_on = []
    with pytest.raises(Stopped) as stopped, stoppable():
        send(number)
        went_on.append(number)
    assert not went_on
    assert stopped.value.args == (number,)
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    with stoppable():
        send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    with pytest.raises(Stopped), stoppable():
        send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_held_defers_a_signal_until_its_end() -> None:
    done = []
    with pytest.raises(Stopped), stoppable():
        with held():
            with held():
                send(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("later")
    assert done == ["inner", "outer"]


def test_held_passes_an_error_and_then_the_signal() -> None:
    def broken() -> None:
        with held():
            send(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(Stopped), stoppable(), pytest.raises(ZeroDivisionError):
        broken()


def test_held_raises_no_earlier_signal() -> None:
    with pytest.raises(Stopped), stoppable():
        try:
            send(signal.SIGTERM)
        finally:
            with held():
                tidied = True
    assert tidied
    check_stopped()


def test_no_signal_is_raised_where_an_extension_calls_from_c() -> None:
    done = []

    @callback
    def read() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("read")

    with pytest.raises(Stopped), stoppable():
        read()
        done.append("went on")
        check_stopped()
    assert done == ["read", "went on"]


@pytest.mark.parametrize("read", [probe, count_frames, read_frames, lambda path: read_sound(path, WHOLE)])
def test_a_signal_is_not_taken_for_the_end_of_a_file(read: Callable[[Path], Any], tmp_path: Path) -> None:
    video, sound = tmp_path / "a.mp4", Recording(np.zeros(4000, dtype=np.float32), 16000)
    settings = H264(fps=None, mark=None, crf=30, preset="ultrafast", audio_rate_hz=48000, audio_bitrate_bps=64000)
    with settings.open(video, fps=25, size_px=16, recording=sound) as writer:
        writer.write(torch.zeros(3, 16, 16, 3, dtype=torch.uint8))
    went_on: list[bool] = []
    with pytest.raises(Stopped), stoppable():
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        found = read(video)
        list(found if isinstance(found, Iterator) else [])
        went_on.append(True)
    assert not went_on


def test_files_that_ffmpeg_reads_are_such() -> None:
    own = [function for kind in (Sought, Within) for name, function in vars(kind).items() if name in CALLED]
    assert len(own) == 4
    assert all(function.__code__ in stopping._callbacks for function in own)
