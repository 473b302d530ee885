"""Runs load as data frames with the same columns from every source, and missing data is reported."""

import io
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from rich.console import Console
from small_sweep import EVALUATIONS, TINY, change

from float_research import compose
from float_research.analysis.convergence import declared_order, slopes
from float_research.analysis.load import NOTES, SETTINGS, load_clips, load_runs, load_traces, varying
from float_research.analysis.page import write_page
from float_research.analysis.summary import report
from float_research.errors import UserError
from float_research.tracking.runs import Run
from float_research.tracking.weights_and_biases import inspect


def test_a_row_has_settings_costs_metrics_and_places(made: Path) -> None:
    runs = load_runs(made)
    assert list(runs["run"]) == list(range(12))
    first = runs.iloc[0]
    assert (first["solver"], first["budget"], first["guidance.audio"], first["face"]) == (
        "euler", "evaluations", "constant", "none",
    )  # fmt: skip
    assert (first["nfe"], first["guidance.audio.scale"], first["measured_evaluations"]) == (4, 2, 8)
    assert first["sampling_error"] == 3 / 8
    assert (Path(first["folder"]) / json.loads(first["videos"])[0]).is_file()
    assert "untrained" in first["notice"]
    assert varying(runs) == [
        "chunking.previous_frames", "emotion", "guidance.audio.scale", "guidance.emotion.scale", "nfe",
        "solver",
    ]  # fmt: skip
    assert not {"output_dir", "data.audio", "model.fps"} & set(runs.columns), "places and sizes are not settings"
    clips = load_clips(made)
    assert list(clips["clip"].unique()) == [Path(clips["video_path"][0]).stem]
    assert clips["frames"].unique() == [55]
    assert json.loads(clips["absent"][0]) == {"psnr_db": "needs a reference video"}
    assert clips.attrs[SETTINGS] == runs.attrs[SETTINGS]
    assert clips.attrs[NOTES] == []


def test_swept_inputs_are_settings_where_they_vary(sweep: Path) -> None:
    for number, image in enumerate(("a.png", "a.png", "b.png")):
        change(sweep / str(number), overrides=["nfe=4", f"data.image={image}", "checkpoint.file=x"])
    assert "checkpoint.file" not in load_runs(sweep).columns
    change(sweep / "1", overrides=["nfe=4", "data.image=a.png", "checkpoint.file=y"])
    runs, clips = load_runs(sweep), load_clips(sweep)
    for table in (runs, clips):
        assert {"data.image", "checkpoint.file"} <= set(varying(table))
        assert list(table["data.image"])[:3] == ["a.png", "a.png", "b.png"]
        assert list(table["checkpoint.file"])[:2] == ["x", "y"]
        assert not {"data.audio", "output_dir"} & set(table.columns)
    assert Path(runs["data.image"][3]).is_file(), "from the run's settings if not overridden"


def test_a_run_has_one_type_in_every_file(sweep: Path) -> None:
    report(sweep, Console(quiet=True))
    frames = [load_runs(sweep), load_clips(sweep), pd.read_parquet(sweep / "summary.parquet")]
    frames += [pd.read_csv(sweep / "summary.csv"), load_traces(frames[1])]
    assert {frame["run"].dtype for frame in frames} == {np.dtype("int64")}
    (sweep / "3").rename(sweep / "03")
    report(sweep, Console(quiet=True))
    frames = [load_runs(sweep), load_clips(sweep), pd.read_parquet(sweep / "summary.parquet")]
    assert {type(run) for frame in frames for run in frame["run"]} == {str}
    assert all((sweep / run / "record.json").is_file() for run in frames[0]["run"])


