"""A sweep of release 0.1.0 is read, compared and measured today. Its paths were shortened; nothing else was changed."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from float_research import recorded, rerunning
from float_research.analysis.load import load_clips, load_runs, load_traces
from float_research.analysis.page import write_page
from float_research.analysis.summary import report
from float_research.tracking.record import RECORD

RELEASE = Path(__file__).parents[1] / "data" / "release_0_1"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return shutil.copytree(RELEASE, tmp_path / "sweep")


def test_runs_clips_and_traces_load(sweep: Path) -> None:
    runs, clips = load_runs(sweep), load_clips(sweep)
    assert list(runs["solver"]) == list(clips["solver"]) == ["euler", "midpoint"]
    assert list(runs["measured_evaluations"]) == [3, 2]
    assert list(runs["measured_branches"]) == list(clips["measured_branches"]) == [9, 6]
    assert "measured_rows" not in runs
    assert list(runs["sampling_error"]) == pytest.approx([0.0885, 0.0826], abs=1e-4)
    assert list(runs["windows"]) == list(clips["windows"]) == [1, 1]
    traces = load_traces(clips)
    assert len(traces) == 50
    assert set(traces["window"]) == {0}


def test_it_has_a_summary_and_a_page(sweep: Path, tmp_path: Path) -> None:
    table, num_failed = report(sweep, Console(quiet=True))
    assert (len(table), num_failed) == (2, 0)
    page = write_page(sweep, tmp_path / "page", "release")
    assert (page.num_runs, page.num_clips, page.num_videos) == (2, 2, 2)


def test_its_motion_and_videos_are_measured_again(sweep: Path) -> None:
    run = sweep / "0"
    (before,) = json.loads((run / RECORD).read_text())["clips"]
    (clip,) = recorded.build_remeasuring(run, recorded.choose_metrics(["metrics=[motion,flicker]"])).run()["clips"]
    assert clip["metrics"]["motion_velocity"] == pytest.approx(before["metrics"]["motion_velocity"])
    assert clip["metrics"]["sampling_error"] == before["metrics"]["sampling_error"]
    assert clip["from_video"] == ["flicker"]


def test_a_repeat_has_its_settings_though_defaults_have_changed(sweep: Path, tmp_path: Path) -> None:
    again = rerunning.again(sweep / "1", ["seed=3"], tmp_path / "again")
    ours = [line for line in again.differs if not line.startswith("cache.folder") and ": not set → " not in line]
    assert ours == ["seed: 15 → 3", "batch_clips: 1 → None"], "the second changes no frame, and follows its default"
    assert again.config.solver._target_.endswith(".Midpoint")
    assert again.config.noise._target_.endswith(".Shared")
