"""Lightning's trainers: their messages, and the processes that they start for one run."""

import logging
import warnings
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

import lightning
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from float_research.errors import UserError
from float_research.folders import occupied


def is_first() -> bool:
    """Returns whether this is the rank-zero process, the only one that locks and clears the output folder."""
    return getattr(rank_zero_only, "rank", 0) == 0


def reserved(folder: Path, name: str, *, what: str) -> AbstractContextManager[None]:
    """Reserves an output folder for all processes of a `what`, such as a run: the first one locks its file `name`.

    Raises:
        UserError: another one is running there.
    """
    return occupied(folder, name, "output_dir", what=what) if is_first() else nullcontext()


def wait_for_slow_processes(trainer: lightning.Trainer) -> None:
    """Lets processes wait for each other for a week: one may have far more to render than another."""
    if hasattr(trainer.strategy, "_timeout"):
        trainer.strategy._timeout = timedelta(days=7)


def check_processes(trainer: lightning.Trainer, num_clips: int) -> None:
    """Raises a UserError for more processes than clips."""
    if trainer.world_size > num_clips:
        raise UserError(
            f"trainer.devices={trainer.num_devices} are more processes than clips ({num_clips}); use fewer devices"
        )


def check_processes_in_sweep(trainer: lightning.Trainer, strategy_name: str, *, num_tasks: int) -> None:
    """Raises a UserError for processes that would replay the sweep, or that each render all clips.

    `num_tasks`: the processes that Hydra's launcher starts for a run.
    """
    strategy, named = trainer.strategy, f"trainer.strategy={strategy_name}"
    environment = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
    by_cluster = environment is not None and environment.creates_processes_externally
    if isinstance(strategy.launcher, _SubprocessScriptLauncher) and not by_cluster:
        raise UserError(
            f"{named} cannot run in a sweep: each further process would replay the sweep; "
            "use trainer.strategy=ddp_spawn, run the settings one by one, or let SLURM start the processes "
            f"(hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node={trainer.num_devices})"
        )
    wanted = trainer.num_devices * trainer.num_nodes if by_cluster else 1
    if num_tasks != wanted:
        raise UserError(
            f"hydra.launcher.tasks_per_node × nodes is {num_tasks}, but {named} on trainer.devices="
            f"{trainer.num_devices} wants {wanted}: clips would be made twice, or on fewer devices"
        )


def silence_lightning() -> None:
    """Suppresses Lightning's tips, its device report, and its advice on workers and SLURM."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
