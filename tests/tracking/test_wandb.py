"""Runs at W&B: their ids, their names, and what is uploaded."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import wandb
import yaml
from fuzz.processes import Running, script
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args, load_sweep_config

from float_research import compose, overrides
from float_research.errors import UserError
from float_research.files import sha256
from float_research.tracking.logger import EndedRun
from float_research.tracking.runs import varied
from float_research.tracking.weights_and_biases import (
    WeightsAndBiases,
    _LoggedRun,
    _sort_out,
    find_offline,
    run_id,
    trace_plots,
)

ROOT = Path(__file__).parents[2]
TINY = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "metrics=none"]
OFFLINE = ["logger=wandb", "logger.wandb.mode=offline"]


def places(folder: Path) -> list[Path]:
    """Returns W&B's folders below a folder, in the order in which runs were logged."""
    found = [place for place in folder.rglob("offline-run-*") if place.is_dir()]
    return sorted(found, key=lambda place: place.stat().st_ctime_ns)


def logged_ids(folder: Path) -> list[str]:
    return [place.name.rpartition("-")[2] for place in places(folder)]


def logged(folder: Path) -> list[dict[str, Any]]:
    """Reads W&B's files of each run below a folder, in the order in which they were logged."""
    return [described(place) for place in places(folder)]


def described(place: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    entries = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (run,) = [entry["run"] for entry in entries if entry["type"] == "run"]
    names = {"id": "run_id", "name": "display_name", "group": "run_group", "kind": "job_type"}
    history = [entry["history"]["item"] for entry in entries if entry["type"] == "history"]
    about = {short: run.get(name) for short, name in names.items()} | {k: run.get(k) for k in ("project", "tags")}
    return {**about, "config": run["config"]["update"], "history": history}


def logger(**settings: Any) -> WeightsAndBiases:
    (made,) = compose.build_loggers(compose.compose_config(["logger=wandb", "output_dir=."]))
    assert isinstance(made, WeightsAndBiases)
    return replace(made, **settings)


def of(folder: Path, *given: str, **more: Any) -> EndedRun:
    settings: dict[str, Any] = {"config": {}, "sweep": None, "sheet": lambda clip: folder / "sheet.png", **more}
    return EndedRun(folder=folder, overrides=list(given), **settings)


def test_a_sweep_that_is_logged_again_keeps_its_ids(speech: Callable[[float], Path], tmp_path: Path) -> None:
    sweep = ["-m", *TINY, "nfe=2,3", "seed=4", f"data.audio={speech(0.3)}", f"hydra.sweep.dir={tmp_path / 'nfes'}"]
    ended = script("infer", [*sweep, *OFFLINE], tmp_path / "first")
    assert ended.code == 0, ended.error
    runs = logged(tmp_path)
    assert [(run["name"], run["group"], run["kind"]) for run in runs] == [
        ("nfe=2", "nfes", "infer"),
        ("nfe=3", "nfes", "infer"),
        ("summary of nfes", "nfes", "sweep"),
    ]
    ids = [run["id"] for run in runs]
    assert len(set(ids)) == 3
    time.sleep(1)  # W&B's folders are named by the second
    assert script("infer", [*sweep, *OFFLINE, "resume=true"], tmp_path / "second").code == 0
    assert logged_ids(tmp_path) == [*ids, ids[-1]], "only the summary again"
    time.sleep(1)
    again = script("track", [str(tmp_path / "nfes"), *OFFLINE], tmp_path / "third")
    assert again.code == 0, again.error
    assert logged_ids(tmp_path)[4:] == ids
    assert len(find_offline(tmp_path / "nfes").runs) == 2


def test_a_failure_to_log_is_one_sentence(speech: Callable[[float], Path], tmp_path: Path) -> None:
    place = [f"data.audio={speech(0.3)}", "nfe=2", f"hydra.run.dir={tmp_path / 'run'}"]
    assert script("infer", [*TINY, *place], tmp_path / "first").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "record.json").write_text('{"clips": []}')
    ended = script("track", [str(tmp_path), *OFFLINE], tmp_path / "second")
    assert ended.code == 1
    assert len(logged(tmp_path / "run")) == 1, "the other run is still logged"
    assert f"{tmp_path / 'other'}: not logged" in ended.error
    for given, said in {
        "nfe=3": "error: nfe=3 cannot be changed in a finished run; give only logger=… and its settings\n",
        "logger=none": "error: logger=none logs nothing; choose another, such as logger=wandb\n",
    }.items():
        ended = script("track", [str(tmp_path), given], tmp_path / "third")
        assert (ended.code, ended.error) == (2, said)


