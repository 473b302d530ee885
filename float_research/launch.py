"""Launchers of sweeps: what a run knows of its launcher, and what joblib, Ray, submitit and SLURM need."""

import os
import signal
import threading
import time
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

WORKER_DIED = ("TerminatedWorkerError", "UncompletedJobError", "WorkerCrashedError", "OutOfMemoryError")
"""What joblib, submitit and Ray raise when a job's process has died."""
PARENT_S = 0.5
"""The interval at which a worker checks for its parent process, in seconds."""


def in_sweep() -> bool:
    """Returns whether this is a run of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def num_tasks() -> int:
    """Returns how many processes the launcher starts for this run."""
    launcher = HydraConfig.get().launcher if in_sweep() else {}
    return int(launcher.get("tasks_per_node", 1) * launcher.get("nodes", 1))


def requeued() -> bool:
    """Returns whether SLURM requeued this job after a time limit, preemption or node failure."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def start_ray(**settings: Any) -> None:
    """Starts Ray before its launcher does, and restores the handler of SIGTERM, which Ray replaces."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    former = signal.getsignal(signal.SIGTERM)
    ray.init(**settings)
    signal.signal(signal.SIGTERM, former)


def end_with(parent: int) -> None:
    """Ends a worker process by SIGTERM once its parent process is gone."""
    if os.getpid() != parent and all(thread.name != end_with.__name__ for thread in threading.enumerate()):
        threading.Thread(target=_end_after, args=(parent,), name=end_with.__name__, daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_S)
    while True:  # the first starts the cleanup, during which others are ignored; a later one then ends the process
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PARENT_S)
