"""Repeats of finished runs: differences are reported, and records are only data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz.processes import Ended, script
from rich.console import Console

from float_research import compose, recorded, rerunning
from float_research.analysis.load import load_runs
from float_research.errors import UserError
from float_research.tracking.record import write_config
from float_research.trust import RENAMED

TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "metrics=none"]
QUIET = Console(quiet=True)


@pytest.fixture
def first(tmp_path: Path, speech: Callable[[float], Path]) -> Path:
    """Returns the folder of a finished run."""
    told = [*TINY, f"data.audio={speech(0.4)}", "nfe=3", "guidance.audio.scale=1.5"]
    job = compose.build_job(compose.compose_config([*told, f"output_dir={tmp_path / 'first'}"]))
    content = job.run(QUIET)
    assert content is not None
    content["overrides"] = told  # as in a script's record
    (tmp_path / "first" / "record.json").write_text(json.dumps(content))
    return tmp_path / "first"


def settings(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_the_same_run_elsewhere(first: Path, tmp_path: Path) -> None:
    assert "output_dir" not in settings(first)
    again = rerunning.again(first, [], tmp_path / "second")
    assert again.differs == []
    assert list(rerunning.other_code(again)) == []
    content = compose.build_job(again.config).run(QUIET)
    assert content is not None
    assert settings(tmp_path / "second") == settings(first) | {"time": settings(tmp_path / "second")["time"]}
    [line] = rerunning.compare(again.record, content)
    assert line.endswith(": the same motion, bit for bit")


def test_other_settings_code_and_versions_are_reported(first: Path, tmp_path: Path) -> None:
    content = json.loads((first / "record.json").read_text())
    changed = {"sources": "other", "git": {"commit": "abc", "changed": True}, "versions": {"torch": "1.0"}}
    (first / "record.json").write_text(json.dumps(content | changed))
    again = rerunning.again(first, ["solver=midpoint", "seed=3"], tmp_path / "second")
    assert again.differs == [
        "seed: 15 → 3",
        "solver._target_: float_research.sampling.multistep.Abm2 → float_research.sampling.solver.Midpoint",
    ]
    code, *versions = rerunning.other_code(again)
    assert code.startswith("code: differs from the run's, at commit abc")
    assert any(line.startswith("torch: 1.0 → ") for line in versions)
    made = compose.build_job(again.config).run(QUIET)
    assert made is not None
    [line] = rerunning.compare(again.record, made)
    assert line.endswith(": other motion")


def test_defaults_that_changed_since_keep_their_recorded_values(first: Path, tmp_path: Path) -> None:
    then = settings(first)
    then["guidance"]["emotion"]["scale"], then["seed"] = 0.25, 99  # the defaults of an older version
    write_config(first, then)
    again = rerunning.again(first, ["seed=4"], tmp_path / "second")
    assert again.config.guidance.emotion.scale == 0.25
    assert again.config.guidance.audio.scale == 1.5
    assert again.config.seed == 4
    assert again.differs == ["seed: 99 → 4"]


@pytest.mark.parametrize("option", ["csv", "tensorboard"])
def test_classes_that_were_renamed_since_are_found(option: str, first: Path, tmp_path: Path) -> None:
    then = compose.resolved(compose.compose_config([*TINY, f"logger={option}", "output_dir=x"]))
    logger = then["logger"][option]
    logger.pop("animate", None)  # which came later
    logger["_target_"] = next(iter(RENAMED))
    write_config(first, {**settings(first), "logger": then["logger"]})
    content = json.loads((first / "record.json").read_text())
    content["overrides"].append(f"logger={option}")
    (first / "record.json").write_text(json.dumps(content))
    assert load_runs(first)["measured_evaluations"].notna().all()
    again = rerunning.again(first, [], tmp_path / "second")
    assert all(said.startswith(f"logger.{option}.") for said in again.differs), again.differs
    assert compose.build_loggers(again.config)
    assert recorded.build_remeasuring(first, recorded.choose_metrics(["metrics=motion"])).run()["clips"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("name='${oc.env:HOME}'", "is not a setting of a run"),
        ("hydra.searchpath=[file:///tmp]", "is not a setting of a run"),
        ("solver._target_=os.system", "is not a part of float-research"),
    ],
)
def test_a_record_that_is_more_than_data_is_refused(first: Path, tmp_path: Path, override: str, said: str) -> None:
    content = json.loads((first / "record.json").read_text())
    content["overrides"].append(override)
    (first / "record.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        rerunning.again(first, [], tmp_path / "second")
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("value", "said"), [("${oc.env:HOME}", "as an interpolation"), ({"_target_": "os.getcwd"}, "is not a part of")]
)
def test_settings_that_are_more_than_data_are_refused(value: Any, said: str, first: Path, tmp_path: Path) -> None:
    write_config(first, settings(first) | {"batch_clips": value})
    with pytest.raises(UserError, match=rf"config\.yaml: batch_clips.*{said}"):
        rerunning.again(first, [], tmp_path / "second")


def rerun(*arguments: str, folder: Path) -> Ended:
    return script("rerun", arguments, folder)


def test_the_command_reports_differences_and_keeps_the_first_run(first: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    ended = rerun(str(first), "nfe=4", folder=tmp_path)
    assert ended.code == 0, ended.error
    assert "nfe: 3 → 4" in ended.output
    assert ": other motion" in ended.output
    [record] = (tmp_path / "outputs" / "infer").glob("*/record.json")
    assert json.loads(record.read_text())["totals"]["measured"]["evaluations"] > 0
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    refused = script("infer", ["--config-path", str(first), "--config-name", "config", "nfe=4"], tmp_path)
    assert refused.code == 2
    assert "rerun" in refused.error
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    nowhere = rerun(str(tmp_path / "nothing"), folder=tmp_path)
    assert nowhere.code == 2
    assert "nothing/record.json" in nowhere.error
    assert len(list((tmp_path / "outputs" / "infer").iterdir())) == 1, "nothing was started"
