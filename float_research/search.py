"""Searches: sweeps whose settings Optuna chooses by what the runs before came to."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, nan, prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console

from float_research import cli
from float_research.compose import check_type
from float_research.errors import UserError
from float_research.files import whole
from float_research.overrides import literal
from float_research.printing import Table, say
from float_research.sweep import begin
from float_research.tracking.record import FAILURE, RECORD, identity, read_record, write_failure, write_text
from float_research.tracking.runs import overridden
from float_research.tracking.tracker import run_numbers

STUDY, FRONT = "study.db", "pareto"
RUN = "run"
"""The number of a trial's run, which it gets once all its settings are chosen."""
DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True, kw_only=True)
class Search:
    """Runs of settings from a `space`, besides `fixed` ones, for the best of each `objective` in the runs' records.

    `launch` makes runs of lists of overrides, numbered from a first number on, and returns what each raised; `place`
    says where a run's record will be, and `code` what code would make it. All choices depend on the study so far and on
    `seed` alone, so that a search that was cut off goes on as if it had not been.
    """

    study: optuna.Study
    objective: Sequence[str]
    n_trials: int
    n_jobs: int
    sampler: Callable[..., BaseSampler]
    seed: int
    space: Mapping[str, BaseDistribution]
    fixed: Sequence[str]
    folder: Path
    place: Callable[[Sequence[str], int], Path]
    code: Callable[[Sequence[str]], str]
    launch: Callable[[Sequence[Sequence[str]], int], Sequence[Exception | None]]

    def run(self, console: Console) -> list[dict[str, Any]]:
        """Goes on until `n_trials` runs have ended or all settings were tried; writes, prints and returns the front.

        Runs that were cut off are launched again. What failed is told to the study as such.

        Raises:
            UserError: the records know no such objective.
        """
        for trial in self._in_state(TrialState.RUNNING):
            if RUN not in trial.user_attrs:
                self.study.tell(trial.number, state=TrialState.FAIL)
        if before := len(self._launched()):
            say(console, f"goes on after {before} of {self.n_trials} runs")
            if others := self._of_other_code():
                said = f"runs {', '.join(map(str, others))} were made by other code, and what they came to is chosen by"
                say(console, f"{said}; another hydra.sweep.dir searches anew", style="bold yellow")
        while batch := self._in_state(TrialState.RUNNING)[: self.n_jobs] or self._chosen():
            self._make(batch)
        return self._report(console)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(states=states)

    def _launched(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if RUN in trial.user_attrs]

    def _of_other_code(self) -> list[int]:
        """The runs whose results other code than that of today made."""
        found = []
        for trial in self._in_state(TrialState.COMPLETE):
            overrides, run = self._overrides(trial), trial.user_attrs[RUN]
            with suppress(UserError):  # a record that is gone says nothing
                if read_record(self.place(overrides, run) / RECORD).get("sources") != self.code(overrides):
                    found.append(run)
        return found

    def _chosen(self) -> list[FrozenTrial]:
        """New trials, at most `n_jobs`."""
        for _ in range(self.n_jobs):
            tried = [trial.params for trial in self._launched()]
            if len(tried) < min(self.n_trials, prod(map(size, self.space.values()))):
                self._choose(tried)
        return self._in_state(TrialState.RUNNING)

    def _choose(self, tried: Sequence[Mapping[str, Any]]) -> None:
        """Asks for settings that nobody tried: where the sampler repeats itself, by lot."""
        sampler = self.sampler
        while True:
            self.study.sampler = sampler(seed=self.seed + len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask(dict(self.space))
            if trial.params not in tried:
                self.place(self._overrides(trial), len(tried))  # raises for settings that do not go together
                trial.set_user_attr(RUN, len(tried))
                return
            self.study.tell(trial, state=TrialState.PRUNED)
            sampler = RandomSampler

    def _make(self, batch: Sequence[FrozenTrial]) -> None:
        """Launches trials, and tells the study what is on disk then, whatever became of the processes."""
        errors = self.launch([self._overrides(trial) for trial in batch], batch[0].user_attrs[RUN])
        for trial, error in zip(batch, errors, strict=True):
            overrides, run = self._overrides(trial), trial.user_attrs[RUN]
            place = self.place(overrides, run)
            if error is not None and cli.WANTS_TRACEBACK:
                raise error
            if error is not None and not any((place / name).is_file() for name in (RECORD, FAILURE)):
                message, _ = cli.sentence(error)
                cli.complain(f"error in job {run} ({','.join(overrides)}): {message}")
                write_failure(place, ",".join(overrides), message)
            self._tell(trial, place / RECORD)

    def _overrides(self, trial: Trial | FrozenTrial) -> list[str]:
        return [*self.fixed, *settings(trial)]

    def _tell(self, trial: FrozenTrial, record: Path) -> None:
        try:
            numbers = run_numbers(read_record(record))
        except (UserError, KeyError, TypeError):
            self.study.tell(trial.number, state=TrialState.FAIL)
            return
        values = [numbers.get(name, nan) for name in self.objective]
        if all(map(isfinite, values)):
            self.study.tell(trial.number, values)
            return
        self.study.tell(trial.number, state=TrialState.FAIL)
        unknown = [name for name in self.objective if name not in numbers]
        if unknown and not self._in_state(TrialState.COMPLETE):
            raise UserError(
                f"hydra.sweeper.objective={unknown[0]} is no number in {record}{cli.guess(unknown[0], list(numbers))}; "
                f"there are {', '.join(numbers)}"
            )
        cli.complain(f"no result, {dict(zip(self.objective, values, strict=True))} in {record}")

    def _report(self, console: Console) -> list[dict[str, Any]]:
        """The trials that no other beats in all objectives, by the first of them."""
        front = [
            {
                RUN: trial.user_attrs[RUN],
                **dict(overridden(settings(trial))),
                **dict(zip(self.objective, trial.values, strict=True)),
            }
            for trial in sorted(self.study.best_trials, key=lambda trial: trial.values)
        ]
        write_text(self.folder / f"{FRONT}.json", json.dumps(front, indent=1) + "\n")
        table = pd.DataFrame(front)
        with whole(self.folder / f"{FRONT}.csv") as part:
            table.to_csv(part, index=False)
        rows = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in front]
        if front:
            title = "pareto front" if len(self.objective) > 1 else "best"
            console.print(Table([str(name).rpartition("/")[2] for name in table], rows, title))
        say(console, f"pareto front: {self.folder / FRONT}.csv, {FRONT}.json")
        return front


