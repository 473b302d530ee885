"""The same sweep through every launcher, and interruptions."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.launch import num_tasks
from float_research.video.reader import read_frames

ROOT = Path(__file__).parents[1]
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu"]
SWEEP = ["solver=euler,midpoint,rk4", "budget=evaluations", "nfe=2"]
"""RK4 needs four evaluations, so its run fails."""
LOSSLESS = "video.crf=0"
"""x264 only encodes tiny frames reproducibly if lossless."""
COSTS = ["run", "solver", "frames", "declared_evaluations", "measured_evaluations", "measured_branches", "signature"]
SAME = [*COSTS, "motion_amplitude", "motion_jerk", "sharpness", "flicker"]
SLURM = ["hydra/launcher=submitit_slurm"] + [
    f"hydra.launcher.{name}" for name in ("gpus_per_node=null", "cpus_per_task=1", "mem_gb=1", "timeout_min=5")
]
"""A machine without a GPU."""
LAUNCHERS = [
    pytest.param(["hydra/launcher=joblib"], id="joblib"),
    pytest.param(["hydra/launcher=ray"], id="ray"),
    pytest.param(["hydra/launcher=submitit_local"], id="submitit_local"),
    pytest.param(SLURM, id="submitit_slurm", marks=pytest.mark.slurm),
]


def started(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    """Starts a sweep."""
    command = [sys.executable, str(ROOT / "scripts" / "infer.py"), "-m", *TINY, LOSSLESS]
    threads = {"OMP_NUM_THREADS": "1"}  # joblib divides processors, and sums depend on the number of threads
    return subprocess.Popen(
        [*command, f"hydra.sweep.dir={folder}", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, "COLUMNS": "200", "HYDRA_FULL_ERROR": "0"},
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Waits for a process; returns its exit code and output."""
    output, error = process.communicate(timeout=300)
    return process.returncode, output, error


