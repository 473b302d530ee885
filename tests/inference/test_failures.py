"""A bad file fails only its own clips, which are reported; the others are rendered."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz.processes import script
from omegaconf import OmegaConf
from PIL import Image as PillowImage
from rich.console import Console

from float_research import compose, sweep
from float_research.analysis.summary import summarise
from float_research.data.clips import ClipLoader
from float_research.errors import UserError
from float_research.tracking.record import read_record
from float_research.tracking.runs import find

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=motion"]


def job(folder: Path, *overrides: str) -> Any:
    return compose.build_job(compose.compose_config([*TINY, f"output_dir={folder}", *overrides]))


def run(folder: Path, *overrides: str) -> tuple[dict[str, Any], str]:
    """Returns the record and the output."""
    console = Console(record=True, width=200, file=io.StringIO())
    content = job(folder, *overrides).run(console)
    assert content is not None
    return content, console.export_text()


@pytest.fixture
def folder(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> Path:
    """Writes four images and four recordings, one of each broken."""
    place = tmp_path / "batch"
    place.mkdir()
    with PillowImage.open(portrait) as file:
        for number in range(3):
            file.resize((80 + number, 80)).save(place / f"face{number}.png")
    for number in range(3):
        shutil.copy(speech(0.1 + number / 10), place / f"say{number}.wav")
    (place / "face3.png").write_bytes((place / "face0.png").read_bytes()[:2000])
    (place / "say3.wav").write_bytes(b"RIFF")
    return place


def grid(folder: Path) -> list[str]:
    return ["data=grid", f"data.images={folder}", f"data.audios={folder}"]


def test_a_folder_with_a_broken_image_and_a_broken_recording(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    content, said = run(out, *grid(folder))
    good = {f"face{face}-say{say}" for face in range(3) for say in range(3)}
    assert {clip["id"] for clip in content["clips"]} == good
    assert len(content["failed"]) == 7
    assert {clip["id"] for clip in content["failed"]}.isdisjoint(good)
    assert set(content["failed"][0]) == {"id", "image", "audio", "reason"}
    assert "failed: 7 of 16 clips" in said
    lines = [line for line in said.splitlines() if "cannot be read" in line]
    assert len(lines) == 2, "one for each file"
    assert any("image" in line and "face3.png cannot be read" in line for line in lines)
    assert any("audio" in line and "say3.wav cannot be read" in line for line in lines)
    assert read_record(out / "record.json")["failed"] == content["failed"]
    assert summarise(find(out))["failed"].tolist() == [7]
    shutil.copy(folder / "face1.png", folder / "face3.png")
    shutil.copy(folder / "say1.wav", folder / "say3.wav")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    content, said = run(out, *grid(folder), "resume=true")
    assert (len(content["clips"]), content["clips_kept"], content["failed"]) == (16, 9, [])
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert "failed:" not in said
    assert "finished before" in run(out, *grid(folder), "resume=true")[1]


def test_the_exit_code_says_that_clips_are_missing(folder: Path, tmp_path: Path) -> None:
    def ended(*more: str) -> int:
        arguments = [*TINY, *grid(folder), f"hydra.run.dir={tmp_path / 'out'}", *more]
        return script("infer", arguments, tmp_path / "process").code

    assert ended("dry_run=true") == 3
    assert ended("dry_run=true", "on_error=stop") == 2
    (folder / "face3.png").unlink()
    (folder / "say3.wav").unlink()
    assert ended("dry_run=true") == 0


def test_a_dry_run_reports_failures(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("nothing")
    content, said = run(tmp_path / "out", *grid(folder), "dry_run=true")
    assert len(content["failed"]) == 7
    assert "data.images: skipped 1 without a picture (notes.txt)" in said
    assert "data.audios: skipped 1 without a recording (notes.txt)" in said
    assert "failed: 7 of 16 clips" in said


def test_on_error_stop_ends_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"face3\.png cannot be read"):
        run(tmp_path / "out", *grid(folder), "on_error=stop")
    pair = [f"data.image={folder / 'face3.png'}", f"data.audio={folder / 'say0.wav'}"]
    for more in ([], ["on_error=skip"]):
        with pytest.raises(UserError, match=r"face3\.png cannot be read"):
            run(tmp_path / "out", *pair, *more)
    with pytest.raises(UserError, match="on_error=go is unknown; choose stop or skip"):
        job(tmp_path / "out", "on_error=go")
    assert not (tmp_path / "out").exists()


def test_a_run_without_valid_clips_fails(folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        (folder / f"face{number}.png").unlink()
    with pytest.raises(UserError, match=r"all 4 clips failed: image .*face3\.png cannot be read"):
        run(tmp_path / "out", *grid(folder))


def test_clips_can_fail_at_face_detection_and_loading(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are valid when the run is planned."""
    for name in ("face3.png", "say3.wav"):
        (folder / name).unlink()
    find_face, load = ClipLoader.portrait, ClipLoader.__call__

    def portrait(self: ClipLoader, clip: Any) -> Any:
        if clip.image.name == "face0.png":
            raise UserError("no face found")
        return find_face(self, clip)

    def loading(self: ClipLoader, clip: Any) -> Any:
        if clip.id == "face1-say1":
            raise UserError("gone")
        return load(self, clip)

    monkeypatch.setattr(ClipLoader, "portrait", portrait)
    monkeypatch.setattr(ClipLoader, "__call__", loading)
    content, _ = run(tmp_path / "out", *grid(folder), "batch_clips=2")
    reasons = {clip["id"]: clip["reason"] for clip in content["failed"]}
    assert reasons == {**{f"face0-say{say}": "no face found" for say in range(3)}, "face1-say1": "gone"}
    assert len(content["clips"]) == 5
    assert not list((tmp_path / "out").rglob("*.failed.json"))
    monkeypatch.setattr(ClipLoader, "__call__", lambda self, clip: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "out", *grid(folder))


