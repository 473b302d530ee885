"""The runs of a sweep: products of settings, unions of products, paired settings, and each experiment's own sweep."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, lru_cache
from itertools import chain, product
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from float_research import cli, suggestions
from float_research.checking import check_type
from float_research.errors import UserError, printable
from float_research.options import options_of
from float_research.overrides import literal, quoted
from float_research.printing import stdout
from float_research.submission import require_submitit, submit, tell
from float_research.sweep import Run, begin, identity, order_runs

PARAMS, ZIP, EXPERIMENT = "hydra.sweeper.params", "hydra.sweeper.zip", "experiment"
EXAMPLES = {PARAMS: '{nfe: "5,10"}', ZIP: "{nfe: [5, 10], seed: [1, 2]}"}
AT_MOST = 256
"""Composed configs kept for their runs, a megabyte each. Further ones are composed again."""
TEMPLATES = 64
"""Composed configs kept to copy from."""


def sweep(sweeper: Any, arguments: Sequence[str]) -> None:
    """Launches or submits all runs of a sweep. A dry run launches them without claiming a folder.

    Raises:
        UserError: settings are incompatible, or the folder belongs to another sweep.
    """
    config, size = sweeper.config, sweeper.max_batch_size
    if size is not None:
        check_type("hydra.sweeper.max_batch_size", size, int)
        if size < 1:
            raise UserError(f"hydra.sweeper.max_batch_size={size} must be at least 1")
    dry, leaves = bool(OmegaConf.select(config, "dry_run")), bool(OmegaConf.select(config, "submit"))
    runs = all_runs(sweeper, arguments)
    check(sweeper, runs)
    if leaves:
        require_submitit(config)
    folder = Path(config.hydra.sweep.dir)
    if dry:
        runs = order_runs(folder, identity(config), runs)
    else:
        runs = begin(folder, config, runs)
        OmegaConf.save(config, folder / "multirun.yaml")
    jobs: list[str] = []
    with ExitStack() as stack:
        if leaves and not dry:
            jobs = stack.enter_context(submit())
        for first in range(0, len(runs), size or len(runs)):
            batch = [list(run) for run in runs[first : first + (size or len(runs))]]
            for ended in sweeper.launcher.launch(batch, initial_job_idx=first):
                _ = ended.return_value  # raises what its script did not handle
    if jobs:
        tell(jobs, config, stdout())


def check(sweeper: Any, runs: Sequence[Run]) -> None:
    """Composes the configs of all runs. Raises for what cannot be composed."""
    sweeper.composed.source = Templates(sweeper.composed.loader, sweeper.config)
    for run in runs:
        try:
            composed = sweeper.composed.load_sweep_config(sweeper.config, list(run))
        except HydraException as error:
            if said := suggestions.unknown_setting(error, run, runs):
                raise UserError(said) from error
            raise
        if len(sweeper.composed.kept) < AT_MOST:
            sweeper.composed.kept[run] = composed


class Templates:
    """A config loader of a sweep that composes what Hydra's own `loader` would, but each choice of options only once.

    Runs that choose the same options and change plain values get copies, which take a twentieth of the time. Runs with
    other overrides are left to Hydra.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._template = lru_cache(maxsize=TEMPLATES)(self._compose)
        self._is_group = cache(self._has_options)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Returns the config of a run of the sweep, whose config is `master_config`."""
        parsed = OverridesParser.create().parse_overrides(list(sweep_overrides))
        groups, plain = [], []
        for override in parsed:
            if self._chooses(override):
                groups.append(override)
            elif self._is_plain(override):
                plain.append(override)
            else:
                return self._compose(tuple(sweep_overrides))
        config = copy.deepcopy(self._template(tuple(str(override.input_line) for override in groups)))
        OmegaConf.copy_cache(from_config=self.master, to_config=config)
        ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        config.hydra.overrides.task = [override.input_line for override in parsed]
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=parsed, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
        )
        return config

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        config: DictConfig = self.loader.load_sweep_config(self.master, list(overrides))
        return config

    def _chooses(self, override: Override) -> bool:
        """Returns whether an override chooses options of a group, such as `solver=rk4` or `metrics=[fid]`."""
        return _changes(override) and self._is_group(override.key_or_group) and not isinstance(override.value(), dict)

    def _is_plain(self, override: Override) -> bool:
        """Returns whether an override changes a setting, such as `nfe=5` or `emotion.label=happy`."""
        return _changes(override) and override.package is None and not self._is_group(override.key_or_group)

    def _has_options(self, name: str) -> bool:
        main = self.master.hydra.job.config_name
        own = OmegaConf.to_container(self.master.hydra.overrides.hydra, resolve=False)
        return bool(self.loader.get_group_options(name, None, main, own))


def _changes(override: Override) -> bool:
    """Returns whether an override changes what exists, outside of Hydra's own settings, to one value."""
    return (
        override.type is OverrideType.CHANGE and not override.is_sweep_override() and not override.is_hydra_override()
    )


def all_runs(sweeper: Any, arguments: Sequence[str]) -> list[Run]:
    """Returns the runs that a sweeper's settings and overrides describe. Each experiment brings its own sweep."""
    given = choices(arguments)
    experiments = given.get(EXPERIMENT, [])
    if len(experiments) < 2:
        return union(sweeper.params, sweeper.zip, given)
    runs, foreign = list[Run](), list[str]()
    for experiment in experiments:
        try:
            own = of_experiment(sweeper, experiment)
        except (HydraException, UserError):
            if f"{EXPERIMENT}=glob(" not in "".join(arguments):
                raise
            foreign.append(experiment.partition("=")[2])
            continue
        runs += union(own.get("params"), own.get("zip"), given | {EXPERIMENT: [experiment]})
    if foreign:
        cli.complain(f"left out, since they are not product sweeps: experiment={', '.join(foreign)}")
    return runs