FOREIGN = [
    None, 3, "x", [], [1], {}, {"clips": 3}, {"clips": {}}, {"clips": [1]}, {"clips": []}, {"clips": [{}]},
    {"clips": [{"id": "[/x]", "seconds": {"run": 1}, "absent": {"x": "y"}}], "failed": [{}]},
    {"clips": [], "overrides": ["run=3", "clips=4", "frames=a", "folder=x", "=", "", "@", "a@b@c=1", "nfe=[1,2]"]},
    {"clips": [], "metrics": {"run": 1, "videos": 2, "frames": 1, "folder": 3, "device": 4.0, "": 5}},
    {"clips": [{"metrics": {"run": 1, "clip": 2, "folder": 2, "video_path": 1, "signature": 2}}]},
    {"clips": [], "totals": None, "checkpoint": None, "overrides": None, "git": 3, "versions": [4], "source": 5},
    {"clips": [], "signature": "", "started": "\x1b[2J", "device": "[red]", "wall_s": float("inf")},
]  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN, ids=lambda content: json.dumps(content)[:40])
def test_a_foreign_record_does_not_affect_other_runs(content: Any, sweep: Path) -> None:
    before = load_runs(sweep)
    for place in (sweep, sweep / "other"):
        place.mkdir(exist_ok=True)
        (place / "record.json").write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs, clips = load_runs(sweep), load_clips(sweep)
    page = write_page(sweep, sweep / "page", "t")
    report(sweep, Console(quiet=True))
    assert page.num_videos == len(before)
    names = {"run": str} | dict.fromkeys(("signature", "device", "folder", "videos"), str)
    for table in (runs, pd.read_csv(sweep / "summary.csv", dtype=names)):
        kept = table[table["run"].astype(str).isin(before["run"].astype(str))].reset_index(drop=True)
        kept["nfe"] = kept["nfe"].astype(float)
        for name in ("nfe", "signature", "device", "frames", "videos", "wall_s"):
            if name in table:
                assert kept[name].dropna().tolist() == before.loc[kept[name].notna(), name].tolist()
        assert len(kept) == len(before)
    assert set(before["run"].astype(str)) <= set(clips["run"].astype(str))


def test_traces_are_long_frames(made: Path) -> None:
    traces = load_traces(load_clips(made).head(2))
    assert list(traces.columns[:4]) == ["run", "clip", "frame", "time_s"]
    assert len(traces) == 2 * 55
    assert set(traces["run"]) == {0, 1}
    assert traces["time_s"].max() == 54 / 25


def test_slopes_are_the_orders(made: Path) -> None:
    measured = slopes(load_runs(made).head(2 * len(EVALUATIONS))).set_index("solver")
    assert measured["slope"].to_dict() == pytest.approx({"euler": 1, "midpoint": 2})
    assert measured["order"].to_dict() == {"euler": 1, "midpoint": 2}
    assert declared_order(load_runs(made).drop(columns="solver_order")) is None, "as of older records"


def test_rounding_is_not_convergence() -> None:
    counts = [4, 8, 16, 32, 64]
    frame = pd.DataFrame(
        {"solver": "rk4", "measured_evaluations": counts, "sampling_error": [1, 0.1, 0.01, 2e-2, 0.03]}
    )
    frame.attrs[SETTINGS] = ["solver"]
    (row,) = slopes(frame).to_dict("records")
    assert (row["from"], row["to"]) == (8, 16)
    assert row["slope"] == pytest.approx(3.32, abs=0.01)
    alone = frame.head(1)
    assert slopes(alone)["slope"].isna().all()


def test_older_and_partial_records_are_shown_and_the_rest_is_counted(sweep: Path) -> None:
    (sweep / "0" / "record.json").write_text('{"overrides": ["solver=euler", "nfe=4"], "clips": [{"id": "a"}]}')
    (sweep / "0" / "config.yaml").unlink()
    (sweep / "1" / "record.json").write_text('{"clips": ')
    (sweep / "2" / "record.json").write_text('{"clips": "of another program"}')
    (sweep / "3" / "record.json").unlink()
    (sweep / "4" / "record.json").unlink()
    (sweep / "4" / "failure.json").write_text('{"overrides": "nfe=1", "error": "nfe=1 is too small"}')
    next((sweep / "5" / "videos").glob("*.mp4")).unlink()
    (sweep / "sweep.json").write_text("{}")
    with pytest.warns(UserWarning, match="missing: 2 of 8 videos"):
        runs = load_runs(sweep)
    assert list(runs["run"]) == [0, *range(5, 12)]
    assert runs["nfe"][0] == 4
    assert pd.isna(runs["wall_s"][0])
    assert pd.isna(runs["guidance.audio.scale"][0])
    notes = runs.attrs[NOTES]
    assert notes[0].startswith(str(sweep / "1" / "record.json"))
    assert notes[1].startswith(str(sweep / "2" / "record.json"))
    assert notes[2:5] == [
        "run 4 failed: nfe=1 is too small",
        "1 not finished: run 3",
        "the sweep has not ended: 8 of its runs are finished",
    ]
    with pytest.warns(UserWarning, match="no traces: 1 of 8 clips"):
        load_traces(load_clips(sweep))


