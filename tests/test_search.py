"""Searches: choices, results, resuming and the Pareto front."""

import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import optuna
import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.program import install
from float_research.search import SettingsSearch, build, distribution, size
from float_research.tracking.record import write_failure, write_json
from hydra_plugins import float_research_optuna

SCRIPT = Path(__file__).parents[1] / "scripts" / "infer.py"
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}
ERROR, COST = "metrics/sampling_error", "totals/measured/evaluations"


class Cut(BaseException):
    """Stands for a killed process."""


def record(error: float, evaluations: int) -> dict[str, Any]:
    """Returns a record with everything that a run's numbers are read from."""
    clip: dict[str, Any] = dict.fromkeys(("num_frames", "num_windows"), 1) | {"metrics": {"sampling_error": error}}
    clip |= {name: {} for name in ("declared", "measured", "emotion", "seconds")}
    totals = {"measured": {"evaluations": evaluations}}
    return {"totals": totals, "load_s": 0, "wall_s": 0, "peak_memory_mb": {}, "clips": [clip]}


def outcome(solver: str, nfe: str) -> tuple[float, int]:
    """Returns error and cost of a simulated solver, which fall and rise like a real one's."""
    order, steps = ORDERS[solver], int(nfe) // ORDERS[solver]
    return 0.5 * order * float(steps) ** -order, steps * order


class World:
    """Launches simulated runs in a folder. `cut` is the number of runs until it is killed."""

    def __init__(self, folder: Path, cut: float = math.inf) -> None:
        self.folder, self.cut, self.launched = folder, cut, list[str]()

    def __call__(self, batch: Sequence[Sequence[str]], first: int) -> list[Exception | None]:
        for run, overrides in enumerate(batch, first):
            if len(self.launched) >= self.cut:
                raise Cut
            self.launched.append(" ".join(overrides))
            self.make(self.folder / str(run), dict(text.split("=") for text in overrides))
        return [None] * len(batch)

    def make(self, place: Path, settings: dict[str, str]) -> None:
        write_json(place / "record.json", record(*outcome(settings["solver"], settings["nfe"])))


Searching = Callable[..., SettingsSearch]


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    """Returns `searching(folder, launch=…)`: a search over 3 × 6 settings, which resumes a study in `folder`."""

    def made(folder: Path | None = None, **settings: Any) -> SettingsSearch:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        searched = SettingsSearch(
            study=optuna.create_study(
                storage=f"sqlite:///{folder}/study.db" if folder else None,
                study_name="search",
                directions=["minimize", "minimize"],
                load_if_exists=True,
            ),
            objective=[ERROR, COST],
            n_trials=10,
            n_jobs=2,
            sampler=partial(TPESampler, n_startup_trials=4),
            seed=3,
            space={
                "solver": CategoricalDistribution(list(ORDERS)),
                "nfe": IntDistribution(4, 24, step=4),
            },
            fixed=["budget=evaluations"],
            folder=folder or tmp_path,
            place=lambda overrides, run: (folder or tmp_path) / str(run),
            code=lambda overrides: "today",
            launch=World(folder or tmp_path),
        )
        return replace(searched, **settings)

    return made


def trials(search: SettingsSearch) -> list[tuple[dict[str, Any], list[float] | None]]:
    return [(trial.params, trial.values) for trial in search.study.get_trials()]


