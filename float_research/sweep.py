"""Sweeps beyond their runs: the claim on the folder, run numbers, summary and cleanup."""

import atexit
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from float_research import cli, compose
from float_research.errors import UserError, printable
from float_research.files import sweep_parts
from float_research.folders import require_own
from float_research.launch import end_with, start_ray
from float_research.locks import lock
from float_research.printing import say, stdout
from float_research.program import typed
from float_research.submission import submitted_jobs
from float_research.tracking.logger import tell
from float_research.tracking.record import PLACES, write_json
from float_research.tracking.runs import SWEEP, read_sweep

LOCK = ".sweep.lock"
MORE = ", or extend the sweep, keeping all of these values"
AIMS = ("objective", "direction", "zip")
"""Sweeper settings that identify a sweep, unlike the number of its runs."""
Run = tuple[str, ...]
"""The overrides of a run."""
_locks: dict[Path, TextIO] = {}
"""The open lock files of this process's sweeps. Not in the callback, which is pickled to other processes."""


class Sweep(Callback):
    """Reports a sweep once all runs have ended: on the console, in files and to loggers.

    Exits with 1 if any run failed, else with 3 if any clip did.
    """

    process: int | None = None
    """The process id of the sweep."""

    place: Path
    absent: Sequence[Path] = ()
    """The folder of the run or sweep, and those of it and its parents that Hydra creates and a dry run removes."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.submit:
            cli.fail("submit=true only applies to sweeps; add -m, or leave it out", cli.EXIT_USER_ERROR)
        for name in ("params", "zip"):
            if config.hydra.sweeper.get(name):
                setting = f"hydra.sweeper.{name}"
                cli.fail(f"{setting} asks for a sweep; add -m, or {setting}=null for one run", cli.EXIT_USER_ERROR)
        self.prepare(config, config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.process = os.getpid()
        if config.hydra.sweeper._target_.startswith("hydra._internal"):
            cli.fail("hydra/sweeper=basic is not supported; use hydra/sweeper=product", cli.EXIT_USER_ERROR)
        self.prepare(config, config.hydra.sweep.dir)
        if not config.dry_run:  # each run prints its own line at its end
            with read_write(config), open_dict(config):
                config.hydra.hydra_logging.loggers.hydra.level = "WARNING"

    def prepare(self, config: DictConfig, folder: str) -> None:
        """Notes which folders do not exist before Hydra creates them."""
        try:
            cli.refuse_chdir(config.hydra.job.chdir)
        except UserError as error:
            cli.fail(str(error), cli.EXIT_USER_ERROR)
        self.place = Path(folder).absolute()
        if config.dry_run:
            self.absent = [path for path in (self.place, *self.place.parents) if not path.exists()]

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.dry_run:
            run = Path(config.hydra.runtime.output_dir).absolute()
            inner = [path for path in (run, *run.parents) if self.place in path.parents]
            for path in (*inner, *self.absent):
                with suppress(OSError):  # not empty
                    path.rmdir()
        if self.process is not None and "joblib" in config.hydra.launcher._target_:
            end_with(self.process)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self._sum_up(config)
        except Exception as error:  # Hydra would only warn
            if cli.WANTS_TRACEBACK:
                raise
            cli.fail(*cli.sentence(error))

    def _sum_up(self, config: DictConfig) -> None:
        from float_research.analysis import published, theval
        from float_research.analysis.summary import report

        folder, console = Path(config.hydra.sweep.dir), stdout()
        if config.dry_run:
            sys.exit(cli.EXIT_USER_ERROR if cli.failed_plans else 0)
        if config.submit:
            release(folder)
            return
        table, num_failed = report(folder, console)
        published.report(folder, table, console)
        theval.report(folder, table, console)
        for said in tell(compose.build_loggers(config), lambda logger: logger.sweep(folder, table)):
            say(console, said)
        for name, purpose in ("report", "a page of all videos and numbers"), ("compare", "which differences are real"):
            if len(table) > 1:
                say(console, f"{purpose}: {typed(name)} {shlex.quote(str(folder))}")
        release(folder)
        if num_failed:
            sys.exit(1)
        if not table.empty and table["failed"].any():
            sys.exit(cli.EXIT_INCOMPLETE)


def identity(config: DictConfig) -> dict[str, str]:
    """Returns what identifies a sweep: its overrides and sweeper settings by name, without places and loggers."""
    swept = {name: value for name, _, value in (text.partition("=") for text in config.hydra.overrides.task)}
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    assert isinstance(sweeper, dict)
    params = sweeper.get("params") or {}
    named = params if isinstance(params, dict) else {"hydra.sweeper.params": params}
    named = {str(name): str(value) for name, value in named.items()} | swept
    named |= {f"hydra.sweeper.{name}": str(sweeper[name]) for name in AIMS if sweeper.get(name) is not None}
    return {name: value for name, value in sorted(named.items()) if name.split(".")[0] not in PLACES}


def begin(folder: Path, config: DictConfig, runs: Sequence[Run] | None = None) -> list[Run]:
    """Claims a sweep's folder and registers its cleanup at exit. Returns the runs in the order of their numbers."""
    before = submitted_jobs(config)
    numbered = claim(folder, identity(config), runs)
    atexit.register(lambda: leave(folder, outlived=bool(submitted_jobs(config) - before)))
    if "ray" in config.hydra.launcher and find_spec("ray"):  # its own exit handler, run first, ends the workers
        start_ray(**compose.resolved(config.hydra.launcher.ray.init))
    return numbered