NOTHING = {
    "nowhere": "is not a folder",
    "empty": "holds no record",
    "foreign": "holds no record",
    "failed": "1 run failed, 0 unfinished",
}


@pytest.mark.parametrize(("name", "said"), NOTHING.items(), ids=NOTHING)
def test_nothing_to_read_is_one_sentence(name: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    if name != "nowhere":
        folder.mkdir()
    if name == "foreign":
        (folder / "config.yaml").write_text("lr: 0.1\n")
    if name == "failed":
        (folder / "failure.json").write_text('{"overrides": "", "error": "no"}')
    with pytest.raises(UserError, match=said):
        load_runs(folder)


@pytest.fixture
def tracked(tmp_path: Path, speech: Callable[[float], Path]) -> Path:
    """Runs a sweep that is also logged to W&B, offline."""
    for number, solver in enumerate(("euler", "midpoint")):
        where = [f"data.audio={speech(0.5)}", f"output_dir={tmp_path / 'sweep' / str(number)}"]
        told = [*TINY, "logger=wandb", "logger.wandb.mode=offline", "nfe=3", f"solver={solver}", *where]
        console = Console(record=True, file=io.StringIO())
        compose.build_job(compose.compose_config(told)).run(console)
        assert "W&B, offline" in console.export_text()
    wandb.teardown()  # a run's file is completed shortly after the run
    return tmp_path / "sweep"


def same(runs: pd.DataFrame, others: pd.DataFrame) -> None:
    """Asserts equality except for names and places."""
    places = ["run", "folder", "videos"]
    assert list(runs.columns) == list(others.columns)
    assert runs.attrs[SETTINGS] == others.attrs[SETTINGS]
    pd.testing.assert_frame_equal(
        runs.drop(columns=places).sort_values("solver", ignore_index=True),
        others.drop(columns=places).sort_values("solver", ignore_index=True),
        check_dtype=False,
        check_exact=False,
    )


def test_offline_runs_of_wandb_are_the_same(tracked: Path, tmp_path: Path) -> None:
    for folder in tracked.glob("*/wandb"):
        shutil.copytree(folder, tmp_path / "wandb" / folder.parent.name)
    (tmp_path / "wandb" / "offline-run-damaged").mkdir()
    with pytest.warns(UserWarning, match="offline-run-damaged is damaged"):
        others = load_runs(tmp_path / "wandb")
    same(load_runs(tracked), others)
    assert all((Path(row["folder"]) / json.loads(row["videos"])[0]).is_file() for row in others.to_dict("records"))


class Told(SimpleNamespace):
    """A run as returned by W&B's API."""

    def scan_history(self) -> Iterator[dict[str, Any]]:
        return iter(self.history)


def test_runs_of_a_wandb_project_are_the_same(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://wandb.example/me/float/runs/"
    read = [inspect(place) for place in sorted(tracked.glob("*/wandb/offline-run-*"))]
    text = json.dumps(read).replace("/branches", "/rows").replace("num_windows", "num_chunks")
    read = json.loads(text)  # as older versions logged it
    told = [Told(id=f"r{number}", url=f"{url}r{number}", **run) for number, run in enumerate(read) if run]
    told.append(Told(id="s", url=f"{url}s", job_type="sweep", config={}, summary={}, history=[]))

    def answer(self: Any, project: str) -> list[Told]:
        assert project == "me/float"
        return told

    monkeypatch.setattr(wandb, "Api", type("Api", (), {"runs": answer}))
    others = load_runs("wandb:me/float")
    same(load_runs(tracked), others)
    assert others["folder"][0] == f"{url}r0/files"


def test_a_project_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, project: str) -> None:
        raise wandb.errors.CommError("could not find project")

    monkeypatch.setattr(wandb, "Api", type("Api", (), {"runs": refuse}))
    with pytest.raises(UserError, match=r"wandb:a/b cannot be read .*could not find project"):
        load_runs("wandb:a/b")


def test_parts_are_named_by_their_options() -> None:
    config = {
        "face": {"_target_": "float_research.data.face.NoCrop"},
        "solver": {"_target_": "x.AdaptiveHeun", "atol": 1},
    }
    run = Run(
        name="0", folder="", config=config, record={"overrides": ["schedule@guidance.audio=linear", "model=tiny"]}
    )
    assert run.settings() == {
        "face": "none", "solver": "adaptive_heun", "solver.atol": 1, "guidance.audio": "linear", "model": "tiny",
    }  # fmt: skip
