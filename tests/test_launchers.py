"""The same sweep through every launcher."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from float_research.video.reader import read_frames

ROOT = Path(__file__).parents[1]
SWEEP = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "solver=euler,midpoint", "nfe=3"]
LOSSLESS = "video.crf=0"
"""x264 does not code tiny frames alike every time, unless it must keep them as they are."""
SAME = ["run", "solver", "frames", "declared_evaluations", "measured_evaluations", "measured_rows", "signature"]


def swept(folder: Path, audio: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", *SWEEP, LOSSLESS, f"data.audio={audio}"]
    threads = {"OMP_NUM_THREADS": "1"}  # joblib shares processors out, and sums depend on the number of threads
    environment = {**os.environ, **threads, "COLUMNS": "200", "HYDRA_FULL_ERROR": "0"}
    return subprocess.run(
        [*command, f"hydra.sweep.dir={folder}", *overrides],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> tuple[Path, Path]:
    """The sweep of the basic launcher, and its speech."""
    folder, audio = tmp_path_factory.mktemp("basic"), speech(0.5)
    ended = swept(folder, audio)
    assert ended.returncode == 0, ended.stderr
    return folder, audio


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_every_launcher_makes_the_same(launcher: str, basic: tuple[Path, Path], tmp_path: Path) -> None:
    folder, audio = basic
    ended = swept(tmp_path, audio, f"hydra/launcher={launcher}")
    assert ended.returncode == 0, ended.stderr
    assert "2 runs" in ended.stdout
    assert "deprecated" not in ended.stderr
    pd.testing.assert_frame_equal(*(pd.read_csv(where / "summary.csv")[SAME] for where in (folder, tmp_path)))
    for run in ("0", "1"):
        (video,) = (folder / run / "videos").glob("*.mp4")
        twin = tmp_path / run / "videos" / video.name
        np.testing.assert_array_equal(list(read_frames(video)), list(read_frames(twin)))


def test_a_launcher_that_is_not_installed_names_its_extra(basic: tuple[Path, Path], tmp_path: Path) -> None:
    missing = "hydra.launcher._target_=hydra_plugins.hydra_nowhere_launcher.Launcher"
    ended = swept(tmp_path, basic[1], "hydra/launcher=joblib", missing)
    assert ended.returncode == 2
    assert ended.stderr == "error: this launcher is not installed; pip install 'float-research[nowhere]'\n"