def test_concurrent_agents_have_their_own_runs(speech: Callable[[float], Path], tmp_path: Path) -> None:
    shared = [*TINY, *OFFLINE, f"data.audio={speech(0.3)}", f"logger.wandb.dir={tmp_path / 'logged'}"]
    (tmp_path / "logged").mkdir()
    agents = []
    for number in range(4):
        given = ["--nfe=2", f"--seed={number}", f"hydra.run.dir={tmp_path / 'runs' / str(number)}"]
        agents.append(Running("infer", [*given, *shared], tmp_path / str(number)))
    assert [agent.finish().code for agent in agents] == [0] * 4
    runs = logged(tmp_path / "logged")
    assert sorted(run["name"].split()[1] for run in runs) == [f"seed={number}" for number in range(4)]
    assert len({run["id"] for run in runs}) == 4


def test_an_agents_run_has_the_given_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    logger(mode="offline").run(of(tmp_path))
    logger(mode="offline").run(of(tmp_path / "0", sweep="s"))
    wandb.teardown()
    assert sorted(run["id"] for run in logged(tmp_path)) == sorted(["given", run_id(tmp_path / "0", {})])


def test_the_environment_sets_what_the_config_leaves_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logged").mkdir()
    for name, value in {
        "PROJECT": "p", "NAME": "n", "TAGS": "a,b", "DIR": str(tmp_path / "logged"), "MODE": "offline",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"WANDB_{name}", value)
    logger().run(of(tmp_path / "run", "nfe=3"))
    (said,) = logged(tmp_path / "logged")
    assert (said["project"], said["name"], said["tags"]) == ("p", "n", ["a", "b"])
    logger(project="q", name="m", tags=["c"], dir=str(tmp_path)).run(of(tmp_path / "run", "nfe=3"))
    (said,) = logged(tmp_path / "wandb")
    assert (said["project"], said["name"], said["tags"]) == ("q", "m", ["c"])


def test_disabled_logs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(wandb, "init", pytest.fail)
    assert logger().run(of(tmp_path)) is None
    assert logger().sweep(tmp_path, pd.DataFrame()) is None
    assert list(tmp_path.iterdir()) == []


def test_names_are_short_and_hold_what_varies(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"nfe": "2,3", "solver": "euler", "data.image": "a/b.png,a/c.png"}))
    given = ["solver=euler", "nfe=2", "data.image=a/b.png", "logger=wandb", "resume=true"]
    assert of(tmp_path / "0", *given, sweep="s").name == "nfe=2 data.image=b.png"
    assert of(tmp_path / "0", *given).name == "solver=euler nfe=2 data.image=b.png"
    assert of(tmp_path / "0").name == "0"
    many = [of(tmp_path, *(f"a{i}=1" for i in range(90)), f"b={b}").name for b in (1, 2)]
    assert [len(name) for name in many] == [128, 128]
    assert many[0] != many[1]
    (tmp_path / "sweep.json").write_text("[")
    assert varied(given[:2], tmp_path) == ["solver=euler", "nfe=2"], "without a record of the sweep, anything may vary"


class Online:
    """A minimal W&B run."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.resumed, self.summary, self.history = bool(summary), summary, list[Any]()
        self.settings, self.url = SimpleNamespace(mode="online"), "https://wandb"

    def __enter__(self) -> "Online":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def define_metric(self, name: str, **_: Any) -> None:
        return

    def log(self, values: Any) -> None:
        self.history.append(values)


@pytest.mark.parametrize(
    ("before", "logged"), [({}, 1), ({"started": "now"}, 0), ({"error": "no", "started": "then"}, 1)]
)
def test_online_a_run_is_resumed_without_duplicates(
    before: dict[str, Any], logged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, asked = Online(dict(before)), dict[str, Any]()

    def init(**settings: Any) -> Online:
        asked.update(settings)
        return opened

    monkeypatch.setattr(wandb, "init", init)
    clip = {"id": "a", "image": "", "audio": "", "metrics": {"x": 1}}
    named = dict.fromkeys(("signature", "overrides", "seed", "device"))
    numbers = {"totals": {}, "load_s": 1, "wall_s": 1, "peak_memory_mb": {}, "checkpoint": {}}
    logger(mode="online").run(of(tmp_path, record={**named, **numbers, "started": "now", "clips": [clip]}))
    assert (asked["id"], asked["resume"]) == (run_id(tmp_path, {}), "allow")
    assert [step["clip/id"] for step in opened.history if "clip/id" in step] == ["a"] * logged
    assert opened.summary["started"] == "now"
    assert opened.summary.get("error") is None


def test_no_other_file_is_uploaded(tmp_path: Path, speech: Callable[[float], Path]) -> None:
    """A tampered record names one of the user's files."""
    secret = shutil.copy(speech(0.3), tmp_path / "secret.wav")
    run = tmp_path / "run"
    clip = {"id": "a", "video": "../secret.wav", "image": str(secret), "audio": str(secret)}
    hashes = {"video_sha256": sha256(secret), "image_sha256": "0" * 64}
    record = {"totals": {}, "load_s": 1, "wall_s": 1, "peak_memory_mb": {}, "checkpoint": {}, "started": "now"}
    record |= dict.fromkeys(("signature", "overrides", "seed", "device"))
    logger(mode="offline").run(of(run, record={**record, "clips": [{**clip, **hashes}]}))
    wandb.teardown()
    assert [path.parent.name for path in run.rglob("media/*/*")] == ["table"]
    logger(mode="offline").run(of(run / "2", record={**record, "clips": [{**clip, "audio_sha256": sha256(secret)}]}))
    wandb.teardown()
    assert [path.suffix for path in (run / "2").rglob("media/*/*") if path.parent.name != "table"] == [".wav"]