def claim(folder: Path, identity: Mapping[str, str], runs: Sequence[Run] | None = None) -> list[Run]:
    """Locks a sweep's folder until the sweep or its process ends.

    Raises:
        UserError: the folder belongs to another sweep, or a sweep is running there.
    """
    require_own(folder, "hydra.sweep.dir", lambda place: (place / SWEEP).is_file())
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("w")
    try:
        lock(file.fileno())
    except BlockingIOError as error:
        raise UserError(f"a sweep is running in {folder}; wait for it, or choose another hydra.sweep.dir") from error
    numbered = order_runs(folder, identity, runs)
    held = {"settings": identity} | ({} if runs is None else {"runs": [list(computing(run)) for run in numbered]})
    write_json(folder / SWEEP, held)
    _locks[folder] = file
    return numbered


def order_runs(folder: Path, identity: Mapping[str, str], runs: Sequence[Run] | None) -> list[Run]:
    """Returns the runs of a sweep in the order of their numbers: those known to the folder keep theirs, others follow.

    Raises:
        UserError: the folder belongs to another sweep, with runs that this one lacks.
    """
    require_own(folder, "hydra.sweep.dir", lambda place: (place / SWEEP).is_file())
    if not (folder / SWEEP).is_file():
        return list(runs or ())
    settings, known = read_sweep(folder)
    waiting: dict[Run, list[int]] = {}
    for index, run in enumerate(runs or ()):
        waiting.setdefault(computing(run), []).append(index)
    whole = known is not None and runs is not None
    first = [waiting[run].pop(0) for run in map(computing, known or ()) if waiting.get(run)]
    if len(first) < len(known or ()) if whole else settings != identity:
        said = printable(" ".join(f"{name}={value}" for name, value in settings.items()), 1000)
        raise UserError(f"{folder} holds the sweep {said}; choose another hydra.sweep.dir{MORE if whole else ''}")
    return [(runs or ())[index] for index in [*first, *sorted(chain.from_iterable(waiting.values()))]]


def computing(run: Sequence[str]) -> Run:
    """Returns what distinguishes the runs of a sweep: their overrides except for places, sorted."""
    return tuple(sorted(text for text in run if text.lstrip("+~").partition("=")[0].split(".")[0] not in PLACES))


def leave(folder: Path, *, outlived: bool) -> None:
    """Cleans up after the workers of a sweep that ended early, or says that submitted ones keep running."""
    if folder not in _locks:
        return
    if outlived:
        print(f"submitted runs continue, and write to {printable(folder, 1000)}", file=sys.stderr)
    else:
        for place, _, _ in os.walk(folder):
            sweep_parts(Path(place))
    release(folder)


def release(folder: Path) -> None:
    """Releases the lock of a folder."""
    _locks.pop(folder).close()
