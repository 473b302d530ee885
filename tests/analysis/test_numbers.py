"""What metrics declare of their numbers, and that the page shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_sweep import change
from test_page import content

from float_research import metrics
from float_research.analysis.load import EMOTIONS, load_clips
from float_research.analysis.numbers import COSTS, known_metrics, numbers_of_runs
from float_research.analysis.page import write_page
from float_research.metrics.metric import Better
from float_research.metrics.theval_score import ThevalScore


def test_every_metric_of_the_package_is_known() -> None:
    files = {path.stem for path in (Path(metrics.__file__).parents[2] / "conf" / "metrics").glob("*.yaml")} - {"none"}
    assert len(known_metrics()) > len(files), "most have several numbers"
    scores = {number.name for number in ThevalScore.numbers}
    assert {"fid", "e_fid", "p_fid", "fvd", *scores} == numbers_of_runs()
    assert not known_metrics().keys() & COSTS.keys()


@pytest.mark.parametrize(
    ("name", "better"),
    [("lse_c", Better.HIGHER), ("lse_d", Better.LOWER), ("seam_jump", 1.0), ("lip_lag_frames", 0.0), ("flow_px", None)],
)
def test_directions(name: str, better: Any) -> None:
    assert known_metrics()[name].better == better


def test_the_page_takes_directions_from_the_declarations(sweep: Path, tmp_path: Path) -> None:
    clips = {"sampling_error": 0.1, "seam_jump": 1.5, "sync_confidence": 3.0, "lip_correlation": 0.6}
    for run in sweep.glob("*/record.json"):
        record = json.loads(run.read_text())
        change(run.parent, clips=[clip | {"metrics": clips} for clip in record["clips"]])
    columns = content(write_page(sweep, tmp_path / "page", "small").path)["columns"]
    better = {column["name"]: column["better"] for column in columns}
    assert [better[name] for name in clips] == ["lower", 1.0, None, "higher"]
    assert (better["measured_evaluations"], better["frames"], better["solver"]) == ("lower", None, None)
    order = [column["name"] for column in columns if column["kind"] == "metric"]
    assert order[-1] == "sync_confidence", "headlines come first"
    assert [column["name"] for column in columns if column["kind"] == "cost" and column["shown"]] == [
        "measured_evaluations", "sample_s", "wall_s",
    ]  # fmt: skip


def test_columns_are_told_apart_by_what_declared_them_not_by_their_names(sweep: Path, tmp_path: Path) -> None:
    for number, run in enumerate(sweep.glob("*/record.json")):
        record = json.loads(run.read_text())
        metrics = {"seed": 0.5, "wall_s": 2.0, "lag_s": 0.1, "peak_memory_mb_lips": 3.0}
        clips = [
            clip
            | {
                "metrics": metrics,
                "seconds": clip["seconds"] | {"polish": 1.0, "emotion": 0.1},
                "emotion": {"happy": 0.2},
            }
            for clip in record["clips"]
        ]
        change(run.parent, overrides=[f"chunking.window_s={1 + number % 2}"], clips=clips)
    held = content(write_page(sweep, tmp_path / "page", "small").path)
    kinds = {column["name"]: column["kind"] for column in held["columns"]}
    assert kinds["chunking.window_s"] == "setting"
    assert {kinds[name] for name in ("polish_s", "wall_s", "sample_s", "peak_memory_mb_host")} == {"cost"}
    told = ("lag_s", "peak_memory_mb_lips", "metric.seed", "metric.wall_s")
    assert {kinds[name] for name in told} == {"metric"}
    assert kinds["emotion_s"] == "cost"
    assert load_clips(sweep).attrs[EMOTIONS] == ["emotion_happy"]
