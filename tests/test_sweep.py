"""A sweep's folder belongs to one sweep, and each of its runs is composed once."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hydra_plugins.float_research_basic import BasicSweeper, Composed
from omegaconf import DictConfig, OmegaConf

from float_research import sweep
from float_research.errors import UserError
from hydra_plugins import float_research_basic

EULER = {"nfe": "5,10", "solver": "euler"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a sweep that has ended."""
    sweep.claim(tmp_path, EULER)
    sweep.release(tmp_path)
    return tmp_path


def config(*overrides: str, params: dict[str, str] | None = None, **sweeper: object) -> DictConfig:
    return OmegaConf.create(
        {"hydra": {"overrides": {"task": list(overrides)}, "sweeper": {"params": params, **sweeper}}}
    )


def test_a_sweep_is_known_by_what_it_sweeps_over_not_by_places() -> None:
    same = sweep.identity(config("solver=euler", "nfe=5,10", "resume=true", "logger=wandb", "logger.wandb.project=x"))
    assert same == EULER
    assert sweep.identity(config("solver=euler", params={"nfe": "5,10"})) == EULER
    assert sweep.identity(config("solver=euler", "nfe=5", params={"nfe": "5,10"})) != EULER
    assert sweep.identity(config("~emotion")) == {"~emotion": ""}


def test_a_search_is_known_by_its_objective_too_and_may_grow() -> None:
    params = {"nfe": "5,10"}
    aims = {"objective": ["wall_s"], "direction": "minimize"}
    search = sweep.identity(config("solver=euler", params=params, **aims, n_trials=8))
    assert search == sweep.identity(config("solver=euler", params=params, **aims, n_trials=9))
    assert search != sweep.identity(config("solver=euler", params=params, **aims | {"direction": "maximize"}))
    assert search != EULER


def test_the_same_sweep_goes_on_and_another_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"holds the sweep nfe=5,10 solver=euler; choose another hydra\.sweep\.dir"):
        sweep.claim(folder, EULER | {"nfe": "5,20"})
    sweep.claim(folder, EULER)
    sweep.release(folder)
    (folder / sweep.SWEEP).write_text("[1")
    with pytest.raises(UserError, match=r"sweep\.json cannot be read"):
        sweep.claim(folder, EULER)


def test_two_at_once_are_refused_until_the_first_is_gone(folder: Path) -> None:
    holding = f"from float_research.sweep import claim; from pathlib import Path; claim(Path({str(folder)!r}), {EULER})"
    first = subprocess.Popen(
        [sys.executable, "-c", f"{holding}; print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="a sweep is at work in"):
        sweep.claim(folder, EULER)
    first.kill()
    first.wait()
    sweep.claim(folder, EULER)
    sweep.release(folder)


class Loader:
    """Composes what it is asked for, and counts."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        if "nfee=3" in sweep_overrides:
            raise ValueError("no such setting")
        self.asked.append(sweep_overrides)
        return OmegaConf.create({"overrides": sweep_overrides})


def sweeping(runs: list[list[str]]) -> tuple[Loader, list[DictConfig]]:
    """What was composed for a sweep that launches these runs, and what the launcher got."""
    sweeper, loader = object.__new__(BasicSweeper), Loader()  # not as Hydra makes it, which loads its plugins anew
    sweeper.config, sweeper.composed = OmegaConf.create(), Composed(loader)
    sweeper.validate_batch_is_legal(runs)
    return loader, [sweeper.composed.load_sweep_config(sweeper.config, run) for run in runs]


def test_a_run_is_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [["nfe=1"], ["nfe=2"], ["nfe=3"]]
    loader, configs = sweeping(runs)
    assert [config.overrides for config in configs] == runs == loader.asked
    monkeypatch.setattr(float_research_basic, "AT_MOST", 1)
    loader, configs = sweeping(runs)
    assert [config.overrides for config in configs] == runs
    assert loader.asked == [*runs, *runs[1:]]


def test_equal_runs_have_configs_of_their_own() -> None:
    _, (first, second) = sweeping([["nfe=1"], ["nfe=1"]])
    assert first == second
    assert first is not second


def test_what_cannot_be_composed_is_told_before_the_first_run() -> None:
    with pytest.raises(ValueError, match="no such setting"):
        sweeping([["nfe=1"], ["nfee=3"]])


def test_other_processes_get_the_loader_alone() -> None:
    composed = Composed(Loader())
    composed.kept[("nfe=1",)] = OmegaConf.create()
    assert isinstance(pickle.loads(pickle.dumps(composed)), Loader)
