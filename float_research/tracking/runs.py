"""Runs as they are found on disk: records with their settings, and what is damaged, failed or not finished."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yaml import YAMLError

from float_research.errors import UserError, printable
from float_research.texts import parse_yaml, read_mapping, read_yaml
from float_research.tracking.record import CONFIG, FAILURE, PLACES, PLACES_IN_GROUPS, RECORD, read_record
from float_research.tracking.schema import LARGEST

SWEEP, SUMMARY = "sweep.json", "summary.csv"
"""In a sweep's folder from its beginning, and from its end."""
NOT_RUNS = frozenset({".hydra", "wandb"})
NO_SETTINGS = frozenset({*PLACES, "model", "metrics", "hydra"})
"""Beyond places: a model's sizes are named by one word, and metrics and Hydra's settings change no result."""
INPUTS = ("data", "checkpoint", "face")
"""Groups whose places say what a run reads."""
QUOTES = "'\""
LONG = 1000
"""Characters past which an override's value is a text, whatever it looks like."""
Value = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that ended well. `name` tells it from others found with it; its paths begin at `folder`.

    `config` is empty where only the record is left.
    """

    name: str
    folder: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]

    def settings(self) -> dict[str, Value]:
        """Every setting by its name on the command line, parts by the word that chooses them; places left out."""
        return {name: value for name, value in self._all().items() if _is_setting(name)}

    def inputs(self) -> dict[str, Value]:
        """The places of what it read, by their names on the command line."""
        return {name: value for name, value in self._all().items() if _is_input(name)}

    def _all(self) -> dict[str, Value]:
        overrides = self.record.get("overrides")
        told = {
            name.split("@")[-1]: value for name, value in overridden(overrides if isinstance(overrides, list) else [])
        }
        return {**dict(_leaves(self.config)), **told}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is in a folder. `failed`: run, settings, error; `unfinished`: runs that began; `ended`: whether a sweep did.

    A sweep has `num_runs`, if it says so. `more` are notes of what else was seen.
    """

    runs: Sequence[Run] = ()
    damaged: Sequence[Path] = ()
    failed: Sequence[tuple[str, str, str]] = ()
    unfinished: Sequence[str] = ()
    ended: bool = True
    num_runs: int | None = None
    more: Sequence[str] = ()

    def complete(self) -> bool:
        """Whether every run of a sweep has left something."""
        return len(self.runs) + len(self.damaged) + len(self.failed) >= (self.num_runs or 0)

    def notes(self) -> list[str]:
        """A sentence for each thing that a reader of the runs must know."""
        said = [f"{printable(path, LONG)} is damaged and left out; run it again" for path in self.damaged]
        said += [f"run {printable(run)} failed: {printable(error, LONG)}" for run, _, error in self.failed]
        if self.unfinished:
            said.append(f"{len(self.unfinished)} not finished: run {printable(', '.join(self.unfinished), LONG)}")
        if not self.ended:
            count = "" if self.num_runs is None else f"{self.num_runs} "
            said.append(f"the sweep has not ended: {len(self.runs)} of its {count}runs are finished")
        return [*said, *self.more]


def read_sweep(folder: Path) -> tuple[dict[str, str], list[list[str]] | None]:
    """What a sweep is over, by name, and the overrides of its runs by their numbers; None where it does not say.

    Raises:
        UserError: `sweep.json` is damaged.
    """
    remedy = "delete it if this is the sweep that was there"
    held = read_mapping(folder / SWEEP, what="sweep", remedy=remedy)
    settings, runs = held.get("settings", held), held.get("runs")  # older ones hold their settings alone
    known = isinstance(runs, list) and all(isinstance(run, list) and all(map(is_text, run)) for run in runs)
    if not isinstance(settings, dict) or not (known or runs is None):
        raise UserError(f"sweep {printable(folder / SWEEP, LONG)} cannot be read (its runs are no overrides); {remedy}")
    return {name: str(value) for name, value in settings.items()}, runs


def is_text(value: object) -> bool:
    return isinstance(value, str)


def find(folder: Path) -> Found:
    """All runs under a folder, run 10 after run 9. What is no record of a run is told as damaged."""
    runs, damaged, failed, unfinished, more = [], [], [], [], []
    for place, files in _run_folders(folder):
        name = place.relative_to(folder).as_posix()
        if RECORD in files:
            try:
                record = read_record(place / RECORD)
            except UserError:
                damaged.append(place / RECORD)
                continue
            config = read_config(place)
            if config is None and CONFIG in files:
                more.append(f"{printable(place / CONFIG, LONG)} is damaged: run {printable(name)} lacks its settings")
            runs.append(Run(name=name, folder=str(place), config=config or {}, record=record))
        elif FAILURE in files:
            failed.append((name, *_read_failure(place / FAILURE)))
        elif CONFIG in files and "solver" in (read_config(place) or {}):
            unfinished.append(name)
    found = Found(runs=runs, damaged=damaged, failed=failed, unfinished=unfinished, more=more)
    if not (folder / SWEEP).is_file():
        return found
    try:
        _, known = read_sweep(folder)
    except UserError:  # what its runs say is all the same
        known = None
    found = replace(found, num_runs=None if known is None else len(known))
    return replace(found, ended=(folder / SUMMARY).is_file() and found.complete())


