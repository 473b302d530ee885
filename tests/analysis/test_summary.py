"""Summaries are computed from records only."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paired_sweep import paired
from rich.console import Console
from scipy import stats

from float_research.analysis.crossed import Design
from float_research.analysis.load import load_clips
from float_research.analysis.pairs import settings
from float_research.analysis.statistics import compare
from float_research.analysis.summary import report, summarise
from float_research.errors import UserError
from float_research.tracking.facts import metric_rows
from float_research.tracking.record import write_failure
from float_research.tracking.runs import find, parse_overrides

UNITS = {"recording": "audio_sha256", "portrait": "image_sha256", "seed": "seed"}


def put(folder: Path, *overrides: str, evaluations: int, declared: bool = True, **metrics: float) -> None:
    """Writes a record like a run's."""
    cost = {"evaluations": evaluations, "branches": 3 * evaluations}
    record = {
        "signature": f"s{evaluations}",
        "overrides": list(overrides),
        "checkpoint": {"trained": True, "hash": "abc"},
        "device": "cpu",
        "peak_memory_mb": {"host": 500.0},
        "totals": {
            "clips": 1,
            "frames": 100,
            "windows": 2,
            "declared": cost if declared else None,
            "measured": cost,
            "seconds": {"sample": 0.5, "decode": 1.0},
        },
        "load_s": 0.1,
        "wall_s": 2.0,
        "started": "2026-01-01T00:00:00+00:00",
        "clips": [{"video": "videos/a.mp4"}],
    }
    if metrics:
        record["clips"] = [
            {"video": "videos/a.mp4", "metrics": metrics},
            {"video": "videos/b.mp4", "metrics": {"ssim": 1}},
        ]
        record["metrics"] = {"fid": 12.0}
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    put(tmp_path / "10", "solver=dopri5", evaluations=44, declared=False)
    put(tmp_path / "2", "solver=euler", "nfe=20", evaluations=38)
    put(tmp_path / "0", "solver=euler", "nfe=5", "+extra.flag=true", evaluations=8)
    return tmp_path


def test_one_row_per_run_with_its_overrides(sweep: Path) -> None:
    found = find(sweep)
    table = summarise(found)
    assert found.notes() == []
    assert list(table["run"]) == [0, 2, 10], "in numeric order"
    assert list(table["solver"]) == ["euler", "euler", "dopri5"]
    assert list(table["nfe"])[:2] == [5, 20]
    assert pd.isna(table["nfe"][2]), "not overridden"
    assert table["extra.flag"][0] in (True, 1)
    assert list(table["measured_branches"]) == [24, 114, 132]
    assert pd.isna(table["declared_evaluations"][2]), "the solver decides"
    assert json.loads(table["videos"][0]) == ["videos/a.mp4"]


def test_metrics_are_means_over_the_clips_that_have_them(sweep: Path) -> None:
    put(sweep / "11", evaluations=9, ssim=0.5, motion_jerk=3.0)
    table = summarise(find(sweep))
    assert table[["ssim", "motion_jerk", "fid"]].iloc[3].tolist() == [0.75, 3, 12]
    assert table[["ssim", "motion_jerk", "fid"]].iloc[:3].isna().all(axis=None), "older records have none"


def test_files_hold_the_same_table(sweep: Path) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    report(sweep, console)
    table = summarise(find(sweep))
    csv, parquet = pd.read_csv(sweep / "summary.csv"), pd.read_parquet(sweep / "summary.parquet")
    assert list(csv.columns) == list(parquet.columns) == list(table.columns)
    assert list(csv["measured_evaluations"]) == list(parquet["measured_evaluations"]) == [8, 38, 44]
    said = console.export_text()
    assert "3 runs" in said
    assert "dopri5" in said
    assert not list(sweep.glob(".*.part"))


