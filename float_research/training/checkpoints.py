"""Checkpoints of a training: written whole, the previous one kept, and read as data."""

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
from float_research.training.folder import PREVIOUS

log = logging.getLogger(__name__)

ANEW = "to begin anew, or choose another output_dir"
PARTS = frozenset({"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step"})
"""What Lightning looks for."""


class WholeCheckpoints(TorchCheckpointIO):
    """A checkpoint takes its name once it is written, and the one before it becomes `previous.ckpt`.

    A damaged one is told, and the previous taken.
    """

    def __init__(self) -> None:
        self._sound = False  # whether the last one is, as far as this process knows

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises a UserError where the disk is full. The last one stays as it was."""
        place, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with held(), whole(place) as part:
                part.write_bytes(content.getbuffer())
                if self._sound and place.is_file():
                    os.replace(place, place.with_name(PREVIOUS))
        except OSError as error:
            raise UserError(
                f"{named('checkpoint', place)} cannot be written ({reason(error)}); make room, and the same "
                "command goes on from the one before"
            ) from error
        self._sound = True

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Raises a UserError where neither the last nor the previous one can be read."""
        last = Path(path)
        previous = last.with_name(PREVIOUS)
        if last == previous or not previous.is_file():
            content = read_checkpoint(last, f"delete it {ANEW}")
        else:
            try:
                content = read_checkpoint(last, f"going on from {previous.name}")
            except UserError as error:
                log.warning("%s", error)
                return read_checkpoint(previous, f"nor can {last.name}: delete both {ANEW}")
        self._sound = last != previous
        return content


def read_checkpoint(path: Path, remedy: str) -> dict[str, Any]:
    """A checkpoint on the CPU. Nothing in it is ever executed, and its checksums must be right."""
    require_file(path, "checkpoint", remedy)
    with reading(f"checkpoint {path}", remedy):
        refuse_compressed(path)
        refuse_damaged(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not content.keys() >= PARTS:
            raise ValueError("it is none of a training")
        return content


@contextmanager
def restoring(path: Path | None) -> Iterator[None]:
    """Makes a sentence of what Lightning raises where a checkpoint does not fit the training that goes on from it."""
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
            f"{named('checkpoint', path)} does not fit this training ({reason(error)}); go on with the settings "
            f"in the config.yaml beside it, or choose another output_dir"
        ) from error