def test_all_settings_are_tried_once_and_the_front_is_exact(searching: Searching, tmp_path: Path) -> None:
    world = World(tmp_path)
    search = searching(n_trials=100, launch=world)
    front = search.run(Console(quiet=True))
    assert len(world.launched) == len(set(world.launched)) == 18
    possible = [outcome(solver, str(nfe)) for solver, nfe in itertools.product(ORDERS, range(4, 28, 4))]
    best = {mine for mine in possible if not any(beats(other, mine) for other in possible)}
    assert {(row[ERROR], row[COST]) for row in front} == best
    assert 1 < len(best) < 18
    assert json.loads((tmp_path / "pareto.json").read_text()) == front
    stored = pd.read_csv(tmp_path / "pareto.csv")
    assert list(stored) == ["run", "solver", "nfe", ERROR, COST]
    assert stored[ERROR].is_monotonic_increasing
    for row in front:
        written = json.loads((tmp_path / str(row["run"]) / "record.json").read_text())
        assert written["totals"]["measured"]["evaluations"] == row[COST]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("cuts", [[0, 3, 4], [5, 1, 1]])
def test_an_interrupted_search_resumes_as_if_it_had_not_been_interrupted(
    searching: Searching, tmp_path: Path, cuts: list[int]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    undisturbed = searching(tmp_path / "a")
    undisturbed.run(Console(quiet=True))
    for cut in cuts:
        with pytest.raises(Cut):
            searching(tmp_path / "b", launch=World(tmp_path / "b", cut)).run(Console(quiet=True))
    resumed = searching(tmp_path / "b")
    resumed.run(Console(quiet=True))
    assert trials(resumed) == trials(undisturbed)
    assert (tmp_path / "a" / "pareto.csv").read_text() == (tmp_path / "b" / "pareto.csv").read_text()
    finished = World(tmp_path / "b")
    searching(tmp_path / "b", launch=finished).run(Console(quiet=True))
    assert finished.launched == []
    searching(tmp_path / "b", launch=finished, n_trials=12).run(Console(quiet=True))
    assert len(finished.launched) == 2


def test_settings_whose_choice_was_interrupted_are_chosen_again(searching: Searching) -> None:
    search = searching()
    search.study.ask({"solver": search.space["solver"]})
    search.run(Console(quiet=True))
    assert len(search.study.get_trials(states=[TrialState.COMPLETE])) == 10
    assert search.study.get_trials()[0].state == TrialState.FAIL


def test_failed_runs_are_reported_and_do_not_stop_the_others(
    searching: Searching, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Breaking(World):
        def make(self, place: Path, settings: dict[str, str]) -> None:
            if settings["solver"] == "rk4":
                write_failure(place, "solver=rk4", "nfe is too small")
            elif settings["solver"] == "midpoint":
                write_json(place / "record.json", record(math.nan, 3))
            else:
                super().make(place, settings)

    search = searching(launch=Breaking(tmp_path), n_trials=18)
    front = search.run(Console(quiet=True))
    states = {trial.params["solver"]: trial.state for trial in search.study.get_trials() if "run" in trial.user_attrs}
    assert states == {"euler": TrialState.COMPLETE, "rk4": TrialState.FAIL, "midpoint": TrialState.FAIL}
    assert {row["solver"] for row in front} == {"euler"}
    assert "'metrics/sampling_error': nan" in capsys.readouterr().err


def test_a_batch_whose_processes_were_killed_is_read_from_disk(searching: Searching, tmp_path: Path) -> None:
    class Killed(World):
        def __call__(self, batch: Sequence[Sequence[str]], first: int) -> list[Exception | None]:
            super().__call__(batch[:1], first)
            return [ChildProcessError("a worker was killed")] * len(batch)

    search = searching(launch=Killed(tmp_path), n_trials=4)
    search.run(Console(quiet=True))
    assert [trial.state.name for trial in search.study.get_trials()] == ["COMPLETE", "FAIL"] * 2
    assert not (tmp_path / "0" / "failure.json").exists()
    assert "a worker was killed" in json.loads((tmp_path / "1" / "failure.json").read_text())["error"]


def test_an_unknown_objective_is_reported_after_the_first_run(searching: Searching, tmp_path: Path) -> None:
    world = World(tmp_path)
    said = r"objective=metrics/samplingerror is not a number in .*\(did you mean metrics/sampling_error\?\); choose"
    with pytest.raises(UserError, match=said):
        searching(objective=["metrics/samplingerror", COST], launch=world).run(Console(quiet=True))
    assert len(world.launched) == 2, "one batch"


def test_an_absent_objective_ends_the_search_with_its_reason(searching: Searching, tmp_path: Path) -> None:
    class Blind(World):
        def __call__(self, batch: Sequence[Sequence[str]], first: int) -> list[Exception | None]:
            errors = super().__call__(batch, first)
            for path in tmp_path.glob("*/record.json"):
                held = json.loads(path.read_text())
                held["clips"][0] |= {"metrics": {}, "absent": {"sampling_error": "no face was seen"}}
                write_json(path, held)
            return errors

    world = Blind(tmp_path)
    with pytest.raises(UserError, match=r"the search ends, since .*record.json has no .*error: no face was seen"):
        searching(launch=world).run(Console(quiet=True))
    assert len(world.launched) == 2, "one batch"


@pytest.mark.parametrize(
    ("swept", "wanted", "values"),
    [
        ("solver=euler,rk4", CategoricalDistribution(["euler", "rk4"]), 2),
        ("nfe=choice(4,8)", CategoricalDistribution(["4", "8"]), 2),
        ("nfe=range(4,33,4)", IntDistribution(4, 32, step=4), 8),
        ("nfe=int(interval(1,9))", IntDistribution(1, 9), 9),
        ("a=interval(0.5,3)", FloatDistribution(0.5, 3), math.inf),
        ("a=tag(log,interval(1e-6,1e-3))", FloatDistribution(1e-6, 1e-3, log=True), math.inf),
        ("a=range(0,1,0.5)", CategoricalDistribution(["0.0", "0.5"]), 2),
    ],
)
def test_sweep_syntax_keeps_its_meaning(swept: str, wanted: Any, values: float) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([swept])
    assert distribution(parsed) == wanted
    assert size(wanted) == values


def searched(folder: Path, audio: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    tiny = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", f"data.audio={audio}"]
    command = [sys.executable, str(SCRIPT), "-m", "hydra/sweeper=optuna", *tiny, f"hydra.sweep.dir={folder}"]
    environment = {**os.environ, "COLUMNS": "200", "HYDRA_FULL_ERROR": "0"}
    return subprocess.run([*command, *overrides], capture_output=True, text=True, check=False, env=environment)


def test_the_script_searches_through_a_launcher_and_resumes_through_another(
    tmp_path: Path, speech: Callable[[float], Path]
) -> None:
    audio, folder = speech(0.5), tmp_path / "a?b"
    cheapest = [f"hydra.sweeper.objective={COST}", "budget=evaluations"]
    space = ["solver=euler,rk4", "nfe=range(3,5)"]
    first = searched(folder, audio, *cheapest, *space, "hydra.sweeper.n_trials=2", "hydra/launcher=joblib")
    assert first.returncode in (0, 1), first.stderr
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{quote(str(folder))}/study.db")
    one, other = study.get_trials()
    assert one.datetime_complete is not None
    assert other.datetime_start is not None
    assert other.datetime_start < one.datetime_complete, "as many at once as the launcher runs"
    finished = min(folder.glob("*/record.json"))
    finished.write_text(json.dumps(json.loads(finished.read_text()) | {"sources": "other"}))
    again = searched(folder, audio, *cheapest, *space, "hydra.sweeper.n_trials=9")
    assert "resuming after 2 of 9 runs" in again.stdout, again.stderr
    assert f"runs {finished.parent.name} used other code" in again.stdout
    assert again.returncode == 1, "one run of four cannot be: rk4 at nfe=3"
    assert "3 runs, 1 failed" in again.stdout
    table = pd.read_csv(folder / "summary.csv")
    assert sorted(zip(table.solver, table.nfe, strict=True)) == [("euler", 3), ("euler", 4), ("rk4", 4)]
    (best,) = json.loads((folder / "pareto.json").read_text())
    assert best == {"run": best["run"], "solver": "euler", "nfe": 3, COST: 3}
    typo = searched(tmp_path / "typo", audio, "solver=euler,midpont")
    assert typo.returncode == 2
    assert typo.stderr.startswith("error: solver=midpont is unknown (did you mean midpoint?)")
    assert typo.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "there is nothing to search over"),
        ({"objective": []}, r"direction=\['minimize'\] does not match hydra\.sweeper\.objective=\[\]"),
        ({"direction": "least"}, "give minimize or maximize, or a list with one for each objective"),
        ({"objective": [ERROR, COST, "wall_s"], "direction": ["minimize"] * 2}, "does not match"),
        ({"n_trials": 0}, r"hydra\.sweeper\.n_trials=0 must be at least 1"),
        ({"n_jobs": "two"}, r"hydra\.sweeper\.n_jobs=two must be an integer"),
        ({"config": OmegaConf.create({"dry_run": True})}, "dry_run=true gives a search no results"),
        ({"params": {"a": "interval(3,1)"}}, r"a=interval\(3,1\) cannot be searched"),
    ],
)
def test_invalid_searches_are_refused_before_any_run(settings: dict[str, Any], sentence: str) -> None:
    given = {"objective": COST, "direction": "minimize", "n_trials": 2, "n_jobs": 1, "params": {"nfe": 4}}
    given |= {"sampler": {"seed": 1}, "config": OmegaConf.create(), "hydra_context": HydraContext(None, None)}
    with pytest.raises(UserError, match=sentence):
        build(SimpleNamespace(**given | settings), ["solver=euler"])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_research_optuna, "find_spec", lambda name: None)
    settings = yaml.safe_load((compose.config_folder() / "hydra" / "sweeper" / "optuna.yaml").read_text())
    sweeper = float_research_optuna.OptunaSweeper(**{name: settings[name] for name in settings if name[0] != "_"})
    with pytest.raises(UserError, match=re.escape(install("optuna"))):
        sweeper.setup(hydra_context=HydraContext(None, None), task_function=lambda cfg: None, config=OmegaConf.create())


