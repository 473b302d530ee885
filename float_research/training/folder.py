"""A training's folder: empty, of a training, or refused; and one training in it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only

from float_research import folders
from float_research.errors import UserError
from float_research.files import sweep_parts
from float_research.folders import require_own, visible
from float_research.texts import read_yaml
from float_research.tracking.record import CONFIG

CODE = "code.json"
"""The code that a training began or went on with."""
LAST, PREVIOUS, WEIGHTS = "last.ckpt", "previous.ckpt", "weights.safetensors"
PREVIEWS, CURVES = "previews", "curves"
NAMES = frozenset({CONFIG, CODE, LAST, PREVIOUS, WEIGHTS, PREVIEWS, CURVES})
"""What a training writes."""
SETTINGS = frozenset({"stage", "trainer", "average_decay", "checkpoint_every"})
"""Which the config of a training has, and hardly another."""
LOCK = ".training.lock"
FIRST = getattr(rank_zero_only, "rank", 0) == 0
"""Whether this process stands for all: those of other devices find in the folder what this one writes."""


def require_training(folder: Path) -> None:
    """Raises a UserError for a folder with files in it that no training left there."""
    if FIRST:
        require_own(folder, "output_dir", is_training)


def is_training(folder: Path) -> bool:
    """Whether a training left this: its config says so, or there is a checkpoint and nothing foreign."""
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
    """Keeps a folder for this training, and clears away what killed ones left half-written.

    Raises:
        UserError: another training is at work there.
    """
    if not FIRST:
        yield
        return
    with folders.occupied(folder, LOCK, "output_dir", what="training"):
        for place in (folder, folder / PREVIEWS):
            sweep_parts(place)
        yield


def newest(folder: Path) -> Path | None:
    """The checkpoint to go on from. A training that was killed between two renames left the previous one alone."""
    return next((folder / name for name in (LAST, PREVIOUS) if (folder / name).is_file()), None)