def test_the_texts_of_records_are_printed_unchanged(sweep: Path) -> None:
    """Covers lists and other text that looks like markup, and the number of failed clips."""

    def said() -> str:
        console = Console(record=True, width=200, file=io.StringIO(), force_terminal=True)
        report(sweep, console)
        return console.export_text()

    assert "failed" not in said()
    put(sweep / "11", "metrics=[flicker]", "name='[/x]'", evaluations=9)
    put(sweep / "12", "metrics=[motion,flicker]", "name='[red]a'", evaluations=9)
    content = json.loads((sweep / "12" / "record.json").read_text())
    failed = [{"id": "a", "image": "a.png", "audio": "a.wav", "reason": "damaged"}]
    (sweep / "12" / "record.json").write_text(json.dumps({**content, "failed": failed}))
    write_failure(sweep / "13", "name='[/y]'", "image [/z].png cannot be read")
    rows = [[cell.strip() for cell in line.split("│")] for line in said().splitlines() if line.startswith("│ 1")]
    failed_run, _, eleven, twelve = rows
    assert failed_run[1:4] == ["13", "name='[/y]'", "image [/z].png cannot be read"]
    assert [eleven[4:8], twelve[4:8]] == [
        ["[flicker]", "[/x]", "0", "9"],
        ["[motion,flicker]", "[red]a", "1", "9"],
    ]


def test_damaged_records_are_named_and_the_rest_is_shown(sweep: Path) -> None:
    (sweep / "2" / "record.json").write_text('{"totals": ')
    (sweep / "10" / "record.json").write_text("[]")
    console = Console(record=True, width=200, file=io.StringIO())
    report(sweep, console)
    said = console.export_text()
    assert f"{sweep / '2' / 'record.json'} is damaged" in said
    assert f"{sweep / '10' / 'record.json'} is damaged" in said
    assert "1 run" in said


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no record\.json"):
        report(tmp_path, Console(quiet=True))


def test_values_are_parsed_as_yaml() -> None:
    given = ["nfe=8", "a.b=0.5", "solver=euler", "+x=true", "list=[1, 2]", "bad=}{", "schedule@guidance.audio=linear"]
    assert dict(parse_overrides(given)) == {
        "nfe": 8,
        "a.b": 0.5,
        "solver": "euler",
        "x": True,
        "list": "[1, 2]",
        "bad": "}{",
        "schedule@guidance.audio": "linear",
    }


def test_metrics_have_the_crossed_interval_over_the_clips_of_a_run(tmp_path: Path) -> None:
    table = summarise(find(paired(tmp_path)))
    clips = json.loads((tmp_path / "1" / "record.json").read_text())["clips"]
    values = np.array([clip["metrics"]["flicker"] for clip in clips])
    units = {kind: [clip[name] for clip in clips] for kind, name in UNITS.items()}
    found = Design.of(pd.DataFrame(units)).estimate(values)
    shown = table.loc[1, ["flicker", "flicker_low", "flicker_high", "flicker_n"]].tolist()
    low, high = found.mean - found.half_width, found.mean + found.half_width
    assert shown == pytest.approx([float(found.mean), float(low), float(high), 16])
    rows = stats.sem(values) * stats.t.ppf(0.975, 15)
    assert high - low > 2 * rows, "wider than that of independent clips"
    places = [list(table).index(f"flicker{end}") for end in ("", "_low", "_high", "_n", "_standing")]
    assert places == list(range(places[0], places[0] + 5)), "beside each other"


def test_one_clip_or_a_number_of_the_run_has_no_interval(sweep: Path) -> None:
    put(sweep / "11", evaluations=9, ssim=0.5, motion_jerk=3.0)
    report(sweep, Console(quiet=True))
    csv, parquet = pd.read_csv(sweep / "summary.csv"), pd.read_parquet(sweep / "summary.parquet")
    for table in (csv, parquet):
        assert table[["motion_jerk_low", "motion_jerk_high"]].isna().all(axis=None), "of a single clip"
        assert table["motion_jerk_n"].dropna().tolist() == [1]
        assert table["ssim_n"].dropna().tolist() == [2]
        assert table["ssim_low"][3] < table["ssim"][3] < table["ssim_high"][3]
    assert not {"fid_low", "fid_n", "fid_standing"} & set(csv)
    assert ",0.0," not in (sweep / "summary.csv").read_text().splitlines()[-1], "empty, not zero"


