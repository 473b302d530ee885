"""Resuming runs, clips and numbers produced by other code."""

import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from float_research import cache, compose, recorded
from float_research.analysis.summary import summarise
from float_research.errors import UserError
from float_research.inference import measuring
from float_research.tracking import record
from float_research.tracking.runs import find

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=3", "metrics=[motion]"]
GUIDANCE = """
from float_research.sampling.guidance import Incremental


class Guidance(Incremental):
    def combine(self, weights, fields):
        return {} * super().combine(weights, fields)
"""
Run = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run(tmp_path: Path, portrait: Path, speech: Callable[[float], Path]) -> Run:
    """Runs a tiny job of two clips, `run("resume=…")`; returns its record and output."""
    rows = [f"{portrait},{speech(0.5)},first", f"{portrait},{speech(0.9)},second"]
    (tmp_path / "clips.csv").write_text("\n".join(["image,audio,id", *rows]))

    def made(*overrides: str) -> tuple[dict[str, Any], str]:
        console = Console(file=io.StringIO(), width=1000)
        settings = [*TINY, "data=manifest", f"data.file={tmp_path / 'clips.csv'}", f"output_dir={tmp_path / 'run'}"]
        content = compose.build_job(compose.compose_config([*settings, *overrides])).run(console)
        assert content is not None
        return content, console.file.getvalue()  # type: ignore[attr-defined]

    return made


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Pretends that the code of all parts has changed."""
    before = record.code
    return lambda: monkeypatch.setattr(record, "code", lambda *modules: "edited-" + before(*modules)[:8])


def made_at(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted((folder / "videos").glob("*.mp4"))]


def test_clips_of_other_code_are_rendered_again(run: Run, edited: Callable[[], None], tmp_path: Path) -> None:
    first, _ = run()
    before = made_at(tmp_path / "run")
    assert run("resume=true")[0]["sources"] == first["sources"]
    assert made_at(tmp_path / "run") == before
    edited()
    again, said = run("resume=true")
    assert "2 clips of other code" in said
    assert "made again; resume=keep keeps them" in said
    assert again["sources"].startswith("edited-")
    assert again["other_code"] == 0
    assert not set(made_at(tmp_path / "run")) & set(before)


def test_clips_of_other_code_are_kept_and_marked_on_request(
    run: Run, edited: Callable[[], None], tmp_path: Path
) -> None:
    first, _ = run()
    before = made_at(tmp_path / "run")
    edited()
    kept, said = run("resume=keep")
    assert "2 clips of other code or other versions of packages: kept and marked" in said
    assert (kept["sources"], kept["other_code"]) == (first["sources"], 2)
    assert made_at(tmp_path / "run") == before
    [video, _] = sorted((tmp_path / "run" / "videos").glob("*.mp4"))
    video.unlink()
    mixed, _ = run("resume=keep")
    assert mixed["sources"].startswith("edited-")
    assert (mixed["other_code"], mixed["clips_kept"]) == (1, 1)
    assert made_at(tmp_path / "run")[1:] == before[1:]
    row = summarise(find(tmp_path / "run")).iloc[0]
    assert (row["other_code"], row["sources"]) == (1, mixed["sources"])
    assert {"commit", "changed", "signature"} <= set(row.index)


def test_an_invalid_resume_is_rejected(run: Run) -> None:
    with pytest.raises(UserError, match="resume=perhaps is unknown; choose true, false or keep"):
        run("resume=perhaps")


def test_numbers_of_other_code_are_reported_and_measured_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    assert "not measured then" not in run("resume=true")[1]
    monkeypatch.setattr(measuring, "code", lambda *modules: "edited")
    assert "not measured then, or by other code or weights: motion_amplitude" in run("resume=true")[1]
    recorded.build_remeasuring(tmp_path / "run", recorded.choose_metrics(["metrics=[motion]"])).run()
    assert "not measured then" not in run("resume=true")[1]


def test_motion_of_other_code_is_not_compared_with_converged_motion_of_this_code(
    run: Run, edited: Callable[[], None], tmp_path: Path
) -> None:
    run()
    edited()
    content = recorded.build_remeasuring(tmp_path / "run", recorded.choose_metrics(["metrics=[sampling]"])).run()
    assert "sampling_error" not in content["clips"][0]["metrics"]
    assert "the code is no longer that of the run" in content["clips"][0]["absent"]["sampling_error"]


def test_converged_motion_of_other_code_is_not_reused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's guidance is edited between two runs that share a cache on disk."""
    monkeypatch.syspath_prepend(tmp_path)
    own = ["metrics=[sampling]", "guidance._target_=edited_guidance.Guidance", f"cache.folder={tmp_path / 'cache'}"]
    errors = []
    for factor, settings in ((1, own), (3, own), (3, [*own[:2], "cache=none"])):
        (tmp_path / "edited_guidance.py").write_text(GUIDANCE.format(factor))
        importlib.reload(importlib.import_module("edited_guidance"))
        cache.forget()
        content, _ = run(*settings)
        errors.append(content["clips"][0]["metrics"]["sampling_error"])
    assert errors[1] == errors[2] != errors[0]


def test_records_state_their_code(run: Run, tmp_path: Path) -> None:
    content, _ = run()
    for clip in content["clips"]:
        assert clip["run"].split() == [content["signature"], content["checkpoint"]["hash"], content["sources"]]
        assert json.loads((tmp_path / "run" / clip["video"]).with_suffix(".json").read_text())["run"] == clip["run"]
