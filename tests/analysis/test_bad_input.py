"""Bad input of the statistics, through the commands: one true sentence, and nothing is computed of it."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from paired_sweep import paired
from small_sweep import change

from float_research import cli
from float_research.analysis.votes import COLUMNS
from float_research.commands import compare, summary

Clip = dict[str, Any]


def clips_of(run: Path, edit: Callable[[int, Clip], Clip | None]) -> None:
    """Edits the clips of a run's record, given their places; None drops one."""
    clips = json.loads((run / "record.json").read_text())["clips"]
    change(run, clips=[new for place, clip in enumerate(clips) if (new := edit(place, clip)) is not None])


def with_number(clip: Clip, name: str, value: float | None) -> Clip:
    """Returns a clip with another value of a number, or without it."""
    kept = {own: number for own, number in clip["metrics"].items() if own != name}
    return {**clip, "metrics": kept if value is None else {**kept, name: value}}


def one_pair(sweep: Path) -> None:
    for run in sweep.iterdir():
        clips_of(run, lambda place, clip: clip if place == 0 else None)


def half_lacks_flicker(sweep: Path) -> None:
    for run in sweep.iterdir():
        clips_of(run, lambda place, clip: with_number(clip, "flicker", None) if place % 2 else clip)


def one_lacks_flicker(sweep: Path) -> None:
    clips_of(sweep / "1", lambda place, clip: with_number(clip, "flicker", None) if place == 3 else clip)


def two_suites(sweep: Path) -> None:
    for run in sweep.iterdir():
        digest = ("a" if run.name == "0" else "b") * 64
        change(run, suite={"name": "toy", "version": "1.0", "sha256": digest})


def other_clips(sweep: Path) -> None:
    clips_of(sweep / "1", lambda place, clip: {**clip, "base_id": "mine"} if place == 0 else clip)


def other_portrait(sweep: Path) -> None:
    clips_of(sweep / "1", lambda place, clip: {**clip, "image_sha256": "other"} if place == 0 else clip)


def doubled(sweep: Path) -> None:
    shutil.copytree(sweep / "0", sweep / "3")


def not_a_number(sweep: Path) -> None:
    clips_of(sweep / "0", lambda place, clip: with_number(clip, "flicker", float("nan")) if place == 3 else clip)


def infinite(sweep: Path) -> None:
    clips_of(sweep / "0", lambda place, clip: with_number(clip, "flicker", float("inf")) if place == 3 else clip)


