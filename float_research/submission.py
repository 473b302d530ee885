"""Sweeps submitted through submitit's launchers without waiting for their runs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any
from unittest.mock import patch

from omegaconf import DictConfig
from rich.console import Console

from float_research.errors import UserError
from float_research.printing import ERROR, OUTPUT, divert, say
from float_research.program import typed
from float_research.texts import count

SUBMITIT, LOCAL = "hydra_submitit_launcher", "LocalLauncher"


def logs(config: DictConfig) -> Path:
    """Returns the parent folder of the jobs' log folders."""
    return Path(str(config.hydra.launcher.submitit_folder).partition("%")[0])


def submitted_jobs(config: DictConfig) -> set[Path]:
    """Returns the file of each job ever submitted for a sweep; none for another launcher."""
    return set(logs(config).glob("*/*_submitted.pkl")) if is_submitit(config) else set()


def is_submitit(config: DictConfig) -> bool:
    """Returns whether runs continue without the sweep that launched them."""
    return SUBMITIT in config.hydra.launcher._target_


def require_submitit(config: DictConfig) -> None:
    """Raises a UserError for a launcher whose runs end with the sweep."""
    if not is_submitit(config):
        raise UserError("submit=true needs hydra/launcher=submitit_slurm or submitit_local")


@contextmanager
def submit() -> Iterator[list[str]]:
    """Makes submitit's launchers return without waiting. Yields a list that collects the job ids.

    Standard streams are diverted meanwhile: local jobs would keep them open, and a pipe's reader would wait for them.
    """
    import submitit

    jobs: list[str] = []
    wait = submitit.AutoExecutor.map_array

    def submit_only(self: Any, *arguments: Any) -> list[Any]:
        jobs.extend(job.job_id for job in wait(self, *arguments))
        return []

    streams = [(number, os.dup(number)) for number in (OUTPUT, ERROR)]
    try:
        for number, _ in streams:
            divert(number)
        with patch.object(submitit.AutoExecutor, "map_array", submit_only):
            yield jobs
    finally:
        for number, kept in streams:
            os.dup2(kept, number)
            os.close(kept)


def tell(jobs: Sequence[str], config: DictConfig, console: Console) -> None:
    """Prints how to monitor submitted jobs and collect their results."""
    folder, names = Path(config.hydra.sweep.dir), ",".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
    local = config.hydra.launcher._target_.endswith(LOCAL)
    look = f"ps -p {names}" if local else f"squeue --jobs={names}"
    say(console, f"submitted {count(len(jobs), 'run')}, which continue without this program")
    say(console, f"monitor: {look}; tail {quote(str(logs(config)))}/*/*_log.*")
    say(console, f"collect: {typed('summary')} {quote(str(folder))}")
