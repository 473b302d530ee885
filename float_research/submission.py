"""Sweeps that submitit's launchers submit without waiting for them."""

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

SUBMITIT, LOCAL = "hydra_submitit_launcher", "LocalLauncher"


def logs(config: DictConfig) -> Path:
    """Where jobs write, each in a folder of its own."""
    return Path(str(config.hydra.launcher.submitit_folder).partition("%")[0])


def submitted(config: DictConfig) -> set[Path]:
    """What each job that was ever submitted for a sweep has left; nothing of another launcher's."""
    return set(logs(config).glob("*/*_submitted.pkl")) if is_submitit(config) else set()


def is_submitit(config: DictConfig) -> bool:
    """Whether runs go on without the sweep that launched them."""
    return SUBMITIT in config.hydra.launcher._target_


def require_submitit(config: DictConfig) -> None:
    """Raises a UserError for a launcher whose runs end with it."""
    if not is_submitit(config):
        raise UserError("submit=true is for hydra/launcher=submitit_slurm or submitit_local, whose runs go on alone")


@contextmanager
def submit() -> Iterator[list[str]]:
    """Lets launchers of submitit come back at once. Gathers the names of the jobs.

    Jobs of this machine would hold the streams, for which a pipe's reader waits.
    """
    import submitit

    jobs: list[str] = []
    wait = submitit.AutoExecutor.map_array

    def come_back(self: Any, *arguments: Any) -> list[Any]:
        jobs.extend(job.job_id for job in wait(self, *arguments))
        return []

    streams = [(number, os.dup(number)) for number in (OUTPUT, ERROR)]
    try:
        for number, _ in streams:
            divert(number)
        with patch.object(submitit.AutoExecutor, "map_array", come_back):
            yield jobs
    finally:
        for number, kept in streams:
            os.dup2(kept, number)
            os.close(kept)


def tell(jobs: Sequence[str], config: DictConfig, console: Console) -> None:
    """Says how to look after jobs, and how to collect what they made."""
    folder, names = Path(config.hydra.sweep.dir), ",".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
    local = config.hydra.launcher._target_.endswith(LOCAL)
    look = f"ps -p {names}" if local else f"squeue --jobs={names}"
    say(console, f"submitted {len(jobs)} runs, which go on without this program")
    say(console, f"look:    {look}; tail {quote(str(logs(config)))}/*/*_log.*")
    say(console, f"collect: {typed('summary')} {quote(str(folder))}")
