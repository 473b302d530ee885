"""Runs found on disk: records with their settings, and damaged, failed or unfinished runs."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yaml import YAMLError

from float_research.errors import UserError, printable
from float_research.texts import count, parse_yaml, read_mapping, read_yaml
from float_research.tracking.record import CLIPS, CONFIG, FAILURE, PLACES, PLACES_IN_GROUPS, RECORD, read_record
from float_research.tracking.schema import LARGEST

WANDB = "wandb:"
"""How a project of W&B begins where a folder of runs is expected."""
SWEEP, SUMMARY = "sweep.json", "summary.csv"
"""In a sweep's folder: the first is written at its start, the second at its end."""
SOURCE, OURS = "source", "float-research"
"""The setting that says where videos come from, where not all are ours, and its value for our own runs."""
NOT_RUNS = frozenset({".hydra", "wandb"})
NO_SETTINGS = frozenset({*PLACES, *CLIPS, "model", "metrics", "hydra"})
"""Besides places and clips: an option names all of a model's sizes; metrics and Hydra's settings change no result."""
INPUTS = ("data", "checkpoint", "face")
"""Groups whose places are a run's inputs."""
QUOTES = "'\""
LONG = 1000
"""Characters beyond which an override's value is not parsed, and of a text in a message."""
Value = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run. `name` is unique among the runs found with it; its paths are relative to `folder`.

    `config` is empty if only the record is left.
    """

    name: str
    folder: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]

    def settings(self) -> dict[str, Value]:
        """Returns every setting by its command-line name, parts by their option, without places."""
        return {name: value for name, value in self._all().items() if _is_setting(name)}

    def inputs(self) -> dict[str, Value]:
        """Returns the places of its inputs by their command-line names."""
        return {name: value for name, value in self._all().items() if is_input(name)}

    def _all(self) -> dict[str, Value]:
        overrides = self.record.get("overrides")
        chosen = {
            name.split("@")[-1]: value
            for name, value in parse_overrides(overrides if isinstance(overrides, list) else [])
        }
        seeds = self.record.get("seeds")
        several = {"seed": ",".join(map(str, seeds))} if isinstance(seeds, list) else {}
        return {**dict(_leaves(self.config)), **chosen, **several}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The runs found in a folder.

    `failed`: run, settings, error; `unfinished`: runs that started; `ended`: whether the sweep ended; `num_runs`: of
    the sweep, if recorded; `more`: further notes.
    """

    runs: Sequence[Run] = ()
    damaged: Sequence[Path] = ()
    failed: Sequence[tuple[str, str, str]] = ()
    unfinished: Sequence[str] = ()
    ended: bool = True
    num_runs: int | None = None
    more: Sequence[str] = ()

    def complete(self) -> bool:
        """Returns whether every run of a sweep has a record or a failure."""
        return len(self.runs) + len(self.damaged) + len(self.failed) >= (self.num_runs or 0)

    def notes(self) -> list[str]:
        """Returns a sentence for each damaged, failed or unfinished run, and for a sweep that has not ended."""
        notes = [f"{printable(path, LONG)} is damaged and left out; run it again" for path in self.damaged]
        notes += [f"run {printable(run)} failed: {printable(error, LONG)}" for run, _, error in self.failed]
        if self.unfinished:
            notes.append(f"{len(self.unfinished)} not finished: run {printable(', '.join(self.unfinished), LONG)}")
        if not self.ended:
            count = "" if self.num_runs is None else f"{self.num_runs} "
            notes.append(f"the sweep has not ended: {len(self.runs)} of its {count}runs are finished")
        return [*notes, *self.more]


def read_sweep(folder: Path) -> tuple[dict[str, str], list[list[str]] | None]:
    """Returns a sweep's settings by name, and the overrides of its runs in order, or None if they are not recorded.

    Raises:
        UserError: `sweep.json` is damaged.
    """
    remedy = "delete it if you continue the same sweep"
    held = read_mapping(folder / SWEEP, what="sweep", remedy=remedy)
    settings, runs = held.get("settings", held), held.get("runs")  # older files only hold the settings
    known = isinstance(runs, list) and all(isinstance(run, list) and all(map(is_text, run)) for run in runs)
    if not isinstance(settings, dict) or not (known or runs is None):
        raise UserError(f"sweep {printable(folder / SWEEP, LONG)} cannot be read (its runs are invalid); {remedy}")
    return {name: str(value) for name, value in settings.items()}, runs


def is_text(value: object) -> bool:
    return isinstance(value, str)


def find(folder: Path) -> Found:
    """Finds all runs under a folder in numeric order. A record that cannot be read is reported as damaged."""
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
    except UserError:  # the runs are valid without it
        known = None
    found = replace(found, num_runs=None if known is None else len(known))
    return replace(found, ended=(folder / SUMMARY).is_file() and found.complete())


