"""Summaries are computed from records only."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from float_research.errors import UserError
from float_research.tracking.record import write_failure
from float_research.tracking.runs import find, parse_overrides
from float_research.tracking.summary import report, summarise


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