def of_experiment(sweeper: Any, experiment: str) -> dict[str, Any]:
    """Returns the sweeper settings of an experiment.

    Raises:
        UserError: it has another sweeper, such as a search.
    """
    overrides = OmegaConf.to_container(sweeper.config.hydra.overrides.hydra)
    assert isinstance(overrides, list)
    name = sweeper.config.hydra.job.config_name
    loaded = sweeper.composed.loader.load_configuration(name, [*overrides, experiment], RunMode.MULTIRUN)
    own = OmegaConf.to_container(loaded.hydra.sweeper, resolve=True)
    assert isinstance(own, dict)
    if own["_target_"] != sweeper.config.hydra.sweeper._target_:
        raise UserError(f"{experiment} is a search, which cannot be combined with other sweeps; run it by itself")
    return {str(key): value for key, value in own.items()}


def union(params: Any, zipped: Any, given: Mapping[str, list[str]]) -> list[Run]:
    """Returns the runs of all blocks of `params` without duplicates. `given` overrides take precedence."""
    runs: dict[Run, list[Run]] = {}
    for block in blocks(PARAMS, params):
        own = choices(literal([f"{name}={_text(value)}" for name, value in block.items()], sweep=True))
        if EXPERIMENT in own:
            raise UserError(f"{PARAMS} cannot hold experiments; give them on the command line: -m experiment=A,B")
        made: dict[Run, list[Run]] = {}
        for run in combine(own, [pairs(each, own, given) for each in blocks(ZIP, zipped)], given):
            made.setdefault(tuple(sorted(run)), []).append(run)
        runs = made | runs if not runs else runs | {key: same for key, same in made.items() if key not in runs}
    return list(chain.from_iterable(runs.values()))


def blocks(name: str, value: Any) -> list[Mapping[str, Any]]:
    """Returns the mappings of a setting that holds one, a list of them, or null.

    Raises:
        UserError: it holds something else.
    """
    found = value if isinstance(value, list) and value else [{} if value is None else value]
    if not all(isinstance(block, Mapping) and all(isinstance(key, str) for key in block) for block in found):
        raise UserError(
            f"{name}={printable(value)} must be a mapping, or a list of mappings, as in '{name}={EXAMPLES[name]}'"
        )
    return found


def choices(overrides: Iterable[str]) -> dict[str, list[str]]:
    """Returns for each setting the overrides of its values."""
    found = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        name = override.get_key_element()
        found[name] = [f"{name}={value}" for value in values(override)]
    return found


def values(override: Override) -> list[str]:
    """Returns the values of an override as written.

    Raises:
        UserError: there are none, or infinitely many.
    """
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if override.is_interval_sweep():
        raise UserError(f"{override.input_line} is a continuous interval; list values, or use hydra/sweeper=optuna")
    swept: Any = override._value
    if isinstance(swept, Glob):
        options = options_of(override.key_or_group)
        if not (found := swept.filter(options)):
            raise UserError(f"{override.input_line} matches none of {', '.join(options)}")
        return found
    return list(override.sweep_string_iterator())


def pairs(zipped: Mapping[str, Any], own: Mapping[str, Any], given: Mapping[str, list[str]]) -> list[Run]:
    """Pairs the first values of all settings, then the second ones, and so on, except for `given` settings.

    Raises:
        UserError: they differ in their number of values, or are in `own` settings too.
    """
    lists = {name: _listed(name, value) for name, value in zipped.items()}
    if len({len(value) for value in lists.values()}) > 1:
        counts = ", ".join(f"{name} has {len(value)}" for name, value in lists.items())
        raise UserError(f"{ZIP} needs the same number of values for each setting, but {counts}")
    if twice := lists.keys() & own.keys():
        raise UserError(f"{min(twice)} is in both {PARAMS} and {ZIP}; remove it from one of them")
    left = [value for name, value in lists.items() if bare_name(name) not in map(bare_name, given)]
    return [*zip(*left, strict=True)] or [()]


def combine(own: Mapping[str, list[str]], zipped: Sequence[Sequence[Run]], given: Mapping[str, list[str]]) -> list[Run]:
    """Returns all combinations. A `given` setting takes the place of an `own` one of that name, or comes last."""
    known = [bare_name(name) for name in given]
    first = {
        name: given.get(name, values) for name, values in own.items() if name in given or bare_name(name) not in known
    }
    last = [values for name, values in given.items() if name not in first]
    factors = [*([(value,) for value in values] for values in first.values()), *zipped]
    factors += [[(value,) for value in values] for values in last]
    return [tuple(chain.from_iterable(combination)) for combination in product(*factors)]


def bare_name(name: str) -> str:
    """Returns a setting's name without the + or ~ prefix."""
    return name.lstrip("+~")


def _listed(name: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"{name}={quoted(item) if isinstance(item, str) else _text(item)}" for item in value]
    return choices(literal([f"{name}={_text(value)}"], sweep=True))[name]


def _text(value: Any) -> str:
    """Returns a value in Hydra's grammar, in which strings are already written."""
    return value if isinstance(value, str) else Override._get_value_element_as_str(value)