def refuse_empty(found: Found, folder: Path) -> None:
    """Raises a UserError where there is no run to show, which says what there is instead."""
    if found.runs:
        return
    if found.damaged:
        raise UserError(f"no record under {folder} can be read; run the sweep again")
    if found.num_runs and not found.failed:
        raise UserError(
            f"none of the {found.num_runs} runs of {folder} has ended; wait for them, or go on with resume=true"
        )
    if found.failed or found.unfinished:
        begun = f"{len(found.failed)} runs failed, {len(found.unfinished)} have not finished"
        raise UserError(f"no run under {folder} has a {RECORD} ({begun}); go on with the sweep by resume=true")
    raise UserError(f"{folder} holds no {RECORD}; name the folder of a run or of a sweep")


def overridden(overrides: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """`nfe=8` → ("nfe", 8), as YAML reads the value; a key that was added or forced keeps its bare name."""
    for override in overrides:
        name, _, value = str(override).partition("=")
        try:
            read = parse_yaml(value) if len(value) <= LONG else value
        except (ValueError, RecursionError, YAMLError):
            read = value
        yield name.lstrip("+~"), _plain(read) if isinstance(read, (bool, int, float, str)) else value


def settings_of(runs: Sequence[Run]) -> list[dict[str, Value]]:
    """The settings of each run, and of its inputs those in which some differ."""
    inputs = [run.inputs() for run in runs]
    values: dict[str, set[Value]] = {}
    for told in inputs:
        for name, value in told.items():
            values.setdefault(name, set()).update({value} - {None})
    vary = {name for name, found in values.items() if len(found) > 1}
    return [
        {**run.settings(), **{name: value for name, value in told.items() if name in vary}}
        for run, told in zip(runs, inputs, strict=True)
    ]


def numbered(names: Iterable[str]) -> list[int] | list[str]:
    """Names of runs as numbers where all are, as they are read back from a file that has no types."""
    told = list(names)
    if all(re.fullmatch("0|[1-9][0-9]{0,14}", name) for name in told):
        return [int(name) for name in told]
    return told


def sweep_of(folder: Path) -> Path | None:
    """The folder of the sweep that a run is part of."""
    return next((place for place in folder.resolve().parents if (place / SWEEP).is_file()), None)


def varied(overrides: Sequence[str], sweep: Path | None) -> list[str]:
    """The overrides of a run in which others of its sweep may differ, of files the names alone; places left out."""
    try:
        swept = read_sweep(sweep)[0] if sweep else {}
    except UserError:
        swept = {}
    told = [override.partition("=") for override in overrides]
    return [
        f"{name}={value.rpartition('/')[2].strip(QUOTES)}"
        for name, _, value in told
        if swept.get(name) != value and name.split(".")[0] not in PLACES
    ]


def word(target: str) -> str:
    """`…solver.AdaptiveHeun` → adaptive_heun and `…face.NoCrop` → none: the file in `conf/` that names the class."""
    name = target.rsplit(".", 1)[-1]
    return "none" if re.match("No[A-Z]", name) else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _leaves(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Leaves of a resolved config under dotted names. A part has its own name: the word of its class."""
    for key, value in node.items():
        name = f"{prefix}{key}"
        if key == "_target_":
            yield prefix.rstrip("."), word(str(value))
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif value is None or isinstance(value, (bool, int, float, str)):
            yield name, _plain(value)
        else:
            yield name, json.dumps(value, default=str, ensure_ascii=False)


def _plain(value: Value) -> Value:
    """The value, or its digits where no table has room for it."""
    return hex(value) if isinstance(value, int) and abs(value) > LARGEST else value


def _is_input(name: str) -> bool:
    group, _, key = name.partition(".")
    return group in INPUTS and key in PLACES_IN_GROUPS[group]


def _is_setting(name: str) -> bool:
    group, _, key = name.partition(".")
    outside = group in NO_SETTINGS or group.startswith("hydra/")
    return name == "model" or not (outside or key in PLACES_IN_GROUPS.get(group, ()))


def _run_folders(folder: Path) -> list[tuple[Path, set[str]]]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_RUNS and not (name == "videos" and RECORD in files)]
        found.append((Path(place), set(files)))
    return sorted(found, key=lambda item: _by_number(item[0].relative_to(folder)))


def _by_number(path: Path) -> list[tuple[bool, int, str]]:
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path.parts]


def read_config(folder: Path) -> dict[str, Any] | None:
    """The settings of a run, as data; None where they cannot be read."""
    try:
        config = read_yaml(folder / CONFIG)
    except UserError:
        return None
    return {str(key): value for key, value in config.items()} if isinstance(config, dict) else None


def _read_failure(path: Path) -> tuple[str, str]:
    try:
        said = read_mapping(path)
    except UserError:
        return "", f"{path.name} is damaged"
    overrides, error = said.get("overrides"), said.get("error")
    if not isinstance(overrides, str) or not isinstance(error, str):
        return "", f"{path.name} is damaged"
    return overrides, error
