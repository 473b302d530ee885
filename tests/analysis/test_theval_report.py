"""FLOAT's scores by THEval stand beside those of runs, with what differs."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from float_research.analysis import theval
from float_research.analysis.theval import MOST_RUNS, PUBLISHED, report, show
from float_research.metrics.theval_score import ALL, MEASURED
from float_research.tracking.runs import Run

SCORES = {f"{name}_score": 0.5 + number / 10 for number, name in enumerate(MEASURED)} | {"theval_partial_score": 0.7}
VALUES = {name: float(number) for number, name in enumerate(MEASURED)}
DEMO, OFFICIAL = {"toy": True, "hash": "ab" * 32}, {"trained": True, "toy": False, "hash": "cd" * 32}


def run_of(name: str = "0", scores: Any = None, **record: Any) -> Run:
    held = {"metrics": SCORES if scores is None else scores, "clips": [{"metrics": VALUES}], "checkpoint": DEMO}
    return Run(name=name, folder="", config={}, record=held | record)


def shown(*runs: Run) -> str:
    console = Console(file=io.StringIO(), width=10_000)
    show(runs, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_published_scores_are_those_of_the_eight_numbers() -> None:
    assert set(PUBLISHED) == set(ALL)
    assert sum(PUBLISHED.values()) / 8 == pytest.approx(0.7938, abs=1e-4)


def test_ours_stand_below_the_published_scores() -> None:
    lines = shown(run_of(suite={"name": "quick", "version": "1"})).splitlines()
    assert lines[1].split("  ")[0] == "run"
    assert lines[2].split()[-6:] == ["0.427", "0.511", "0.894", "0.696", "0.999", "0.706"]
    assert lines[3].split() == [
        "0",
        "0.500",
        "(0)",
        "0.600",
        "(1)",
        "0.700",
        "(2)",
        "0.800",
        "(3)",
        "0.900",
        "(4)",
        "0.700",
    ]
    said = "\n".join(lines[4:])
    for what in (
        "global_aesthetic 0.871",
        "is 0.794",
        "toy world; no number here can be",
        "quick 1, 1 clip",
        "RetinaFace",
    ):
        assert what in said


def test_what_differs_is_that_of_the_videos() -> None:
    said = shown(run_of(checkpoint=OFFICIAL), run_of("other", source="camera <b>"))
    assert "those of THEval if FLOAT's authors published these files" in said
    assert "videos: those of camera" in said
    assert said.count("data: no suite") == 1


def test_missing_scores_are_empty_and_runs_without_any_left_out() -> None:
    lines = shown(run_of("few", {"theval_lip_sync_score": 0.9}), run_of("none", {})).splitlines()
    assert lines[3].split() == ["few", "0.900", "(4)"]
    assert not any(line.startswith("none") for line in lines)
    assert shown(run_of("none", {})) == ""


def test_the_best_of_many_runs_are_shown() -> None:
    runs = [run_of(str(number), {**SCORES, "theval_partial_score": number / 100}) for number in range(MOST_RUNS + 3)]
    lines = shown(*runs).splitlines()
    assert [line.split()[0] for line in lines[3 : 3 + MOST_RUNS]] == [str(2 + MOST_RUNS - k) for k in range(MOST_RUNS)]
    assert "3 more runs in the summary" in lines


def test_only_a_summary_with_scores_is_followed_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(theval, "find", asked.append)
    report(Path("there"), pd.DataFrame({"run": [0], "flicker": [1.0]}), Console(quiet=True))
    assert not asked
