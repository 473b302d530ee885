"""Settings in a record choose and configure our parts, and run nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from float_research import compose, recorded
from float_research.errors import UserError
from float_research.trust import RENAMED, check_record, is_allowed, is_class, renamed

CONF, SOURCE = compose.config_folder(), Path("config.yaml")
HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "runstring": {"_target_": "numpy.testing.runstring", "astr": "open('{mark}', 'w')", "dict": {}},
    "popen": {"_target_": "psutil.Popen", "args": ["touch", "{mark}"]},
    "subprocess": {"_target_": "subprocess.Popen", "args": ["touch", "{mark}"]},
    "open": {"_target_": "builtins.open", "file": "{mark}", "mode": "w"},
    "touch": {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": ["{mark}"]}},
    "load": {"_target_": "torch.load", "f": "{mark}", "weights_only": False},
    "joblib": {"_target_": "joblib.load", "filename": "{mark}"},
    "url": {"_target_": "urllib.request.urlopen", "url": "http://127.0.0.1:9/"},
    "module": {"_target_": "float_research.cache.os.system", "command": "touch '{mark}'"},
    "function": {"_target_": "float_research.models.checkpoint.read_weights", "path": "{mark}"},
    "another group": {"_target_": "float_research.video.writer.VideoWriter", "path": "{mark}"},
    "no text": {"_target_": ["numpy.testing.runstring"]},
    "args": {"_target_": "float_research.models.checkpoint.Random", "_args_": [0]},
    "interpolation": {"_target_": "float_research.models.checkpoint.Random", "seed": "${oc.env:HOME}"},
    "deep": {
        "_target_": "float_research.models.checkpoint.Random",
        "seed": [[{"x": {"_target_": "builtins.open", "file": "{mark}", "mode": "w"}}]],
    },
}

REFUSED = "is not a part of float-research|is not allowed in a record|would be read as an interpolation"
"""How our own check refuses, before Hydra, whose block list is no security boundary."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, speech: Callable[[float], Path]) -> Path:
    folder = tmp_path_factory.mktemp("trust") / "run"
    told = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=none"]
    compose.build_job(compose.compose_config([*told, f"data.audio={speech(0.3)}", f"output_dir={folder}"])).run(
        Console(quiet=True)
    )
    return folder


def filled(node: Any, mark: str) -> Any:
    if isinstance(node, Mapping):
        return {key: filled(value, mark) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, mark) for value in node]
    return node.replace("{mark}", mark) if isinstance(node, str) else node


@pytest.mark.parametrize("group", ["checkpoint", "face", "solver", "trainer", "video"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_else_that_a_record_names_is_run(name: str, group: str, made: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    config = yaml.safe_load((made / "config.yaml").read_text())
    config[group] = filled(HOSTILE[name], str(mark))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=rf"config\.yaml: {group}\..*({REFUSED})"):
        recorded.build_remeasuring(tmp_path, recorded.choose_metrics([]))
    assert not mark.exists()


OURS = [path for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name not in ("experiment", "hydra")]


@pytest.mark.parametrize("file", OURS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_setting_of_ours_is_allowed(file: Path) -> None:
    check_record({file.parent.name: plain(yaml.safe_load(file.read_text()) or {})}, SOURCE, CONF, [])


def plain(node: Any) -> Any:
    """Returns settings without interpolations, as in a record."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != "defaults"}
    return None if isinstance(node, str) and "$" in node else node


def test_a_recorded_trainer_has_no_more_than_ours(made: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((made / "config.yaml").read_text())
    config["trainer"] |= {"profiler": "simple", "default_root_dir": str(tmp_path / "elsewhere")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    chosen = recorded.choose_metrics([])
    trainer = recorded.recorded_config(tmp_path, chosen).trainer
    assert trainer.keys() <= chosen.config.trainer.keys()
    assert not {"profiler", "default_root_dir"} & trainer.keys(), "they would write files"


def test_a_users_class_needs_its_module_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import os\nclass Part: ...\ndef part(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"noise": {"_target_": "mine.Part"}}
    with pytest.raises(UserError, match=r"noise\._target_=mine\.Part is not a part .* trust=MODULE"):
        check_record(config, SOURCE, CONF, [])
    assert "mine" not in sys.modules, "an untrusted module is not even imported"
    check_record(config, SOURCE, CONF, ["mine"])
    for other in ("mine.part", "mine.os.system", "mine.Nothing", "mine2.Part"):
        with pytest.raises(UserError, match="is not a part of float-research"):
            check_record({"noise": {"_target_": other}}, SOURCE, CONF, ["mine"])
    assert recorded.choose_metrics(["trust=mine", "metrics=none"]).trusted == ["mine"]
    with pytest.raises(UserError, match="is not a module name"):
        recorded.choose_metrics(["trust=../mine"])


@pytest.mark.parametrize("group", ["checkpoint", "face", "model", "solver", "trainer"])
def test_a_group_without_its_class_is_refused(group: str, made: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((made / "config.yaml").read_text())
    del config[group]["_target_"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=rf"config\.yaml does not say which option of {group} the run used; repeat"):
        recorded.build_remeasuring(tmp_path, recorded.choose_metrics([]))


@pytest.mark.parametrize(
    "setting", ["sampling_rate_hz=0", "sampling_rate_hz=1" + "0" * 30, "fps=0", "fps=1e9", "fps=-1", "fps=text"]
)
def test_no_model_of_a_record_has_absurd_sizes(setting: str, made: Path, tmp_path: Path) -> None:
    name, _, value = setting.partition("=")
    config = yaml.safe_load((made / "config.yaml").read_text())
    config["model"][name] = yaml.safe_load(value)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"model|fps"):
        recorded.build_remeasuring(tmp_path, recorded.choose_metrics([]))


def test_a_run_that_cannot_be_measured_does_not_affect_others(made: Path, tmp_path: Path) -> None:
    for number in range(3):
        shutil.copytree(made, tmp_path / str(number))
    config = yaml.safe_load((made / "config.yaml").read_text())
    config["model"]["fps"] = 0
    (tmp_path / "0" / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "1" / "config.yaml").write_text(yaml.safe_dump({**config, "solver": HOSTILE["popen"]}))
    command = [sys.executable, "scripts/measure.py", str(tmp_path), "metrics=[motion]"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONF.parent)
    assert ended.returncode == 1
    assert "model.fps=0 must be" in ended.stdout.replace("\n", " ")
    assert "solver._target_=psutil.Popen is not a part" in ended.stdout.replace("\n", " ")
    assert f"3/3 {tmp_path / '2'}: measuring\n  measured 1 clip in " in ended.stdout


@pytest.mark.parametrize("old", RENAMED)
def test_only_classes_of_ours_that_exist_replace_renamed_ones(old: str) -> None:
    assert (is_class(RENAMED[old]), is_class(old)) == (True, False)
    assert renamed([{"a": {"_target_": old}}, [old]]) == [{"a": {"_target_": RENAMED[old]}}, [old]]


def test_a_class_belongs_to_its_group() -> None:
    solver = "float_research.sampling.solver.Euler"
    assert is_allowed(("solver", "_target_"), solver, CONF, [])
    assert not is_allowed(("noise", "_target_"), solver, CONF, [])
    assert not is_allowed(("../solver", "_target_"), solver, CONF, [])
    assert is_allowed(("guidance", "audio", "_target_"), "float_research.sampling.schedule.Linear", CONF, [])
    assert is_allowed(("trainer", "_target_"), "lightning.Trainer", CONF, [])
