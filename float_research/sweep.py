"""What a sweep does beyond its runs."""

import atexit
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from float_research import cli, compose
from float_research.errors import UserError, printable
from float_research.files import sweep_parts
from float_research.folders import require_own
from float_research.locks import lock
from float_research.printing import say, stdout
from float_research.stopping import end_with
from float_research.texts import read_mapping
from float_research.tracking.record import PLACES, write_json
from float_research.tracking.runs import SWEEP
from float_research.tracking.tracker import tell

LOCK = ".sweep.lock"
AIMS = ("objective", "direction")
"""Settings of a sweeper that make another search, unlike the number of its runs."""
_locks: dict[Path, TextIO] = {}
"""Of the sweeps of this process. Not in the callback, which travels to other processes."""


class Sweep(Callback):
    """Keeps a sweep's folder to itself, and sums it up once all runs have ended: printed, in files, to trackers.

    Exits with 1 if any run failed, else with 3 if any clip did.
    """

    process: int | None = None
    """Of the sweep."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder, launcher = Path(config.hydra.sweep.dir), config.hydra.launcher
        self.process = os.getpid()
        try:
            claim(folder, identity(config))
        except UserError as error:
            cli.fail(str(error), cli.EXIT_USER_ERROR)
        atexit.register(leave, folder, outlived="submitit" in launcher._target_)
        if "ray" in launcher and find_spec("ray"):
            start_ray(**compose.resolved(launcher.ray.init))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if self.process is not None and "joblib" in config.hydra.launcher._target_:
            end_with(self.process)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self._sum_up(config)
        except Exception as error:  # which Hydra would make a warning of
            if cli.WANTS_TRACEBACK:
                raise
            cli.fail(*cli.sentence(error))

    def _sum_up(self, config: DictConfig) -> None:
        from float_research.tracking.summary import report

        folder, console = Path(config.hydra.sweep.dir), stdout()
        table, num_failed = report(folder, console)
        for said in tell(compose.build_trackers(config), lambda tracker: tracker.sweep(folder, table)):
            say(console, said)
        release(folder)
        if num_failed:
            sys.exit(1)
        if not table.empty and table["failed"].any():
            sys.exit(cli.EXIT_INCOMPLETE)


def start_ray(**settings: Any) -> None:
    """Starts Ray before its launcher would: it takes SIGTERM for itself, which is to end a sweep as SIGINT does."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(**settings)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))


def identity(config: DictConfig) -> dict[str, str]:
    """What is swept over what, and what for: overrides and a sweeper's parameters by name, not places and trackers."""
    swept = {name: value for name, _, value in (text.partition("=") for text in config.hydra.overrides.task)}
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create(), resolve=False)
    assert isinstance(params, dict)
    named = {str(name): str(value) for name, value in params.items()} | swept
    named |= {f"hydra.sweeper.{name}": str(config.hydra.sweeper[name]) for name in AIMS if name in config.hydra.sweeper}
    return {name: value for name, value in sorted(named.items()) if name.split(".")[0] not in PLACES}


def claim(folder: Path, identity: Mapping[str, str]) -> None:
    """Locks a sweep's folder until the sweep ends, or its process does in whatever way.

    Raises:
        UserError: the folder is another sweep's, or a sweep is at work there.
    """
    require_own(folder, "hydra.sweep.dir", lambda place: (place / SWEEP).is_file())
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("w")
    try:
        lock(file.fileno())
    except BlockingIOError as error:
        raise UserError(f"a sweep is at work in {folder}; wait for it, or choose another hydra.sweep.dir") from error
    place = folder / SWEEP
    if place.is_file():
        held = read_mapping(place, what="sweep", remedy="delete it if this is the sweep that was there")
        if held != identity:
            said = printable(" ".join(f"{name}={value}" for name, value in held.items()), 1000)
            raise UserError(f"{folder} holds the sweep {said}; choose another hydra.sweep.dir")
    write_json(place, identity)
    _locks[folder] = file


def leave(folder: Path, *, outlived: bool) -> None:
    """Tidies up after the workers of a sweep that ended early, or says that they outlive it."""
    if folder not in _locks:
        return
    if outlived:
        print(f"runs that were submitted go on, and write to {printable(folder, 1000)}", file=sys.stderr)
    else:
        for place, _, _ in os.walk(folder):
            sweep_parts(Path(place))
    release(folder)


def release(folder: Path) -> None:
    """Ends a claim."""
    _locks.pop(folder).close()
