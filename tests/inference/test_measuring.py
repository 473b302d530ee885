"""Metrics in a run: its record, its files, its failures."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from float_research import cache, compose, recorded
from float_research.errors import UserError
from float_research.files import sha256
from float_research.metrics.metric import Findings, Subject
from float_research.metrics.motion import Motion
from float_research.metrics.track import MotionTrack, load_track

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=3"]
QUIET = Console(quiet=True)
Run = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, speech: Callable[[float], Path]) -> Run:
    """Runs a tiny job, `run("metrics=…")`; returns its folder and record."""

    def made(*overrides: str, console: Console = QUIET) -> tuple[Path, dict[str, Any]]:
        clip = [] if "data=manifest" in overrides else [f"data.audio={speech(2.4)}"]
        folder = tmp_path / "run"
        settings = [*TINY, f"output_dir={folder}", *clip, *overrides]
        content = compose.build_job(compose.compose_config(settings)).run(console)
        assert content is not None
        return folder, content

    return made


def test_a_run_saves_its_motion_and_metrics(run: Run) -> None:
    folder, content = run("metrics=[motion]")
    clip = content["clips"][0]
    motion = (folder / clip["video"]).with_suffix(".motion.safetensors")
    track = load_track(motion)
    assert clip["motion_sha256"] == sha256(motion)
    assert track.motion.shape == (60, 32)
    assert track.window_starts.tolist() == [0, 50]
    torch.testing.assert_close(track.directions.T @ track.directions, torch.eye(20))
    velocity = track.motion.double().diff(dim=0).norm(dim=1).mean() * 25
    assert clip["metrics"]["motion_velocity"] == pytest.approx(float(velocity))
    traces = pd.read_parquet(folder / clip["traces"])
    assert list(traces.columns[:3]) == ["frame", "time_s", "motion_velocity"]
    assert traces["frame"].dtype.kind == "i"
    assert traces["time_s"].iloc[25] == 1
    assert traces["emotion_happy"].mean() == pytest.approx(clip["emotion"]["happy"], abs=1e-6)
    assert clip["seconds"]["metrics"] > 0
    assert (content["metrics"], content["absent"]) == ({}, {})


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_metrics_compute_in_float32_for_any_network_precision(precision: str, run: Run) -> None:
    _, content = run(f"trainer.precision={precision}", "metrics=[motion,lip_sync,sampling]")
    clip = content["clips"][0]
    assert clip["absent"] == {}
    assert 0 < clip["metrics"]["sampling_error"] < 1
    assert -1 < clip["metrics"]["lip_correlation"] < 1


def test_without_metrics_nothing_is_measured(run: Run) -> None:
    _, content = run("metrics=none")
    clip = content["clips"][0]
    assert (clip["metrics"], clip["absent"], clip["traces"], clip["flow"]) == ({}, {}, None, None)


def test_other_metrics_do_not_repeat_a_finished_run(run: Run) -> None:
    folder, content = run("metrics=none")
    before = (folder / content["clips"][0]["video"]).stat().st_mtime_ns
    console = Console(record=True, width=300, file=io.StringIO())
    _, again = run("metrics=[motion]", "resume=true", console=console)
    assert again["signature"] == content["signature"]
    assert "not measured then, or by other code or weights: motion_amplitude, motion_v" in console.export_text()
    assert (folder / content["clips"][0]["video"]).stat().st_mtime_ns == before


def test_a_metric_that_fails_does_not_lose_the_clip(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Motion, clip: Subject, track: MotionTrack) -> Findings:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Motion, "measure", fail)
    folder, content = run("metrics=[motion]")
    clip = content["clips"][0]
    assert clip["metrics"] == {}
    assert set(clip["absent"]) == set(Motion().names)
    assert clip["absent"]["motion_jerk"] == "failed with ZeroDivisionError: by zero"
    assert clip["traces"] is None
    assert (folder / clip["video"]).is_file()
    assert "NaN" not in json.dumps(content, default=str)


def test_an_invalid_motion_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"motion file .*a\.motion\.safetensors does not exist; run the clip again"):
        load_track(tmp_path / "a.motion.safetensors")
    (tmp_path / "a.motion.safetensors").write_bytes(b"text")
    with pytest.raises(UserError, match=r"motion file .* cannot be read .*; run the clip again"):
        load_track(tmp_path / "a.motion.safetensors")


def change(folder: Path, **parts: Any) -> None:
    """Rewrites parts of a run's record."""
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


def remeasure(folder: Path, *overrides: str) -> dict[str, Any]:
    return recorded.build_remeasuring(folder, recorded.choose_metrics(overrides)).run()


def test_metrics_computed_later_are_added_to_the_others(run: Run) -> None:
    folder, content = run("metrics=[motion,sampling]")
    expected, seconds = content["clips"][0]["metrics"], content["clips"][0]["seconds"]
    assert seconds["converge"] > seconds["metrics"] > 0, "a converged solution is an item of its own"
    _, bare = run("metrics=none")
    assert (bare["clips"][0]["metrics"], bare["clips"][0]["traces"]) == ({}, None)
    remeasure(folder, "metrics=[motion]")
    again = remeasure(folder, "metrics=[sampling]")
    clip = again["clips"][0]
    assert clip["metrics"] == pytest.approx(expected, rel=1e-6)
    assert json.loads((folder / "record.json").read_text()) == again
    assert json.loads((folder / clip["video"]).with_suffix(".json").read_text()) == clip
    assert {"motion_velocity", "sampling_error"} <= set(pd.read_parquet(folder / clip["traces"]))


