"""A sweep's folder belongs to one sweep, and each of its choices of options is composed once."""

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from float_research import compose, sweep, sweeping
from float_research.errors import UserError
from hydra_plugins.float_research_product import Composed, ProductSweeper

EULER = {"nfe": "5,10", "solver": "euler"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns the folder of a sweep that has ended."""
    sweep.claim(tmp_path, EULER)
    sweep.release(tmp_path)
    return tmp_path


def config(*overrides: str, params: dict[str, str] | None = None, **sweeper: object) -> DictConfig:
    return OmegaConf.create(
        {"hydra": {"overrides": {"task": list(overrides)}, "sweeper": {"params": params, **sweeper}}}
    )


def test_a_sweep_is_identified_by_its_settings_not_by_places() -> None:
    same = sweep.identity(config("solver=euler", "nfe=5,10", "resume=true", "logger=wandb", "logger.wandb.project=x"))
    assert same == EULER
    assert sweep.identity(config("solver=euler", params={"nfe": "5,10"})) == EULER
    assert sweep.identity(config("solver=euler", "nfe=5", params={"nfe": "5,10"})) != EULER
    assert sweep.identity(config("~emotion")) == {"~emotion": ""}


def test_a_search_is_identified_by_its_objective_too_and_may_grow() -> None:
    params = {"nfe": "5,10"}
    aims = {"objective": ["wall_s"], "direction": "minimize"}
    search = sweep.identity(config("solver=euler", params=params, **aims, n_trials=8))
    assert search == sweep.identity(config("solver=euler", params=params, **aims, n_trials=9))
    assert search != sweep.identity(config("solver=euler", params=params, **aims | {"direction": "maximize"}))
    assert search != EULER


def test_the_same_sweep_resumes_and_another_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"holds the sweep nfe=5,10 solver=euler; choose another hydra\.sweep\.dir"):
        sweep.claim(folder, EULER | {"nfe": "5,20"})
    sweep.claim(folder, EULER)
    sweep.release(folder)
    (folder / sweep.SWEEP).write_text("[1")
    with pytest.raises(UserError, match=r"sweep\.json cannot be read"):
        sweep.claim(folder, EULER)


A, B, C = (("solver=euler", f"nfe={nfe}", "resume=true") for nfe in (5, 10, 20))


def test_a_sweep_may_grow_and_its_runs_keep_their_numbers(tmp_path: Path) -> None:
    grown = EULER | {"nfe": "20,10,5"}
    assert sweep.claim(tmp_path, EULER, [A, B]) == [A, B]
    sweep.release(tmp_path)
    elsewhere = ("logger=wandb", *reversed(B))
    assert sweep.order_runs(tmp_path, grown, [C, elsewhere, A]) == [A, elsewhere, C], "a dry run says so too"
    assert sweep.claim(tmp_path, grown, [C, B, A]) == [A, B, C]
    sweep.release(tmp_path)
    assert json.loads((tmp_path / sweep.SWEEP).read_text()) == {
        "settings": grown,
        "runs": [[f"nfe={nfe}", "solver=euler"] for nfe in (5, 10, 20)],
    }
    with pytest.raises(
        UserError, match=r"holds the sweep nfe=20,10,5 solver=euler; choose another hydra\.sweep\.dir, or"
    ):
        sweep.claim(tmp_path, EULER, [A, C])
    other = [tuple(override.replace("euler", "rk4") for override in run) for run in (A, B, C)]
    with pytest.raises(UserError, match="holds the sweep"):
        sweep.claim(tmp_path, grown | {"solver": "rk4"}, other)
    with pytest.raises(UserError, match="holds the sweep"):
        sweep.claim(tmp_path, EULER | {"hydra.sweeper.objective": "['wall_s']"})


def test_equal_runs_have_their_own_numbers(tmp_path: Path) -> None:
    sweep.claim(tmp_path, EULER, [A, A])
    sweep.release(tmp_path)
    with pytest.raises(UserError, match="holds the sweep"):
        sweep.order_runs(tmp_path, EULER, [A, B])
    assert sweep.order_runs(tmp_path, EULER, [A, B, A]) == [A, A, B]


def test_the_file_of_an_older_sweep_is_read(tmp_path: Path) -> None:
    (tmp_path / sweep.SWEEP).write_text(json.dumps(EULER))
    with pytest.raises(UserError, match=r"holds the sweep nfe=5,10 solver=euler; choose another hydra\.sweep\.dir$"):
        sweep.order_runs(tmp_path, EULER | {"nfe": "5,10,20"}, [A, B, C])
    assert sweep.claim(tmp_path, EULER, [A, B]) == [A, B]
    sweep.release(tmp_path)
    assert sweep.order_runs(tmp_path, EULER, [C, B, A]) == [A, B, C]


@pytest.mark.parametrize("damaged", ['{"settings": [], "runs": []}', '{"settings": {}, "runs": [[1]]}', '{"runs": {}}'])
def test_a_damaged_file_is_one_sentence(damaged: str, tmp_path: Path) -> None:
    (tmp_path / sweep.SWEEP).write_text(damaged)
    with pytest.raises(UserError, match=r"sweep\.json cannot be read .* delete it"):
        sweep.order_runs(tmp_path, EULER, [A])


def test_a_second_sweep_is_refused_until_the_first_ends(folder: Path) -> None:
    holding = f"from float_research.sweep import claim; from pathlib import Path; claim(Path({str(folder)!r}), {EULER})"
    first = subprocess.Popen(
        [sys.executable, "-c", f"{holding}; print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="a sweep is running in"):
        sweep.claim(folder, EULER)
    first.kill()
    first.wait()
    sweep.claim(folder, EULER)
    sweep.release(folder)


class Loader:
    """Hydra's config loader, and what it was asked to compose."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.asked: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __reduce__(self) -> Any:
        return Loader, (None,)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.asked.append(sweep_overrides)
        config: DictConfig = self.loader.load_sweep_config(master_config, sweep_overrides)
        return config


@pytest.fixture
def loader() -> Iterator[Loader]:
    with compose.apart(), initialize_config_dir(str(compose.config_folder()), version_base="1.3"):
        yield Loader(GlobalHydra.instance().config_loader())


def master(loader: Loader) -> DictConfig:
    config: DictConfig = loader.load_configuration("infer", ["hydra.verbose=true"], RunMode.MULTIRUN)
    return config


def swept(loader: Loader, runs: list[list[str]]) -> list[DictConfig]:
    """Returns what the launcher gets for a sweep of these runs."""
    sweeper = ProductSweeper(max_batch_size=None, params=None, zip=None)
    sweeper.config, sweeper.composed = master(loader), Composed(loader)
    sweeping.check(sweeper, [tuple(run) for run in runs])
    return [sweeper.composed.load_sweep_config(sweeper.config, run) for run in runs]


def test_a_choice_of_options_is_composed_once(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [["nfe=1"], ["nfe=2"], ["solver=rk4", "nfe=3"], ["nfe=3", "solver=rk4", "seed=4"]]
    for at_most in (sweeping.AT_MOST, 1):
        monkeypatch.setattr(sweeping, "AT_MOST", at_most)
        configs = swept(loader, runs)
        assert [list(config.hydra.overrides.task) for config in configs] == runs
        assert [(config.nfe, config.seed) for config in configs] == [(1, 15), (2, 15), (3, 15), (3, 4)]
        assert loader.asked == [[], ["solver=rk4"]]
        loader.asked.clear()


CHOICES = [
    ["solver=rk4", "solver=dopri5", "solver=euler"],
    ["solver.skip_end=true", "solver.atol=1e-4", "solver.nothing=1"],
    ["nfe=3", "nfe='7'", "nfe=${seed}", "nfe=null", "nfe=1,2"],
    ["emotion=label", "emotion=blend", "emotion={label: 3}", "emotion=3", "emotion=nowhere"],
    ["emotion.label=happy", "emotion.blend={happy: 0.5, sad: 0.5}", "'emotion.label=b c'"],
    ["schedule@guidance.audio=interval", "guidance=apg"],
    ["guidance.audio.scale=2.5", "guidance.audio.t_hi=0.6", "guidance.audio={scale: 3}"],
    ["metrics=[motion,flicker]", "metrics=none", "metrics={motion: {a: 1}}"],
    ["+extra=1", "++seed=3", "~seed", "~logger", "+logger=csv"],
    ["seeds=[1,2]", "temperature=0.5", "data.image=my photo.png", "output_dir=there", "nfee=3"],
    ["experiment=demo_flow", "hydra.sweep.dir=elsewhere", "hydra/launcher=joblib"],
]


def outcome(compose: Callable[[], DictConfig]) -> Any:
    """Returns a config without its parents, its keys in order and flags of struct mode, or the error."""
    try:
        config = compose()
    except Exception as error:
        return type(error), str(error)
    content = OmegaConf.to_container(config, resolve=False)
    return json.dumps(content), OmegaConf.get_cache(config), OmegaConf.is_struct(config), repr(config)


def test_copies_are_the_configs_that_hydra_composes(loader: Loader) -> None:
    chance, config = random.Random(0), master(loader)
    templates = sweeping.Templates(loader.loader, config)
    copied = 0
    for _ in range(60):
        groups = chance.sample(CHOICES, chance.randint(1, 4))
        run = [chance.choice(group) for group in groups]
        if chance.random() < 0.5:  # without those that are left to Hydra
            run = [text for text in run if text[0] not in "+~" and not text.startswith(("hydra", "experiment"))]
        found = outcome(lambda run=run: templates.load_sweep_config(config, run))  # type: ignore[misc]
        assert found == outcome(lambda run=run: loader.load_sweep_config(config, run)), run  # type: ignore[misc]
        copied += isinstance(found[0], str)
    assert copied > 15


def test_equal_runs_have_their_own_configs(loader: Loader) -> None:
    first, second = swept(loader, [["nfe=1"], ["nfe=1"]])
    assert first == second
    assert first is not second
    first.solver._target_ = "changed"
    assert second.solver._target_ != "changed"


def test_composition_errors_are_raised_before_the_first_run(loader: Loader) -> None:
    with pytest.raises(UserError, match="unknown setting nfee"):
        swept(loader, [["nfe=1"], ["nfee=3"]])


def test_other_processes_only_get_the_loader() -> None:
    composed = Composed(Loader(None))
    composed.kept[("nfe=1",)] = OmegaConf.create()
    assert isinstance(pickle.loads(pickle.dumps(composed)), Loader)


def test_joblibs_workers_watch_the_sweeps_process(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[int] = []
    monkeypatch.setattr(sweep, "end_with", watched.append)
    for launcher in ("joblib_launcher.JoblibLauncher", "basic_launcher.BasicLauncher"):
        callback = sweep.Sweep()
        callback.process = 7
        callback.on_job_start(OmegaConf.create({"dry_run": False, "hydra": {"launcher": {"_target_": launcher}}}))
    assert watched == [7]