def await_part(process: "subprocess.Popen[str]", folder: Path, video: str) -> Path:
    """Waits until a video is partially written."""
    deadline = time.monotonic() + 200
    while not (parts := list(folder.rglob(f".{video}.mp4.*.part"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing starts"
        time.sleep(0.05)
    return parts[0]


@pytest.fixture
def in_background() -> Iterator[None]:
    """Ignores SIGINT here and in processes started here, as a shell does for background jobs."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> tuple[Path, Path]:
    """Runs the sweep by the basic launcher; returns its folder and its speech."""
    folder, audio = tmp_path_factory.mktemp("basic"), speech(0.5)
    code, output, error = ended(started(folder, f"data.audio={audio}", *SWEEP))
    assert code == 1, error
    assert "2 runs, 1 failed" in output
    return folder, audio


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_same_results(launcher: list[str], basic: tuple[Path, Path], tmp_path: Path) -> None:
    folder, audio = basic
    code, output, error = ended(started(tmp_path, f"data.audio={audio}", *SWEEP, *launcher))
    assert code == 1, error
    assert "2 runs, 1 failed" in output
    assert "deprecated" not in error
    assert "Traceback" not in error
    pd.testing.assert_frame_equal(*(pd.read_csv(where / "summary.csv")[SAME] for where in (folder, tmp_path)))
    for run in ("0", "1"):
        (video,) = (folder / run / "videos").glob("*.mp4")
        twin = tmp_path / run / "videos" / video.name
        np.testing.assert_array_equal(list(read_frames(video)), list(read_frames(twin)))
    failures = [json.loads((where / "2" / "failure.json").read_text()) for where in (folder, tmp_path)]
    assert failures[0] == failures[1]
    assert "nfe=2" in failures[0]["error"]


def test_a_launcher_that_is_not_installed_names_its_extra(tmp_path: Path) -> None:
    missing = "hydra.launcher._target_=hydra_plugins.hydra_nowhere_launcher.Launcher"
    code, _, error = ended(started(tmp_path, "hydra/launcher=joblib", missing))
    assert code == 2
    assert error == "error: this launcher is not installed; pip install -e '.[nowhere]' -c constraints.txt\n"


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_workers_of_a_stopped_sweep_leave_no_partial_files(
    launcher: str, speech: Callable[[float], Path], tmp_path: Path, in_background: None
) -> None:
    process = started(tmp_path, f"data.audio={speech(900)}", "nfe=2,3", f"hydra/launcher={launcher}")
    await_part(process, tmp_path, "*")
    process.send_signal(signal.SIGTERM)
    code, _, error = ended(process)
    assert (code, error) == (128 + signal.SIGTERM, "error: stopped by SIGTERM; no partial files were left\n")
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.mp4"))


def test_workers_of_a_killed_sweep_end_too(speech: Callable[[float], Path], tmp_path: Path) -> None:
    process = started(tmp_path, f"data.audio={speech(900)}", "nfe=2,3", "hydra/launcher=joblib")
    await_part(process, tmp_path, "*")
    started_by_it = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    ended(process)  # waits for all processes that hold its streams
    _, left = psutil.wait_procs(started_by_it, timeout=20)
    for worker in left:
        worker.kill()
    assert left == []
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.mp4"))


def two_clips(tmp_path: Path, portrait: Path, *audios: Path) -> list[str]:
    """Returns overrides for clips `0` and `1`."""
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        rows = [(portrait, audio, id) for id, audio in enumerate(audios)]
        csv.writer(file).writerows([("image", "audio", "id"), *rows])
    return ["data=manifest", f"data.file={tmp_path / 'clips.csv'}"]


def slurm(command: str, *arguments: str) -> str:
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.slurm
def test_a_run_requeued_by_slurm_resumes_after_its_last_clip(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    clips, out = two_clips(tmp_path, portrait, speech(0.3), speech(90)), tmp_path / "out"
    process = started(out, "nfe=2", *clips, *SLURM)
    part = await_part(process, out, "1")
    first = (out / "0" / "videos" / "0.mp4").stat().st_mtime_ns
    (job,) = set(slurm("squeue", "--noheader", "--format=%A", "--name=infer").split())
    slurm("scancel", "--signal=USR2", job)  # as SLURM does before a run's time limit
    code, _, error = ended(process)
    assert code == 0, error
    content = json.loads((out / "0" / "record.json").read_text())
    assert content["clips_kept"] == 1
    assert [clip["id"] for clip in content["clips"]] == ["0", "1"]
    assert (out / "0" / "videos" / "0.mp4").stat().st_mtime_ns == first
    assert not part.exists()
    assert not list(out.rglob("*.part"))


@pytest.mark.slurm
def test_a_run_cancelled_by_slurm_leaves_no_partial_files(speech: Callable[[float], Path], tmp_path: Path) -> None:
    process = started(tmp_path, f"data.audio={speech(900)}", "nfe=2", *SLURM)
    part = await_part(process, tmp_path, "*")
    (job,) = set(slurm("squeue", "--noheader", "--format=%A", "--name=infer").split())
    slurm("scancel", job)
    code, _, error = ended(process)
    assert code == 1
    assert re.match(
        r"error: a worker process died \(.*\); resume=true with the same hydra\.sweep\.dir resumes\n", error
    )
    assert not part.exists()


@pytest.mark.slurm
def test_slurm_divides_the_clips_of_a_run_among_its_tasks(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    clips, out = two_clips(tmp_path, portrait, speech(0.3), speech(0.4)), tmp_path / "out"
    tasks = "hydra.launcher.tasks_per_node=2"
    code, _, error = ended(started(out, "nfe=2", "trainer.devices=1,2", tasks, *clips, *SLURM))
    assert code == 1, error
    assert "clips would be made twice" in json.loads((out / "0" / "failure.json").read_text())["error"]
    content = json.loads((out / "1" / "record.json").read_text())
    assert [clip["num_frames"] for clip in content["clips"]] == [8, 10]


def test_tasks_that_would_render_each_video_twice_are_refused(tmp_path: Path) -> None:
    twice = ["hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2", "hydra.mode=MULTIRUN"]
    with initialize_config_dir(str(compose.config_folder()), version_base="1.3"):
        HydraConfig.instance().set_config(hydra_compose("infer", twice, return_hydra_config=True))
    tasks = num_tasks()
    job = replace(compose.build_job(compose.compose_config([*TINY, f"output_dir={tmp_path}"])), sweep="s")
    with pytest.raises(UserError, match=r"tasks_per_node × nodes is 2, .* wants 1: clips would be made twice"):
        replace(job, num_tasks=tasks).run(Console(quiet=True))
    assert not any(tmp_path.iterdir())
