"""Valid records are accepted; an invalid one is left out without affecting others."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from float_research.analysis.summary import report
from float_research.errors import UserError
from float_research.tracking.logger import nested
from float_research.tracking.record import read_record
from float_research.tracking.runs import find

CLIP = {
    "id": "a",
    "video": "videos/a.mp4",
    "num_frames": 3,
    "measured": {"evaluations": 2, "branches": 6},
    "seconds": {"sample": 0.5},
    "metrics": {"ssim": 0.5},
    "absent": {"fid": "no"},
    "traces": None,
}
RECORD = {"clips": [CLIP], "overrides": ["nfe=3"], "totals": {"clips": 1}, "wall_s": 1.5, "checkpoint": {"hash": "x"}}
HUGE, HALF = 10**400, "\ud800"
HOSTILE: list[tuple[str, Any]] = [
    *(("clips", value) for value in (None, 3, "a", {}, [3], [None])),
    *(("overrides", value) for value in (3, "nfe=3", [3], [HALF], ["x"] * 1001)),
    *(("totals", value) for value in ([], 3, {"clips": [1]}, {"clips": -1}, {"seconds": {"x": "1"}}, {"clips": HUGE})),
    *(("wall_s", value) for value in ("1", [1], True, HUGE)),
    *(("checkpoint", value) for value in (3, {"hash": 3}, {"notice": ["x"]}, {"toy": "yes"})),
    *(("peak_memory_mb", value) for value in ([1], {"host": None}, {HALF: 1})),
    *(("metrics", value) for value in ([1], {"x": "1"}, {"x": [1]}, {"x": HUGE})),
]
HOSTILE_CLIP: list[tuple[str, Any]] = [
    *(("id", value) for value in (3, None, ["a"], HALF, "x" * 100_001)),
    *(("video", value) for value in (3, ["a"], {})),
    *(("num_frames", value) for value in ("3", 3.5, -1, 10**12, True, None)),
    *(("measured", value) for value in (3, [2], {"evaluations": "2"}, {"branches": [6]})),
    *(("seconds", value) for value in ([1], {"sample": [1]}, {"sample": "x"})),
    *(("metrics", value) for value in ([1], {"ssim": [1]}, {"ssim": {}}, {"ssim": HUGE}, {"ssim": True})),
    *(("absent", value) for value in (["x"], {"fid": 3})),
    *(("face", value) for value in ([1], {"score": [1]})),
]


def put(folder: Path, record: object) -> None:
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(record))


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_a_record_of_a_run_is_checked(name: str, value: Any, tmp_path: Path) -> None:
    put(tmp_path / "run", {**RECORD, name: value})
    with pytest.raises(UserError, match=r"record\.json cannot be read"):
        read_record(tmp_path / "run" / "record.json")


@pytest.mark.parametrize(("name", "value"), HOSTILE_CLIP)
def test_a_record_of_a_clip_is_checked(name: str, value: Any, tmp_path: Path) -> None:
    put(tmp_path / "run", {**RECORD, "clips": [{**CLIP, name: value}]})
    with pytest.raises(UserError, match=rf"record\.json cannot be read \(.*clips\.0\.{name}"):
        read_record(tmp_path / "run" / "record.json")


def test_a_damaged_run_does_not_affect_others(tmp_path: Path) -> None:
    put(tmp_path / "0", RECORD)
    put(tmp_path / "1", {**RECORD, "clips": [{**CLIP, "metrics": {"ssim": [1]}}]})
    put(tmp_path / "2", RECORD)
    (tmp_path / "2" / "config.yaml").write_text("[" * 200_000)
    put(tmp_path / "3", RECORD)
    (tmp_path / "3" / "record.json").write_text("[" * 200_000)
    console = Console(record=True, width=300, file=io.StringIO())
    table, _ = report(tmp_path, console)
    said = console.export_text()
    assert list(table["run"]) == [0, 2]
    assert f"{tmp_path / '1' / 'record.json'} is damaged" in said
    assert f"{tmp_path / '2' / 'config.yaml'} is damaged: run 2 lacks its settings" in said
    assert find(tmp_path).notes()[-1].endswith("run 2 lacks its settings")


def test_huge_and_unusual_settings_are_strings(tmp_path: Path) -> None:
    put(tmp_path / "0", {**RECORD, "overrides": ["a=9" + "0" * 30, "b=" + "[" * 500, "c=&x 1", "d=" + "9" * 900]})
    (tmp_path / "0" / "config.yaml").write_text("solver: 99999999999999999999999\n2026-01-01: x\n")
    report(tmp_path, Console(quiet=True))
    (run,) = find(tmp_path).runs
    assert isinstance(run.settings()["solver"], str)


def test_a_foreign_summary_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path / "0", RECORD)
    (tmp_path / "summary.csv").write_text("name,age\n")
    with pytest.raises(UserError, match=r"summary\.csv was not written by float-research"):
        report(tmp_path, Console(quiet=True))
    assert (tmp_path / "summary.csv").read_text() == "name,age\n"
    (tmp_path / "summary.csv").unlink()
    report(tmp_path, Console(quiet=True))
    report(tmp_path, Console(quiet=True))


def test_records_are_printed_as_plain_text(tmp_path: Path) -> None:
    put(tmp_path / "0", {**RECORD, "overrides": ["nfe=\x1b[31m[bold]x"]})
    put(tmp_path / "1", {**RECORD, "overrides": ["nfe=3"]})
    console = Console(record=True, width=300, file=io.StringIO())
    report(tmp_path, console)
    said = console.export_text()
    assert "\\x1b[31m[bold]x" in said
    assert "\x1b" not in said


def test_contradictory_flat_names_are_refused() -> None:
    with pytest.raises(ValueError, match="a/b is inside a"):
        nested({"a": 1, "a/b": 2})
