"""The paper's numbers belong to settings of their experiments, and stand beside ours with what differs."""

import io
from itertools import product
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from rich.console import Console

from float_research import compose
from float_research.analysis.numbers import known_metrics
from float_research.analysis.published import PUBLISHED, SETTINGS, row_of, show
from float_research.tracking.runs import Run

EXPERIMENTS = sorted(PUBLISHED)
DEMO = {"trained": True, "toy": True, "hash": "ab" * 32}


def run_of(*overrides: str, **record: Any) -> Run:
    """A run with these settings, in which SyncNet was measured and FID was not."""
    config = OmegaConf.to_container(compose.compose_config([*overrides, "output_dir=out"]), resolve=True)
    assert isinstance(config, dict)
    clips = [{"metrics": {"lse_d": 8.25}, "absent": {"lip_lag": "no sound"}}]
    held = {"overrides": list(overrides), "clips": clips, "checkpoint": DEMO, "absent": {"fid": "needs videos"}}
    return Run(name="0", folder="", config={str(name): config[name] for name in config}, record=held | record)


def shown(*runs: Run) -> str:
    console = Console(file=io.StringIO(), width=10_000)
    show(runs, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_published_values_belong_to_the_runs_of_their_experiment(experiment: str) -> None:
    path = compose.config_folder() / "experiment" / f"{experiment}.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
    config = compose.compose_config([f"experiment={experiment}", "output_dir=out"])
    grid = [
        run_of(f"experiment={experiment}", *map("=".join, zip(params, values, strict=True)))
        for values in product(*(texts.split(",") for texts in params.values()))
    ]
    measured = {name for metric in compose.build_metrics(config) for name in metric.names}
    for table in PUBLISHED[experiment]:
        assert set(table.swept) == set(params)
        assert [row_of(run, table) for run in grid] == list(table.rows)
        assert set(table.numbers) <= measured <= set(known_metrics())
        assert all(len(row) == len(table.numbers) for row in table.rows.values())
        fixed = {name: value for name, value in SETTINGS.items() if name not in table.swept}
        assert fixed.items() <= grid[0].settings().items()


def test_the_official_experiment_has_the_settings_of_the_paper() -> None:
    assert SETTINGS.items() <= run_of("experiment=official").settings().items()


def test_ours_stand_beside_the_published_values_with_what_differs() -> None:
    suite = {"name": "quick", "version": "1", "sha256": "ab"}
    lines = shown(run_of("experiment=paper_nfe", "nfe=5", suite=suite)).splitlines()
    assert "Table 5" in lines[0]
    assert lines[1].split("  ")[-2:] == ["lse_d", "lse_d (paper)"]
    assert lines[2].split() == ["0", "5", "21.440", "164.463", "1.331", "8.250", "7.155"]
    said = "\n".join(lines[3:])
    assert "not measured: fid: needs videos" in said
    assert "lip_lag" not in said
    for what in ("trained on a toy world", "quick 1", "HDTF", "before encoding for lse_d;", "grid points"):
        assert what in said
    assert "settings:" not in said


def test_what_differs_is_that_of_the_run() -> None:
    official = {"trained": True, "toy": False, "hash": "cd" * 32}
    clips = [{"metrics": {"lse_d": 8.25}, "from_video": ["lse_d"]}]
    changed = ["nfe=5", "solver=midpoint", "checkpoint=official", "guidance.audio.scale=3"]
    said = shown(run_of("experiment=paper_nfe", *changed, checkpoint=official, clips=clips))
    assert "checkpoint=official" in said
    assert "cdcdcdcdcdcd" in said
    assert "codec: video=h264 here; not known" in said
    assert "- settings: solver=midpoint here, euler in the paper" in said
    assert "- settings: guidance.audio.scale=3 here, 2 in the paper" in said
    assert "toy world" not in said


def test_only_runs_of_the_experiment_and_its_settings_have_published_values() -> None:
    assert shown(run_of("nfe=5", "solver=euler")) == ""
    assert "Table 5" not in shown(run_of("experiment=paper_nfe", "nfe=7"))