def test_a_damaged_run_does_not_affect_others() -> None:
    def logged(name: str, **summary: Any) -> _LoggedRun:
        settings: dict[str, Any] = {"folder": f"/runs/{name}/files", "job_type": "infer", "config": {}, "history": []}
        return _LoggedRun(name=name, summary={"started": "now", **summary}, **settings)

    found = _sort_out([logged("bad", totals=3), logged("nested", **{"a": 1, "a/b": 2}), logged("good")], [])
    assert [run.name for run in found.runs] == ["good"]
    assert [str(path) for path in found.damaged] == ["/runs/bad", "/runs/nested"]


def test_only_a_runs_own_traces_and_videos_are_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    for place in (tmp_path, run):
        place.mkdir(exist_ok=True)
        pd.DataFrame({"frame": [0, 1], "time_s": [0, 0.1], "mine": [1, 2]}).to_parquet(place / "a.parquet")
    clip = {"id": "a", "traces": "a.parquet"}
    assert list(trace_plots(of(run, record={"clips": [clip]}))) == ["traces/mine"]
    assert trace_plots(of(run, record={"clips": [{**clip, "traces": "../a.parquet"}]})) == {}
    (tmp_path / "secret.mp4").touch()
    opened = Online({})
    monkeypatch.setattr(WeightsAndBiases, "_open", lambda *_, **more: opened)
    with pytest.raises(UserError, match=r"'\.\./secret\.mp4' is not a file inside"):
        logger().sweep(tmp_path, pd.DataFrame({"run": ["run"], "videos": ['["../secret.mp4"]']}))
    assert opened.history == []


def test_the_agents_arguments_of_the_documented_sweep_are_parsed() -> None:
    ready = load_sweep_config(str(ROOT / "docs" / "wandb_sweep.yaml"))
    assert ready is not None
    assert ready == yaml.safe_load((ROOT / "docs" / "wandb_sweep.yaml").read_text())
    first = {
        name: {"value": said.get("value", said.get("values", [said.get("min")])[0])}
        for name, said in ready["parameters"].items()
    }
    given = create_sweep_command_args({"args": first})["args"]
    assert given[0] == "--solver=euler"
    cfg = compose.compose_config([*overrides.arguments(given), "output_dir=."])
    assert (cfg.nfe, cfg.guidance.audio.scale, list(cfg.metrics), list(cfg.logger)) == (
        *(4, 1.0),
        *(["motion", "sampling"], ["wandb"]),
    )
    assert os.path.basename(ready["program"]) == "float-research"


def test_a_killed_run_is_unfinished_until_it_is_resumed(tmp_path: Path) -> None:
    record = {"totals": {}, "load_s": 1, "wall_s": 1, "peak_memory_mb": {}, "checkpoint": {}, "started": "now"}
    record |= dict.fromkeys(("signature", "overrides", "seed", "device"))
    killed = f"""
import os, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests")]}
from pathlib import Path
from tracking.test_wandb import logger, of
live, run = logger(mode="offline"), of(Path({str(tmp_path)!r}), "solver=euler", config={{"solver": {{"order": 1}}}})
live.begin(run)
live.progress({{"progress/frames": 3}})
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], capture_output=True, check=False).returncode == 9
    (id,) = logged_ids(tmp_path)
    found = find_offline(tmp_path)
    assert (found.runs, len(found.unfinished), found.damaged) == ([], 1, [])
    time.sleep(1)  # W&B's folders are named by the second
    again = logger(mode="offline")
    again.begin(of(tmp_path, "solver=euler", config={"solver": {"order": 1}}))
    again.run(of(tmp_path, "solver=euler", config={"solver": {"order": 1}}, record={**record, "clips": []}))
    wandb.teardown()
    assert logged_ids(tmp_path) == [id, id]
    said = described(places(tmp_path)[-1])
    assert (said["tags"], said["config"]["solver"]) == (["solver=euler"], "euler")
    assert find_offline(tmp_path).unfinished == []
