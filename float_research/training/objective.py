"""The interface of a training stage: its data, losses and metrics."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from float_research.models.float_model import FloatModel
from float_research.training.previews import Preview

TRAINING, HELD_OUT = 0, 1


class BatchKey(NamedTuple):
    """Identifies a batch by its number in the training or the held-out stream."""

    stream: int
    number: int

    def seed(self, *more: int) -> int:
        """Returns a 32-bit seed of the key and `more`; PyTorch's CPU generator uses no more bits."""
        return int(np.random.SeedSequence((*self, *more)).generate_state(1)[0])

    def generator(self, *more: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed(*more))


Terms = Mapping[str, Tensor]
"""Scalars by name."""


@runtime_checkable
class Objective(Protocol):
    """A training stage. `trains` and `exports` are parameter-name prefixes; all other parameters are frozen."""

    @property
    def trains(self) -> Sequence[str]: ...

    @property
    def exports(self) -> Sequence[str]: ...

    def require_data(self) -> None:
        """Raises a UserError for missing data, before anything else is built."""

    def prepare(self, model: FloatModel) -> None:
        """Sets initial weights and adds training-only modules, such as a head."""

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        """Called after the weights of earlier trainings, named in `trained`, have been loaded."""

    def finish(self, model: FloatModel) -> None:
        """Folds training-only layers into the weights of a copy of the model, before the export."""

    def batch(self, key: BatchKey) -> Any:
        """Prepares a batch in a worker process. The same key gives the same batch."""

    def losses(self, model: FloatModel, batch: Any, device: torch.device) -> Terms:
        """Returns weighted loss terms; their sum is minimised."""

    def metrics(self, model: FloatModel, batch: Any, device: torch.device) -> Terms:
        """Returns metrics on a held-out batch."""

    def preview(self, model: FloatModel, device: torch.device) -> Preview:
        """Returns what shows the progress of training on held-out data."""
