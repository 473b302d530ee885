"""A repeatedly killed sweep ends like an undisturbed one, and computes nothing twice."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from fuzz.processes import Running

SWEEP = [
    "model=tiny",
    "checkpoint=random",
    "face=none",
    "trainer.accelerator=cpu",
    "solver=euler,midpoint",
    "nfe=2,3,4,5",
]
NUM_RUNS, NUM_KILLS = 8, 10
VOLATILE = r"_s$|^peak_memory|^started$"
"""Columns that differ between two identical runs."""


def start(folder: Path, audio: Path) -> Running:
    """Starts the sweep and waits until its imports are done."""
    more = [f"data.audio={audio}", f"hydra.sweep.dir={folder}", "resume=true"]
    return Running("infer", ["-m", *SWEEP, *more], folder.with_suffix(".process"))


def finished(folder: Path) -> dict[str, int]:
    """Returns when each run's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/record.json")}


def test_a_sweep_survives_being_killed_ten_times(speech: Callable[[float], Path], tmp_path: Path) -> None:
    audio, left_alone, killed = speech(1), tmp_path / "left_alone", tmp_path / "killed"
    alone = start(left_alone, audio)
    began = time.monotonic()
    assert alone.finish().code == 0
    whole_s = time.monotonic() - began
    before: dict[str, int] = {}
    kills = 0
    while kills < NUM_KILLS:
        sweep = start(killed, audio)
        began = time.monotonic()
        if sweep.wait(random.uniform(0, whole_s)) is None:
            sweep.kill(signal.SIGKILL, group=True)
            sweep.wait()
            kills += 1
        else:  # little is left to do
            whole_s = time.monotonic() - began
        after = finished(killed)
        assert after | before == after, "a finished run was computed again"
        before = after
    assert start(killed, audio).finish().code == 0
    after = finished(killed)
    assert after | before == after
    assert len(after) == NUM_RUNS
    summaries = [pd.read_csv(folder / "summary.csv") for folder in (left_alone, killed)]
    stable = [table.drop(columns=table.filter(regex=VOLATILE).columns) for table in summaries]
    pd.testing.assert_frame_equal(*stable)
    assert not list((killed).glob("*/**/.*.part")), "partial files are removed"
