"""A sweep that is killed again and again ends as one that was left alone, and computes nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
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
"""Columns that differ between two runs of the same."""


def start(folder: Path, audio: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", *SWEEP, f"data.audio={audio}"]
    return subprocess.Popen(
        [*command, f"hydra.sweep.dir={folder}", "resume=true"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "FLOAT_CACHE_DIR": str(folder / "cache")},
    )


def finished(folder: Path) -> dict[str, int]:
    """When each run's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/record.json")}


def test_a_sweep_survives_being_killed_ten_times(speech: Callable[[float], Path], tmp_path: Path) -> None:
    audio, left_alone, killed = speech(1), tmp_path / "left_alone", tmp_path / "killed"
    started = time.monotonic()
    assert start(left_alone, audio).wait() == 0
    whole_s = time.monotonic() - started
    before: dict[str, int] = {}
    kills = 0
    while kills < NUM_KILLS:
        sweep = start(killed, audio)
        try:
            sweep.wait(random.uniform(0, whole_s))
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            kills += 1
        sweep.wait()
        after = finished(killed)
        assert after | before == after, "a finished run was computed again"
        before = after
    assert start(killed, audio).wait() == 0
    after = finished(killed)
    assert after | before == after
    assert len(after) == NUM_RUNS
    summaries = [pd.read_csv(folder / "summary.csv") for folder in (left_alone, killed)]
    stable = [table.drop(columns=table.filter(regex=VOLATILE).columns) for table in summaries]
    pd.testing.assert_frame_equal(*stable)
    assert not list((killed).glob("*/**/.*.part")), "what was half-written is gone"
