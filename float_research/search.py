"""Searches: sweeps whose settings Optuna chooses from the results of earlier runs."""

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
from float_research.checking import check_type
from float_research.errors import UserError, guess, printable
from float_research.files import whole
from float_research.overrides import literal
from float_research.printing import Table, say
from float_research.sweep import begin
from float_research.texts import count
from float_research.tracking.logger import run_numbers
from float_research.tracking.record import FAILURE, RECORD, identity, read_record, write_failure, write_text
from float_research.tracking.runs import parse_overrides

STUDY, FRONT = "study.db", "pareto"
RUN = "run"
"""The trial attribute with its run number, set once all its settings are chosen."""
DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True, kw_only=True)
class SettingsSearch:
    """Runs settings from a `space`, besides `fixed` ones, to optimise each `objective`, a number in the runs' records.

    `launch` runs lists of overrides, numbered from a first run number, and returns the exception of each or None;
    `place` returns the folder of a run, and `code` the digest of the code it would use. All choices depend only on the
    study so far and on `seed`, so an interrupted search resumes as if it had not been interrupted.
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
        """Runs until `n_trials` runs have ended or all settings were tried; writes, prints and returns the front.

        Interrupted runs are launched again. Failed runs are reported to the study as failed.

        Raises:
            UserError: the records have no such objective.
        """
        for trial in self._in_state(TrialState.RUNNING):
            if RUN not in trial.user_attrs:
                self.study.tell(trial.number, state=TrialState.FAIL)
        if before := len(self._launched()):
            say(console, f"resuming after {before} of {count(self.n_trials, 'run')}")
            if others := self._of_other_code():
                said = f"runs {', '.join(map(str, others))} used other code, and their results still guide the search"
                say(console, f"{said}; choose another hydra.sweep.dir to start over", style="bold yellow")
        while batch := self._in_state(TrialState.RUNNING)[: self.n_jobs] or self._choose_batch():
            self._launch(batch)
        return self._report(console)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(states=states)

    def _launched(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if RUN in trial.user_attrs]

    def _of_other_code(self) -> list[int]:
        """Returns the runs whose results came from code other than today's."""
        found = []
        for trial in self._in_state(TrialState.COMPLETE):
            overrides, run = self._overrides(trial), trial.user_attrs[RUN]
            with suppress(UserError):  # the record is gone
                if read_record(self.place(overrides, run) / RECORD).get("sources") != self.code(overrides):
                    found.append(run)
        return found

    def _choose_batch(self) -> list[FrozenTrial]:
        """Returns new trials, at most `n_jobs`."""
        for _ in range(self.n_jobs):
            tried = [trial.params for trial in self._launched()]
            if len(tried) < min(self.n_trials, prod(map(size, self.space.values()))):
                self._choose(tried)
        return self._in_state(TrialState.RUNNING)

    def _choose(self, tried: Sequence[Mapping[str, Any]]) -> None:
        """Asks the sampler for untried settings; falls back to random ones where it repeats itself."""
        sampler = self.sampler
        while True:
            self.study.sampler = sampler(seed=self.seed + len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask(dict(self.space))
            if trial.params not in tried:
                self.place(self._overrides(trial), len(tried))  # raises for incompatible settings
                trial.set_user_attr(RUN, len(tried))
                return
            self.study.tell(trial, state=TrialState.PRUNED)
            sampler = RandomSampler

    def _launch(self, batch: Sequence[FrozenTrial]) -> None:
        """Launches trials, and reports to the study what they left on disk, even if their processes died."""
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
            content = read_record(record)
            numbers = run_numbers(content)
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
            if (reason := reason_absent(content, unknown[0])) is not None:
                raise UserError(f"the search ends, since {record} has no {unknown[0]}: {reason}")
            raise UserError(
                f"hydra.sweeper.objective={unknown[0]} is not a number in {record}"
                f"{guess(unknown[0], list(numbers))}; choose from {', '.join(numbers)}"
            )
        cli.complain(f"no result: {dict(zip(self.objective, values, strict=True))} in {record}")

    def _report(self, console: Console) -> list[dict[str, Any]]:
        """Writes, prints and returns the Pareto front, sorted by the first objective."""
        front = [
            {
                RUN: trial.user_attrs[RUN],
                **dict(parse_overrides(settings(trial))),
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


def reason_absent(record: Mapping[str, Any], objective: str) -> str | None:
    """Returns why a metric is absent from a run or its clips, or None if no reason is recorded."""
    name = objective.rpartition("/")[2]
    held = (part.get("absent") or {} for part in (record, *record["clips"]))
    return next((printable(absent[name], 1000) for absent in held if name in absent), None)


def settings(trial: Trial | FrozenTrial) -> list[str]:
    """Returns the overrides that a trial chose."""
    return [f"{name}={value}" for name, value in trial.params.items()]


def size(distribution: BaseDistribution) -> float:
    """Returns the number of values in a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return 1 + (distribution.high - distribution.low) // distribution.step
    return inf


def distribution(override: Override) -> BaseDistribution:
    """Converts a sweep to Optuna's distribution: choices, an integer range, or an interval, which may be logarithmic.

    A range excludes its end, as in every sweep.

    Raises:
        UserError: the range is empty.
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
        raise UserError(f"{override.input_line} cannot be searched ({error}); give values, as nfe=4,8,16") from error


def exception_of(job: JobReturn) -> Exception | None:
    """Returns what a run raised, if its script did not handle it."""
    try:
        _ = job.return_value
    except Exception as error:
        return error
    return None


def build(sweeper: Any, arguments: Sequence[str]) -> SettingsSearch:
    """Builds the search that a sweeper's settings and overrides describe.

    Raises:
        UserError: a setting is wrong, or there is nothing to search over.
    """
    objective, directions = aims(sweeper)
    check_settings(sweeper)
    space, fixed = search_space(sweeper, arguments)
    folder = Path(sweeper.config.hydra.sweep.dir)
    begin(folder, sweeper.config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs = Runs(sweeper)
    return SettingsSearch(
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
        seed=sweeper.sampler.get("seed"),
        space=space,
        fixed=fixed,
        folder=folder,
        place=runs.place,
        code=runs.code,
        launch=runs.launch,
    )


def aims(sweeper: Any) -> tuple[list[str], list[str]]:
    """Returns the objectives and a direction for each. Raises a UserError if they do not match."""
    objective, direction = (
        [said] if isinstance(said, str) else list(said) for said in (sweeper.objective, sweeper.direction)
    )
    directions = direction * len(objective) if len(direction) == 1 else direction
    if not objective or len(directions) != len(objective) or not set(directions) <= set(DIRECTIONS):
        raise UserError(
            f"hydra.sweeper.direction={direction} does not match hydra.sweeper.objective={objective}; "
            f"give {' or '.join(DIRECTIONS)}, or a list with one for each objective"
        )
    return objective, directions


def check_settings(sweeper: Any) -> None:
    """Raises a UserError for a wrong number, a dry run, or runs that the search would not wait for."""
    numbers = {"n_trials": sweeper.n_trials, "n_jobs": sweeper.n_jobs, "sampler.seed": sweeper.sampler.get("seed")}
    for name, value in numbers.items():
        check_type(f"hydra.sweeper.{name}", value, int)
        if name != "sampler.seed" and value < 1:
            raise UserError(f"hydra.sweeper.{name}={value} must be at least 1")
    if OmegaConf.select(sweeper.config, "dry_run"):
        raise UserError("dry_run=true gives a search no results; leave out dry_run=true or hydra/sweeper=optuna")
    if OmegaConf.select(sweeper.config, "submit"):
        raise UserError("a search must wait for its runs to choose the next ones; leave out submit=true")


def search_space(sweeper: Any, arguments: Sequence[str]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Returns the settings to search over and the fixed overrides. Composes each choice once, to reject wrong ones.

    Raises:
        UserError: there is nothing to search over.
    """
    loader = sweeper.hydra_context.config_loader
    given = [*literal([f"{name}={value}" for name, value in sweeper.params.items()], sweep=True), *arguments]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
    overrides = {override.get_key_element(): override for override in parsed}
    fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
    space = {name: distribution(override) for name, override in overrides.items() if override.is_sweep_override()}
    if not space:
        raise UserError("there is nothing to search over; give at least one setting several values, as nfe=4,8,16")
    for name, choices in space.items():
        for choice in choices.choices if isinstance(choices, CategoricalDistribution) else ():
            loader.load_sweep_config(sweeper.config, [*fixed, f"{name}={choice}"])
    return space, fixed


@dataclass(frozen=True)
class Runs:
    """The runs of a sweeper, given by their overrides."""

    sweeper: Any

    def place(self, overrides: Sequence[str], run: int) -> Path:
        """Returns the folder of a run."""
        config = self._compose(overrides)
        with open_dict(config):
            config.hydra.job.num = run
        return Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir

    def code(self, overrides: Sequence[str]) -> str:
        """Returns the digest of the code that a run would use."""
        config = OmegaConf.to_container(self._compose(overrides), resolve=False)
        assert isinstance(config, dict)
        return identity({str(name): value for name, value in config.items() if name != "hydra"}, "").sources

    def launch(self, batch: Sequence[Sequence[str]], first: int) -> list[Exception | None]:
        """Launches runs, numbered from `first`, and returns the exception of each or None."""
        try:
            return [exception_of(job) for job in self.sweeper.launcher.launch(batch, initial_job_idx=first)]
        except Exception as error:  # for example, a killed process
            return [error] * len(batch)

    def _compose(self, overrides: Sequence[str]) -> Any:
        return self.sweeper.hydra_context.config_loader.load_sweep_config(self.sweeper.config, list(overrides))
