"""Training checkpoints: written atomically, with the previous one kept, and loaded without executing code."""

import io
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from float_research.errors import UserError, is_our_mistake, named, reading, reason
from float_research.files import require_file, whole
from float_research.stopping import held
from float_research.tensors import refuse_compressed, refuse_damaged
from float_research.training.folder import LAST, PREVIOUS

log = logging.getLogger(__name__)

RESTART = "to start over, or choose another output_dir"
PARTS = frozenset({"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step"})
"""Keys that Lightning expects."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint atomically, and keeps the one before `last.ckpt` as `previous.ckpt`.

    Loads the previous one, with a warning, if the last one is damaged.
    """

    def __init__(self) -> None:
        self._sound = False  # whether this process knows the last checkpoint to be valid

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint. Raises a UserError if the disk is full; the last checkpoint stays valid."""
        place, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with held(), whole(place) as part:
                part.write_bytes(content.getbuffer())
                if self._sound and place.name == LAST and place.is_file():
                    os.replace(place, place.with_name(PREVIOUS))
        except OSError as error:
            raise UserError(
                f"{named('checkpoint', place)} cannot be written ({reason(error)}); free disk space and run the same "
                "command again, which resumes from the checkpoint before it"
            ) from error
        self._sound |= place.name == LAST

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Loads a checkpoint. Raises a UserError if neither the last nor the previous one can be read."""
        last = Path(path)
        previous = last.with_name(PREVIOUS)
        if last == previous or not previous.is_file():
            content = read_checkpoint(last, f"delete it {RESTART}")
        else:
            try:
                content = read_checkpoint(last, f"resuming from {previous.name}")
            except UserError as error:
                log.warning("%s", error)
                return read_checkpoint(previous, f"neither can {last.name}: delete both {RESTART}")
        self._sound = last != previous
        return content


def read_checkpoint(path: Path, remedy: str) -> dict[str, Any]:
    """Loads a checkpoint to the CPU. Executes nothing in it and verifies its checksums."""
    require_file(path, "checkpoint", remedy)
    with reading(f"checkpoint {path}", remedy):
        refuse_compressed(path)
        refuse_damaged(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not content.keys() >= PARTS:
            raise ValueError("it is not a training checkpoint")
        return content


@contextmanager
def restoring(path: Path | None) -> Iterator[None]:
    """Turns Lightning's errors into a UserError when a checkpoint does not fit the training that resumes from it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        at_work = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "checkpoint_connector" in frame.filename
        ]
        if is_our_mistake(error) or not any(frame.name.startswith(("restore", "resume")) for frame in at_work):
            raise
        raise UserError(
            f"{named('checkpoint', path)} does not fit this training ({reason(error)}); use the settings of the "
            f"config.yaml next to it, or choose another output_dir"
        ) from error