def write(path: Path, rows: list[dict[str, Any]]) -> list[str]:
    columns = ["image", "audio", "id", "start_s", "end_s", "seed", "crop", "face"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return ["data=manifest", f"data.file={path}"]


def test_a_manifest_skips_like_a_folder(folder: Path, tmp_path: Path) -> None:
    rows = [{"image": folder / "face0.png", "audio": folder / f"say{say}.wav", "id": say} for say in (0, 3)]
    content, said = run(tmp_path / "out", *write(tmp_path / "clips.csv", rows), "dry_run=true")
    assert [clip["id"] for clip in content["failed"]] == ["3"]
    assert "failed: 1 of 2 clips" in said


def test_a_run_is_complete_once_broken_files_are_removed(folder: Path, tmp_path: Path) -> None:
    rows = [{"image": folder / "face0.png", "audio": folder / f"say{say}.wav", "id": say} for say in (0, 3)]
    content, _ = run(tmp_path / "out", *write(tmp_path / "clips.csv", rows))
    assert len(content["failed"]) == 1
    content, _ = run(tmp_path / "out", *write(tmp_path / "clips.csv", rows[:1]), "resume=true")
    assert (content["clips_kept"], content["failed"]) == (1, [])


def test_a_changed_manifest_row_is_rendered_again(folder: Path, tmp_path: Path) -> None:
    files = {"image": folder / "face0.png", "audio": folder / "say2.wav"}
    rows: list[dict[str, Any]] = [{**files, "id": "a"}, {**files, "id": "b", "seed": 1}]
    out = tmp_path / "out"

    def made_anew(*more: str) -> set[str]:
        before = {path.stem: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
        run(out, *write(tmp_path / "clips.csv", rows), "resume=true", *more)
        return {path.stem for path in out.rglob("*.mp4") if before.get(path.stem) != path.stat().st_mtime_ns}

    assert made_anew() == {"a", "b"}
    clips = {clip["id"]: clip for clip in read_record(out / "record.json")["clips"]}
    assert (clips["a"]["seed"], clips["b"]["seed"]) == (None, 1)
    assert clips["a"]["motion_sha256"] != clips["b"]["motion_sha256"]
    assert made_anew() == set()
    for change in ({"seed": 2}, {"seed": ""}, {"crop": "0,0,40,40"}, {"crop": "0,0,40,41"}, {"crop": "", "end_s": 0.2}):
        rows[1] |= change
        assert made_anew() == {"b"}, change
        assert made_anew() == set()
    old = out / "videos" / "a.json"
    said = json.loads(old.read_text())
    for name in ("excerpt", "seed", "crop", "face_index"):
        del said[name]
    old.write_text(json.dumps(said))
    (out / "record.json").unlink()
    assert made_anew() == set(), "a clip of an older version has no settings of its own"


def test_a_clip_seed_equals_the_same_run_seed(folder: Path, tmp_path: Path) -> None:
    files = {"image": folder / "face0.png", "audio": folder / "say2.wav", "id": "a"}
    name = "name='{id}-{seed}'"
    one, _ = run(tmp_path / "one", *write(tmp_path / "clips.csv", [{**files, "seed": 7}]), name)
    other, _ = run(tmp_path / "other", *write(tmp_path / "clips.csv", [files]), name, "seed=7")
    assert one["clips"][0]["video"] == other["clips"][0]["video"] == "videos/a-7.mp4"
    assert one["clips"][0]["motion_sha256"] == other["clips"][0]["motion_sha256"]


def test_a_sweep_continues_and_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    config = OmegaConf.create(
        {"hydra": {"sweep": {"dir": str(tmp_path)}}, "logger": {}, "dry_run": False, "submit": False}
    )
    for failed, num_failed, code in ([0, 2], 0, 3), ([0, 2], 1, 1), ([0, 0], 0, None):
        table = pd.DataFrame({"run": ["0", "1"], "failed": failed})
        monkeypatch.setattr("float_research.analysis.summary.report", lambda *_: (table, num_failed))  # noqa: B023
        sweep.claim(tmp_path, {})
        if code is None:
            sweep.Sweep().on_multirun_end(config)
        else:
            with pytest.raises(SystemExit) as ended:
                sweep.Sweep().on_multirun_end(config)
            assert ended.value.code == code


@pytest.mark.parametrize(("error", "code"), [(UserError("summary.csv is not ours"), 2), (ValueError("x"), 1)])
def test_a_sweep_without_summary_does_not_exit_with_0(
    error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise error

    settings = {"hydra": {"sweep": {"dir": str(tmp_path)}}, "logger": {}, "dry_run": False, "submit": False}
    config = OmegaConf.create(settings)
    monkeypatch.setattr("float_research.analysis.summary.report", fails)
    with pytest.raises(SystemExit) as ended:
        sweep.Sweep().on_multirun_end(config)
    assert ended.value.code == code
    assert str(error) in capsys.readouterr().err


def test_an_older_record_has_no_failures(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"clips": []}')
    assert "failed" not in read_record(tmp_path / "record.json")
    (tmp_path / "record.json").write_text('{"clips": [], "failed": [{"id": 3}]}')
    with pytest.raises(UserError, match=r"failed\.0\.id is not a string"):
        read_record(tmp_path / "record.json")
