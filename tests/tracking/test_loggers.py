"""Loggers, checked by reading back what they wrote."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
import pytest
import wandb
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger
from mlflow import MlflowClient
from paired_sweep import paired
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from float_research import compose
from float_research.analysis.summary import summarise
from float_research.errors import UserError
from float_research.files import sha256
from float_research.inference.run_folder import RunFolder
from float_research.program import install
from float_research.tracking.lightning_logger import LightningLogger, TensorBoard
from float_research.tracking.logger import EndedRun, tell
from float_research.tracking.mlflow_logger import MlflowLogger
from float_research.tracking.runs import find
from float_research.tracking.weights_and_biases import WeightsAndBiases

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=3"]
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, speech: Callable[[float], Path]) -> Run:
    """Returns `run("logger=csv")`, the folder of a tiny run."""

    def made(*overrides: str) -> Path:
        settings = [*TINY, f"data.audio={speech(0.5)}", f"output_dir={tmp_path / 'sweep' / '0'}", *overrides]
        compose.build_job(compose.compose_config(settings)).run(Console(quiet=True))
        return tmp_path / "sweep" / "0"

    return made


def inspected(folder: Path) -> list[dict[str, Any]]:
    """Returns the records of the only offline run in a folder, as read by W&B's own command."""
    wandb.teardown()  # a run's file is completed shortly after the run
    (offline,) = folder.glob("wandb/offline-run-*")
    command = Path(sys.executable).parent / "wandb"
    ended = subprocess.run([command, "leet", "inspect", "--json", offline], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def only(records: list[dict[str, Any]], kind: str, *keys: str) -> list[Any]:
    found = [record[kind] for record in records if record["type"] == kind]
    for key in keys:
        found = [item[key] for item in found if key in item]
    return found


def test_wandb_has_settings_numbers_video_sheet_and_inputs(run: Run) -> None:
    folder = run("logger=wandb", "logger.wandb.mode=offline", "logger.wandb.tags=[a,b]", "logger.wandb.group=g")
    records = inspected(folder)
    content = json.loads((folder / "record.json").read_text())
    (said,) = only(records, "run")
    assert (said["project"], said["run_group"], said["job_type"], said["tags"]) == (
        "float-research",
        "g",
        "infer",
        ["a", "b"],
    )
    config = said["config"]["update"]
    assert (config["nfe"], config["solver"], config["guidance.audio.scale"]) == (3, "abm2", 2.0)
    assert config["settings"]["solver"]["_target_"].endswith("Abm2")
    history = only(records, "history", "item")
    assert any(row.get("progress/frames", 0) > 0 for row in history), "live progress"
    (clip,) = [row for row in history if "clip/id" in row]
    (tables,) = [row for row in history if "clips.nrows" in row or "clips" in row]
    assert any(name.startswith("traces/mouth_opening") for name in tables)
    (table,) = (folder / "wandb").glob("offline-run-*/files/media/table/clips_*")
    shown = json.loads(table.read_text())
    row = dict(zip(shown["columns"], shown["data"][0], strict=True))
    assert (row["id"], row["num_frames"]) == (content["clips"][0]["id"], content["totals"]["frames"])
    assert (row["video"], row["contact_sheet"]) == ("Video", "Image"), "in the table's artifact"
    assert clip["clip/measured/evaluations"] == content["totals"]["measured"]["evaluations"] == 2
    assert clip["clip/metrics/motion_jerk"] == pytest.approx(content["clips"][0]["metrics"]["motion_jerk"])
    assert clip["clip/seconds/decode"] == pytest.approx(content["clips"][0]["seconds"]["decode"])
    media = [file["path"] for files in only(records, "files", "files") for file in files]
    kinds = [Path(path).name.rsplit("_", 2)[0] for path in media if path.startswith("media") and "/table/" not in path]
    assert kinds == ["video", "image", "audio", "contact_sheet"]
    copied = next((folder / "wandb").glob("offline-run-*/files/media/videos/*.mp4"))
    assert copied.read_bytes() == (folder / content["clips"][0]["video"]).read_bytes()
    summary: dict[str, Any] = {}
    for update in only(records, "summary", "update"):
        summary |= update
    assert summary["totals/measured/branches"] == content["totals"]["measured"]["branches"]
    assert summary["metrics/motion_jerk"] == pytest.approx(content["clips"][0]["metrics"]["motion_jerk"])
    assert summary["signature"] == content["signature"]
    assert not any(name.startswith(("clip/", "progress/")) or name == "video" for name in summary), "of no single clip"
    assert only(records, "exit", "exit_code") == [0]


def test_a_crashed_run_is_logged_as_failed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Trainer, "predict", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        run("logger=wandb", "logger.wandb.mode=offline")
    records = inspected(tmp_path / "sweep" / "0")
    assert only(records, "exit", "exit_code") == [1]
    assert "out of luck" in only(records, "summary", "update", "error")


def test_a_sweep_ends_with_a_table_of_its_runs_and_their_videos(run: Run) -> None:
    folder = run().parent
    logger = WeightsAndBiases(
        project="p", entity=None, group=None, name=None, job_type="infer", tags=[], notes=None, dir=None, mode="offline"
    )
    said = logger.sweep(folder, summarise(find(folder)))
    assert said is not None
    assert "wandb sync" in said
    records = inspected(folder)
    (run_said,) = only(records, "run")
    assert (run_said["run_group"], run_said["job_type"]) == ("sweep", "sweep")
    (table,) = only(records, "history", "item")
    assert table["runs.nrows"] == 1
    stored = [
        sorted(Path(entry["path"]).suffix for entry in artifact["contents"])
        for artifact in only(records, "artifact", "manifest")
    ]
    assert sorted(stored) == [[".json"], [".json", ".mp4"]], "the second is that of runs"


def test_the_table_of_metrics_has_intervals_and_standings(tmp_path: Path) -> None:
    table = summarise(find(paired(tmp_path)))
    settings = {"project": "p", "entity": None, "group": None, "name": None, "job_type": "infer", "tags": []}
    WeightsAndBiases(**settings, notes=None, dir=None, mode="offline").sweep(tmp_path, table)
    (item,) = only(inspected(tmp_path), "history", "item")
    assert item["metrics.nrows"] == 6
    (file,) = tmp_path.rglob("metrics*.table.json")
    logged = json.loads(file.read_text())
    assert logged["columns"] == ["run", "solver", "metric", "mean", "low", "high", "n", "standing"]
    row = table.loc[2]
    lips = [row[f"lip_correlation{end}"] for end in ("", "_low", "_high")]
    found = next(own for own in logged["data"] if own[:3] == [2, "abm2", "lip_correlation"])
    assert found[3:] == [*map(pytest.approx, lips), 16, "best"]


def test_csv_and_tensorboard_together(run: Run) -> None:
    folder = run("logger=[csv,tensorboard]")
    content = json.loads((folder / "record.json").read_text())
    numbers = pd.read_csv(folder / "csv" / "metrics.csv")
    assert numbers["clip/num_frames"].dropna().tolist() == [content["totals"]["frames"]]
    assert numbers["mean/num_frames"].dropna().tolist() == [content["totals"]["frames"]]
    assert numbers["clip/id"].dropna().tolist() == [content["clips"][0]["id"]]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    (point,) = events.Scalars("totals/measured/branches")
    assert point.value == content["totals"]["measured"]["branches"]
    assert "hp_metric" not in events.Tags()["scalars"]
    (said,) = events.Tensors("clip/id/text_summary")
    assert said.tensor_proto.string_val[0].decode() == content["clips"][0]["id"]
    assert events.Images("video")[0].encoded_image_string.startswith(b"GIF89a")
    assert events.Images("contact_sheet")[0].encoded_image_string.startswith(b"\x89PNG")


def test_no_file_outside_of_a_run_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tampered record names one of the user's files, with its hash."""
    folder, secret = tmp_path / "run", tmp_path / "secret.mp4"
    (folder / "videos").mkdir(parents=True)
    for path in (secret, folder / "videos" / "a.mp4"):
        path.write_bytes(b"content")
    (board,) = compose.build_loggers(compose.compose_config(["logger=tensorboard", "output_dir=."]))
    assert isinstance(board, TensorBoard)
    added: list[Path] = []
    monkeypatch.setattr(TensorBoard, "add", lambda self, logger, tag, file, step: added.append(file))
    ended = EndedRun(folder=folder, config={}, overrides=[], sweep=None, sheet=lambda clip: tmp_path / "sheet.png")
    clip = {"id": "a", "video_sha256": sha256(secret), "num_frames": 3}
    board.clip(MagicMock(), ended, {**clip, "video": "../secret.mp4"}, 0)
    assert added == []
    board.clip(MagicMock(), ended, {**clip, "video": "videos/a.mp4"}, 0)
    assert added == [folder / "videos" / "a.mp4", tmp_path / "sheet.png"]
    (flow,) = compose.build_loggers(compose.compose_config(["logger=mlflow", "output_dir=."]))
    assert isinstance(flow, MlflowLogger)
    stored, clips = MagicMock(), [{**clip, "video": name} for name in ("../secret.mp4", "videos/a.mp4")]
    flow.media(stored, replace(ended, record={"clips": clips}))
    assert [call.args[1:] for call in stored.experiment.log_artifact.call_args_list] == [(str(added[0]), "videos")]
    with pytest.raises(UserError, match="is not a file inside"):
        RunFolder(folder).sheet({"video": "../secret.mp4"})


def test_mlflow_logs_settings_numbers_and_videos_with_another_logger(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = run("logger=[csv,mlflow]", f"logger.mlflow.folder={tmp_path / 'store'}")
    assert "not found. Creating it" not in capfd.readouterr().err
    assert (folder / "csv" / "metrics.csv").is_file()
    content = json.loads((folder / "record.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("float-research")
    assert experiment is not None
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", folder.name)
    assert (kept.data.params["nfe"], kept.data.params["output_dir"]) == ("3", str(folder))
    assert kept.data.metrics["totals/measured/branches"] == content["totals"]["measured"]["branches"]
    assert kept.data.metrics["clip/num_frames"] == content["totals"]["frames"]
    video = folder / content["clips"][0]["video"]
    (copied,) = client.list_artifacts(kept.info.run_id, "videos")
    assert Path(client.download_artifacts(kept.info.run_id, copied.path)).read_bytes() == video.read_bytes()


def test_a_failing_logger_does_not_affect_the_run(run: Run, tmp_path: Path) -> None:
    class Down:
        def run(self, run: EndedRun) -> str | None:
            raise ConnectionError("no such host")

        def sweep(self, folder: Path, table: pd.DataFrame) -> str | None:
            return "told"

    told = EndedRun(folder=tmp_path, config={}, overrides=["nfe=3"], sweep=None, sheet=lambda clip: tmp_path)
    (said,) = tell([Down()], lambda logger: logger.run(told))
    assert "no such host" in said
    assert "complete without it" in said
    assert list(tell([Down()], lambda logger: logger.sweep(tmp_path, pd.DataFrame()))) == ["told"]


def test_loggers_are_built_at_the_end_of_a_sweep() -> None:
    compose.build_loggers(compose.compose_config(["logger=[csv,tensorboard,mlflow,wandb]"]))


def test_invalid_loggers_are_refused_before_the_run() -> None:
    with pytest.raises(UserError, match="a logger needs nowhere, .* " + re.escape(install("somewhere"))):
        LightningLogger(build=CSVLogger, packages={"nowhere": "somewhere"})
    with pytest.raises(UserError, match=r"mode=of.* is unknown; choose one of auto, online, offline, disabled"):
        compose.build_loggers(compose.compose_config(["logger=wandb", "logger.wandb.mode=of", "output_dir=out"]))
    assert compose.build_loggers(compose.compose_config(["output_dir=out"])) == []


def test_loggers_do_not_change_the_signature(run: Run) -> None:
    plain = json.loads((run() / "record.json").read_text())["signature"]
    assert json.loads((run("logger=csv") / "record.json").read_text())["signature"] == plain