def test_the_search_by_theval_is_over_existing_settings() -> None:
    path = compose.config_folder() / "experiment" / "theval_search.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["sweeper"]
    parsed = OverridesParser.create().parse_overrides([f"{name}={values}" for name, values in own["params"].items()])
    spaces = {override.get_key_element(): distribution(override) for override in parsed}
    ends = {
        name: space.choices if isinstance(space, CategoricalDistribution) else (space.low, space.high)
        for name, space in spaces.items()
    }
    for choice in range(4):
        chosen = [f"{name}={values[choice % len(values)]}" for name, values in ends.items()]
        config = compose.compose_config(["experiment=theval_search", *chosen, "output_dir=out"])
        assert compose.build_sampler(config).declared_cost(10) is not None
    known = {f"metrics/{number.name}" for metric in compose.build_metrics(config) for number in metric.numbers}
    assert set(own["objective"]) <= known


def test_the_experiment_searches_over_existing_settings() -> None:
    path = compose.config_folder() / "experiment" / "pareto_search.yaml"
    params = yaml.safe_load(path.read_text())["hydra"]["sweeper"]["params"]
    parsed = OverridesParser.create().parse_overrides([f"{name}={values}" for name, values in params.items()])
    choices = [list(override.sweep_string_iterator()) for override in parsed]
    assert math.prod(map(len, choices)) == 320, "as its header says"
    for combination in [*zip(*choices, strict=False), *zip(*map(reversed, choices), strict=False)]:
        chosen = [f"{name}={value}" for name, value in zip(params, combination, strict=True)]
        sampler = compose.build_sampler(compose.compose_config(["experiment=pareto_search", *chosen, "output_dir=out"]))
        assert sampler.declared_cost(10) is not None