def settings(trial: Trial | FrozenTrial) -> list[str]:
    """The overrides of a trial's own choices."""
    return [f"{name}={value}" for name, value in trial.params.items()]


def size(distribution: BaseDistribution) -> float:
    """How many values there are to choose from."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return 1 + (distribution.high - distribution.low) // distribution.step
    return inf


def distribution(override: Override) -> BaseDistribution:
    """What a sweep means to Optuna: choices, a range's whole numbers, or an interval's scale, which may be logarithmic.

    A range ends before its end, as in every sweep.

    Raises:
        UserError: there is nothing between the ends.
    """
    swept = override.value()
    try:
        if isinstance(swept, IntervalSweep):
            low, high, log = swept.start, swept.end, "log" in swept.tags
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low or 0), float(high or 0), log=log)
        if isinstance(swept, RangeSweep) and all(isinstance(number, int) for number in swept.range()):
            numbers = [int(number) for number in swept.range()]
            return IntDistribution(min(numbers), max(numbers), step=abs(int(swept.step)))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{override.input_line} is nothing to search over: {error}") from error


def raised(ended: JobReturn) -> Exception | None:
    """What a run raised, if its script did not see to it."""
    try:
        _ = ended.return_value
    except Exception as error:
        return error
    return None


def build(sweeper: Any, arguments: Sequence[str]) -> Search:
    """The search that a sweeper's settings and overrides describe.

    Raises:
        UserError: a setting that is wrong, or nothing to search over.
    """
    objective, direction = (
        [said] if isinstance(said, str) else list(said) for said in (sweeper.objective, sweeper.direction)
    )
    directions = direction * len(objective) if len(direction) == 1 else direction
    if not objective or len(directions) != len(objective) or not set(directions) <= set(DIRECTIONS):
        raise UserError(
            f"hydra.sweeper.direction={direction} does not fit hydra.sweeper.objective={objective}; "
            f"give {' or '.join(DIRECTIONS)}, or a list with one for each objective"
        )
    seed = sweeper.sampler.get("seed")
    for name, value in {"n_trials": sweeper.n_trials, "n_jobs": sweeper.n_jobs, "sampler.seed": seed}.items():
        check_type(f"hydra.sweeper.{name}", value, int)
        if name != "sampler.seed" and value < 1:
            raise UserError(f"hydra.sweeper.{name}={value} must be at least 1")
    if OmegaConf.select(sweeper.config, "dry_run"):
        raise UserError("dry_run=true makes nothing to search by; leave out hydra/sweeper=optuna, or dry_run=true")
    if OmegaConf.select(sweeper.config, "submit"):
        raise UserError("a search waits for its runs, to choose the next ones; leave out submit=true")
    loader = sweeper.hydra_context.config_loader
    given = [*literal([f"{name}={value}" for name, value in sweeper.params.items()], sweep=True), *arguments]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    overrides = {override.get_key_element(): override for override in parsed}
    fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
    space = {name: distribution(override) for name, override in overrides.items() if override.is_sweep_override()}
    if not space:
        raise UserError("there is nothing to search over; give some settings several values, as nfe=4,8,16")
    for name, choices in space.items():
        for choice in choices.choices if isinstance(choices, CategoricalDistribution) else ():
            loader.load_sweep_config(sweeper.config, [*fixed, f"{name}={choice}"])

    def place(overrides: Sequence[str], run: int) -> Path:
        config = loader.load_sweep_config(sweeper.config, list(overrides))
        with open_dict(config):
            config.hydra.job.num = run
        return Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir

    def code(overrides: Sequence[str]) -> str:
        config = OmegaConf.to_container(loader.load_sweep_config(sweeper.config, list(overrides)), resolve=False)
        assert isinstance(config, dict)
        return identity({str(name): value for name, value in config.items() if name != "hydra"}, "").sources

    def launch(batch: Sequence[Sequence[str]], first: int) -> list[Exception | None]:
        try:
            return [raised(ended) for ended in sweeper.launcher.launch(batch, initial_job_idx=first)]
        except Exception as error:  # as when a process is killed
            return [error] * len(batch)

    folder = Path(sweeper.config.hydra.sweep.dir)
    begin(folder, sweeper.config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return Search(
        study=optuna.create_study(
            storage=f"sqlite:///{quote(str(folder / STUDY))}",
            study_name="search",
            directions=[StudyDirection[name.upper()] for name in directions],
            load_if_exists=True,
        ),
        objective=objective,
        n_trials=sweeper.n_trials,
        n_jobs=sweeper.n_jobs,
        sampler=partial(instantiate, sweeper.sampler),
        seed=seed,
        space=space,
        fixed=fixed,
        folder=folder,
        place=place,
        code=code,
        launch=launch,
    )