def require_folder(folder: Path, *, or_project: bool = False) -> None:
    """Raises a UserError for a folder of runs that is none. `or_project`: a project of W&B could be given instead."""
    if not folder.is_dir():
        other = f", or a W&B project as {WANDB}ENTITY/NAME" if or_project else ""
        raise UserError(f"{printable(folder, LONG)} is not a folder; give that of a run or of a sweep{other}")


def refuse_empty(found: Found, folder: Path) -> None:
    """Raises a UserError if there is no finished run, which says what was found instead."""
    if found.runs:
        return
    if found.damaged:
        raise UserError(f"no record under {folder} can be read; run the sweep again")
    if found.num_runs and not found.failed:
        raise UserError(
            f"none of {count(found.num_runs, 'run')} in {folder} has ended; wait, or resume with resume=true"
        )
    if found.failed or found.unfinished:
        counts = f"{count(len(found.failed), 'run')} failed, {len(found.unfinished)} unfinished"
        raise UserError(f"no run under {folder} has a {RECORD} ({counts}); resume the sweep with resume=true")
    raise UserError(f"{folder} holds no {RECORD}; give the folder of a run or of a sweep")


def parse_overrides(overrides: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """Yields names and values of overrides, parsed as YAML: `nfe=8` → ("nfe", 8). Prefixes + and ~ are dropped."""
    for override in overrides:
        name, _, value = str(override).partition("=")
        try:
            read = parse_yaml(value) if len(value) <= LONG else value
        except (ValueError, RecursionError, YAMLError):
            read = value
        yield name.lstrip("+~"), _plain(read) if isinstance(read, (bool, int, float, str)) else value


def settings_of(runs: Sequence[Run]) -> list[dict[str, Value]]:
    """Returns the settings of each run, and those of its inputs in which runs differ.

    If some videos come from outside, `source` tells them from those of our runs.
    """
    inputs = [run.inputs() for run in runs]
    values: dict[str, set[Value]] = {}
    for own in inputs:
        for name, value in own.items():
            values.setdefault(name, set()).update({value} - {None})
    vary = {name for name, found in values.items() if len(found) > 1}
    found = [
        {**run.settings(), **{name: value for name, value in own.items() if name in vary}}
        for run, own in zip(runs, inputs, strict=True)
    ]
    if any(SOURCE in settings for settings in found):
        return [{SOURCE: OURS, **settings} for settings in found]
    return found


def as_numbers(names: Iterable[str]) -> list[int] | list[str]:
    """Returns names of runs as integers if all are, as an untyped file such as CSV reads them back."""
    found = list(names)
    if all(re.fullmatch("0|[1-9][0-9]{0,14}", name) for name in found):
        return [int(name) for name in found]
    return found


def sweep_of(folder: Path) -> Path | None:
    """Returns the folder of the sweep that a run is part of."""
    return next((place for place in folder.resolve().parents if (place / SWEEP).is_file()), None)


def varied(overrides: Sequence[str], sweep: Path | None) -> list[str]:
    """Returns the overrides that vary in a run's sweep, with paths cut to file names, without places."""
    try:
        swept = read_sweep(sweep)[0] if sweep else {}
    except UserError:
        swept = {}
    return [
        f"{name}={value.rpartition('/')[2].strip(QUOTES)}"
        for name, _, value in (override.partition("=") for override in overrides)
        if swept.get(name) != value and name.split(".")[0] not in PLACES
    ]


def word(target: str) -> str:
    """Returns the option of a class: `…solver.AdaptiveHeun` → adaptive_heun, `…face.NoCrop` → none."""
    name = target.rsplit(".", 1)[-1]
    return "none" if re.match("No[A-Z]", name) else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _leaves(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Yields dotted names and values of a resolved config. A part's value is the option of its class."""
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
    """Returns the value, or an integer that overflows table columns as hexadecimal text."""
    return hex(value) if isinstance(value, int) and abs(value) > LARGEST else value


def is_input(name: str) -> bool:
    """Returns whether a setting is the place of an input, such as `data.image`."""
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
    """Reads the settings of a run as data. Returns None if they cannot be read."""
    try:
        config = read_yaml(folder / CONFIG)
    except UserError:
        return None
    return {str(key): value for key, value in config.items()} if isinstance(config, dict) else None


def source_of(folder: Path) -> str | None:
    """Returns the source of the videos in a folder, by its settings; None if they are ours, or there are none."""
    source = (read_config(folder) or {}).get(SOURCE)
    return source if isinstance(source, str) else None


def _read_failure(path: Path) -> tuple[str, str]:
    try:
        content = read_mapping(path)
    except UserError:
        return "", f"{path.name} is damaged"
    overrides, error = content.get("overrides"), content.get("error")
    if not isinstance(overrides, str) or not isinstance(error, str):
        return "", f"{path.name} is damaged"
    return overrides, error
