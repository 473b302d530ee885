"""A training's output folder: accepted if empty or left by a training, and locked while one runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from float_research.errors import UserError
from float_research.files import sweep_parts
from float_research.folders import require_own, visible
from float_research.inference.trainers import is_first, reserved
from float_research.texts import read_yaml
from float_research.tracking.record import CONFIG

CODE = "code.json"
"""Fingerprint of the code that last started or resumed the training."""
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
WEIGHTS, BEST_WEIGHTS = "weights.safetensors", "best.safetensors"
PREVIEWS, CORPUS = "previews", "corpus"
LOGS = frozenset({"curves", "tensorboard", "wandb"})
"""Folders of loggers."""
NAMES = frozenset({CONFIG, CODE, LAST, PREVIOUS, BEST, WEIGHTS, BEST_WEIGHTS, PREVIEWS, CORPUS}) | LOGS
"""Names that a training writes."""
SETTINGS = frozenset({"stage", "trainer", "average_decay", "checkpoint_every"})
"""Keys that identify the config of a training."""
LOCK = ".training.lock"


def require_training(folder: Path) -> None:
    """Raises a UserError for a folder with files that no training wrote."""
    if is_first():
        require_own(folder, "output_dir", is_training)


def is_training(folder: Path) -> bool:
    """Whether a training wrote this folder: by its config, or by a checkpoint and no foreign files."""
    names = visible(folder)
    if names <= NAMES and names & {LAST, PREVIOUS}:
        return True
    try:
        config = read_yaml(folder / CONFIG)
    except UserError:
        return False
    return isinstance(config, dict) and set(config) >= SETTINGS


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Locks a folder for this training and removes partial files of killed ones.

    Raises:
        UserError: another training is running there.
    """
    with reserved(folder, LOCK, what="training"):
        for place in (folder, folder / PREVIEWS) if is_first() else ():
            sweep_parts(place)
        yield


def newest(folder: Path) -> Path | None:
    """Returns the checkpoint to resume from; a training killed between two renames leaves only the previous one."""
    return next((folder / name for name in (LAST, PREVIOUS) if (folder / name).is_file()), None)