def votes_of_another(sweep: Path) -> None:
    vote = ["0" * 16, "1" * 16, 1, "p0-r0-seed15", 15, "solver=euler", "solver=midpoint", "left", 2.5]
    with (sweep / "votes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, vote])


def untouched(sweep: Path) -> None:
    """Leaves the sweep as it is."""


FLICKER = ["--numbers", "flicker"]
CASES: dict[str, tuple[Callable[[Path], None], Sequence[str], str]] = {
    "one pair": (
        one_pair,
        [],
        "there is one pair only, clip p0-r0 with seed 15, from which nothing can be told; "
        "run more recordings, portraits or seeds",
    ),
    "half of the clips lack it": (
        half_lacks_flicker,
        FLICKER,
        "flicker is missing in 8 of 16 clips; measure them, or leave flicker out",
    ),
    "one setting lacks it": (
        one_lacks_flicker,
        FLICKER,
        "flicker is missing in 1 of 16 clips of solver=midpoint, but not in other settings; measure them, or leave "
        "flicker out",
    ),
    "two suites": (
        two_suites,
        [],
        "solver=euler was measured on the suite toy 1.0 (sha256 aaaaaaaaaaaa…), and solver=midpoint on toy 1.0 (sha256 "
        "bbbbbbbbbbbb…); compare runs of one suite",
    ),
    "other clips": (
        other_clips,
        [],
        "solver=euler and solver=midpoint were run on different clips: 1 of 16 of solver=euler, such as clip p0-r0 "
        "with seed 15, are not in solver=midpoint; run both on the same clips and seeds",
    ),
    "another portrait": (
        other_portrait,
        [],
        "clip p0-r0 with seed 15 has another portrait in solver=midpoint than in solver=euler; run both on the same "
        "files",
    ),
    "doubled clips": (
        doubled,
        [],
        "solver=euler has clip p0-r0 with seed 15 2 times, in the runs 0, 3; compare one of them",
    ),
    "NaN": (
        not_a_number,
        FLICKER,
        "flicker is missing in 1 of 16 clips of solver=euler, but not in other settings; measure them, or leave "
        "flicker out",
    ),
    "infinite": (
        infinite,
        FLICKER,
        "flicker is missing in 1 of 16 clips of solver=euler, but not in other settings (it is inf); measure them, or "
        "leave flicker out",
    ),
    "no such setting": (untouched, ["solver=rk4"], "no run has solver=rk4; solver is euler, midpoint, abm2"),
    "no such name": (
        untouched,
        ["sovler=euler"],
        "sovler=euler: sovler is no setting of these runs; they differ in seed, solver",
    ),
    "one setting": (
        untouched,
        ["solver=euler"],
        "solver=euler is all there is to compare; give two settings or runs",
    ),
    "no such baseline": (
        untouched,
        ["--baseline", "solver=rk4"],
        "the baseline solver=rk4 is none of solver=euler, solver=midpoint, solver=abm2",
    ),
    "a wrong name": (
        untouched,
        ["--numbers", "flickr"],
        "no clip has a number flickr (did you mean flicker?); the clips have flicker, lip_correlation",
    ),
    "an unmeasured metric": (
        untouched,
        ["--numbers", "psnr_db"],
        "no clip has a number psnr_db (needs a reference video); measure it, or leave psnr_db out",
    ),
    "a number of runs": (
        untouched,
        ["--numbers", "fid"],
        "fid is one number for all clips of a run, so it has no pairs; leave it out",
    ),
    "votes of another sweep": (
        votes_of_another,
        ["--votes", "{sweep}/votes.csv"],
        "vote 1 of {sweep}/votes.csv is of the page 0000000000000000, but the sweep's is {page}: it is another sweep, "
        "or has changed since; give the sweep that was judged",
    ),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paired(tmp_path_factory.mktemp("paired") / "sweep")


@pytest.fixture
def sweep(pristine: Path, tmp_path: Path) -> Path:
    """Returns a copy that a test may change."""
    return Path(shutil.copytree(pristine, tmp_path / "sweep"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Returns `run(command, *words)`, which gives exit code, output and errors of a command in this process."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def call(command: ModuleType, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, words)])
        code = 0
        try:
            cli.run(command.main)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    return call


@pytest.mark.parametrize(("damage", "words", "sentence"), CASES.values(), ids=CASES.keys())
def test_what_cannot_be_compared_is_one_sentence(
    damage: Callable[[Path], None], words: Sequence[str], sentence: str, sweep: Path, run: Callable[..., Any]
) -> None:
    damage(sweep)
    code, output, error = run(compare, *(word.format(sweep=sweep) for word in words), sweep)
    said, end = sentence.format(sweep=sweep, page="PAGE").partition("PAGE")[::2]
    assert (code, error.count("\n")) == (2, 1), error
    assert error.startswith(f"error: {said}")
    assert error.endswith(f"{end}\n")
    assert "beats" not in output
    assert not list(sweep.glob("comparison.*")), "nothing is computed"


UNPAIRED = ("one pair", "two suites", "other clips", "another portrait", "doubled clips")
UNMARKED = {name: CASES[name] for name in UNPAIRED}


@pytest.mark.parametrize(("damage", "words", "sentence"), UNMARKED.values(), ids=UNMARKED.keys())
def test_a_summary_without_pairs_says_why_nothing_is_marked(
    damage: Callable[[Path], None], words: Sequence[str], sentence: str, sweep: Path, run: Callable[..., Any]
) -> None:
    damage(sweep)
    code, output, error = run(summary, sweep)
    assert (code, error) == (0, "")
    assert f"no setting is marked as best: {sentence}" in output
    assert "~" not in output
    table = pd.read_csv(sweep / "summary.csv")
    assert "flicker_standing" not in table
    assert table["flicker_low"].isna().all() == (damage is one_pair), "a single clip has no interval"
    assert table["flicker_n"].tolist() == [1 if damage is one_pair else 16] * len(table)


@pytest.mark.parametrize("damage", [half_lacks_flicker, one_lacks_flicker, not_a_number, infinite])
def test_what_lacks_a_metric_is_left_out_and_the_rest_is_computed(
    damage: Callable[[Path], None], sweep: Path, run: Callable[..., Any]
) -> None:
    damage(sweep)
    code, output, error = run(compare, sweep)
    assert (code, error) == (0, "")
    assert "flicker is missing in " in output
    assert set(pd.read_csv(sweep / "comparison.csv")["metric"]) == {"lip_correlation"}
    code, output, error = run(summary, sweep)
    assert (code, error) == (0, "")
    assert "no setting is marked as best in flicker; " in output
    table = pd.read_csv(sweep / "summary.csv")
    assert table["lip_correlation_standing"].tolist()[-1] == "best"
    held = [json.loads((sweep / str(place) / "record.json").read_text())["clips"] for place in range(3)]
    values = [pd.Series([clip["metrics"].get("flicker") for clip in own]).replace(float("inf"), None) for own in held]
    assert table["flicker_n"].tolist() == [own.count() for own in values]
    assert table["flicker"].tolist() == pytest.approx([own.mean() for own in values])
    assert ((table["flicker_low"] < table["flicker"]) & (table["flicker"] < table["flicker_high"])).all()