def test_converged_motion_is_solved_later_with_the_model_of_the_run(run: Run, tmp_path: Path) -> None:
    def entries(name: str) -> list[str]:
        return [path.name for path in (tmp_path / name).glob("converged_motion/*/*")]

    caches = {name: f"cache.folder={tmp_path / name}" for name in ("first", "second")}
    cache.forget()
    folder, content = run("metrics=[sampling]", caches["first"])
    error = content["clips"][0]["metrics"]["sampling_error"]
    cache.forget()
    again = remeasure(folder, "metrics=[sampling]", caches["second"])
    assert again["clips"][0]["metrics"]["sampling_error"] == pytest.approx(error, rel=1e-4)
    assert entries("first") == entries("second") != [], "both have the same key"
    cache.forget()
    content["checkpoint"]["hash"] = "another"
    (folder / "record.json").write_text(json.dumps(content))
    again = remeasure(folder, "metrics=[sampling]", caches["second"])
    assert "weights are no longer those of the run" in again["clips"][0]["absent"]["sampling_error"]
    assert "sampling_error" not in again["clips"][0]["metrics"]


def test_frames_are_measured_from_the_video_and_recorded_as_such(run: Run) -> None:
    folder, content = run("metrics=[motion,flicker,sharpness]", "video.crf=0")
    first = content["clips"][0]
    assert first["from_video"] == []
    clip = remeasure(folder, "metrics=[motion,flicker]")["clips"][0]
    assert clip["from_video"] == ["flicker"]
    assert clip["metrics"]["flicker"] == pytest.approx(first["metrics"]["flicker"], rel=0.1)
    assert clip["metrics"]["flicker"] != first["metrics"]["flicker"], "chroma is subsampled even in lossless video"
    assert clip["metrics"]["sharpness"] == first["metrics"]["sharpness"]
    video = folder / clip["video"]
    video.write_bytes(video.read_bytes()[:-1])
    changed = remeasure(folder, "metrics=[flicker,motion]")["clips"][0]
    assert "is no longer the video of the run" in changed["absent"]["flicker"]
    assert changed["metrics"]["motion_jerk"] == first["metrics"]["motion_jerk"]


def test_the_label_of_a_manifest_is_used_when_measuring_later(
    run: Run, tmp_path: Path, portrait: Path, speech: Callable[[float], Path]
) -> None:
    def remembered(label: str) -> list[str]:
        (tmp_path / "clips.csv").write_text(f"image,audio,id,emotion\n{portrait},{speech(0.5)},one,{label}\n")
        settings = ["data=manifest", f"data.file={tmp_path / 'clips.csv'}", "metrics=[sampling]", "seed=99"]
        cache.forget()
        folder, content = run(f"cache.folder={tmp_path / 'cache'}", *settings)
        assert content["clips"][0]["label"] == (label or None)
        remeasure(folder, "metrics=[sampling]", f"cache.folder={tmp_path / 'cache'}")
        return sorted(path.name for path in (tmp_path / "cache").glob("converged_motion/*/*"))

    assert len(remembered("angry")) == 1
    assert len(remembered("")) == 2


def test_motion_that_changed_is_not_measured(run: Run) -> None:
    folder, content = run("metrics=none")
    motion = (folder / content["clips"][0]["video"]).with_suffix(".motion.safetensors")
    whole = motion.read_bytes()
    motion.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    absent = remeasure(folder, "metrics=[motion]")["clips"][0]["absent"]
    assert "is no longer the motion of the run" in absent["motion_jerk"]


ELSEWHERE = ["../../a.mp4", "videos/../../a.mp4", "settings.mp4", "videos/a.json", "/tmp/a.mp4", "videos/\0.mp4"]


@pytest.mark.parametrize("video", ELSEWHERE)
def test_a_record_cannot_point_outside_its_run(video: str, run: Run, tmp_path: Path) -> None:
    folder, content = run("metrics=none")
    change(folder, clips=[content["clips"][0] | {"video": video}])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="the run"):
        remeasure(folder, "metrics=[motion]")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_link_cannot_point_outside_a_run(run: Run, tmp_path: Path) -> None:
    folder, _ = run("metrics=none")
    (folder / "videos").rename(tmp_path / "elsewhere")
    (folder / "videos").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is not a file inside"):
        remeasure(folder, "metrics=[motion]")


def test_damaged_traces_are_reported_and_rewritten(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder, content = run("metrics=[motion]")
    traces = folder / content["clips"][0]["traces"]
    traces.write_bytes(traces.read_bytes()[:-9])
    remeasure(folder, "metrics=[motion]")
    assert f"table {traces} cannot be read" in caplog.text
    assert "motion_velocity" in pd.read_parquet(traces)


def test_missing_files_are_reported_and_the_rest_is_measured(run: Run) -> None:
    folder, content = run("metrics=none")
    video = folder / content["clips"][0]["video"]
    video.with_suffix(".motion.safetensors").unlink()
    clip = remeasure(folder, "metrics=[motion]")["clips"][0]
    assert set(clip["absent"]) == set(Motion().names)
    assert "needs motion latents" in clip["absent"]["motion_jerk"]
    (folder / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"record\.json cannot be read"):
        remeasure(folder, "metrics=[motion]")
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml does not exist"):
        remeasure(folder, "metrics=[motion]")
    with pytest.raises(UserError, match="nfe=3 cannot be changed in a finished run"):
        remeasure(folder, "nfe=3")