def test_the_best_setting_and_those_not_separable_from_it_are_marked_as_compare_finds_them(tmp_path: Path) -> None:
    table = summarise(find(paired(tmp_path)))
    with pytest.warns(UserWarning, match="missing: 48 of 48 videos"):
        found = compare(settings(load_clips(tmp_path), []), None, "solver=euler")
    for name, best in found.best.items():
        standing = dict(zip(table["solver"], table[f"{name}_standing"], strict=True))
        assert [solver for solver, own in standing.items() if own == "best"] == [best]
        assert {solver for solver, own in standing.items() if own == "not separable"} == found.inseparable[name]
    assert set(table["lip_correlation_standing"]) == {"best", "not separable", "worse"}


@pytest.mark.parametrize("terminal", [False, True])
def test_marks_are_signs_with_a_legend(tmp_path: Path, terminal: bool) -> None:
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=terminal)
    table, _ = report(paired(tmp_path), console)
    said = console.export_text()
    lips = table.set_index("solver")["lip_correlation"].map("{:.3g}".format)
    assert all(f"{lips[solver]}{mark} " in said for solver, mark in {"midpoint": "~", "abm2": "*", "euler": ""}.items())
    assert said.count("* best setting of a metric, ~ not separable from it: paired t-tests, Holm's correction") == 1


def test_runs_of_several_seeds_share_the_mark_of_their_setting(tmp_path: Path) -> None:
    paired(tmp_path / "all")
    for run in (tmp_path / "all").iterdir():
        record = json.loads((run / "record.json").read_text())
        for seed in record["seeds"]:
            place = tmp_path / "split" / f"{run.name}{seed}"
            place.mkdir(parents=True)
            own = {"clips": [clip for clip in record["clips"] if clip["seed"] == seed], "seeds": [seed]}
            (place / "record.json").write_text(json.dumps({**record, **own}))
    whole, split = (summarise(find(tmp_path / name)) for name in ("all", "split"))
    standing = dict(zip(whole["solver"], whole["lip_correlation_standing"], strict=True))
    assert split["lip_correlation_standing"].tolist() == split["solver"].map(standing).tolist()
    assert split["lip_correlation_n"].tolist() == [8] * 6


def test_a_metric_named_like_a_column_beside_another_keeps_its_column(tmp_path: Path) -> None:
    paired(tmp_path)
    record = json.loads((tmp_path / "0" / "record.json").read_text())
    for clip in record["clips"]:
        clip["metrics"] |= {"flicker_low": 7.0, "run": 3.0}
    (tmp_path / "0" / "record.json").write_text(json.dumps(record))
    table = summarise(find(tmp_path))
    assert (table["flicker_low"][0], table["run"][0], list(table).count("flicker_low")) == (7.0, 0, 1)
    rows = [row for row in metric_rows(table) if (row["run"], row["metric"]) == (0, "flicker")]
    assert [(row["low"], row["n"]) for row in rows] == [(None, 16)]


def test_seeds_that_are_no_numbers_do_not_end_a_summary(tmp_path: Path) -> None:
    """As in a damaged record, or one whose clips lack the seeds of their run."""
    paired(tmp_path)
    for run in tmp_path.iterdir():
        record = json.loads((run / "record.json").read_text())
        clips = [{name: value for name, value in clip.items() if name != "seed"} for clip in record["clips"]]
        seeds = {"0": None, "1": [15, 16], "2": [7]}[run.name]
        (run / "record.json").write_text(json.dumps({**record, "clips": clips, "seeds": seeds}))
    table, _ = report(tmp_path, Console(quiet=True))
    assert table["flicker_n"].tolist() == [16] * 3
    assert table.attrs["unmarked"].startswith("no setting is marked as best: solver=euler has clip p0-r0 2 times")
