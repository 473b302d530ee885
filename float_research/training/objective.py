"""What a stage of training wants of the model."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.models.float_model import FloatModel

TRAINING, HELD_OUT = 0, 1


class BatchKey(NamedTuple):
    """Which batch: its number, in the stream of training or of held-out ones."""

    stream: int
    number: int

    def seed(self, *more: int) -> int:
        """32 bits for each key and what else is given: as many as PyTorch's generator on the CPU looks at."""
        return int(np.random.SeedSequence((*self, *more)).generate_state(1)[0])

    def generator(self, *more: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed(*more))


Terms = Mapping[str, Tensor]
"""Scalars by name."""


@runtime_checkable
class Objective(Protocol):
    """One stage. Prefixes say which parameters it changes, the others standing still, and which of them it exports."""

    @property
    def trains(self) -> Sequence[str]: ...

    @property
    def exports(self) -> Sequence[str]: ...

    def prepare(self, model: FloatModel) -> None:
        """Sets initial weights that differ from the layers' own, and adds what only training needs, such as a head."""

    def begin(self, model: FloatModel, trained: Set[str]) -> None:
        """Called once weights of earlier trainings, by the names in `trained`, are in their places."""

    def finish(self, model: FloatModel) -> None:
        """Takes off a copy of the trained model what only training needed and its weights do not say."""

    def batch(self, key: BatchKey) -> Any:
        """What worker processes make ahead of a step. The same key, the same batch."""

    def losses(self, model: FloatModel, batch: Any, device: torch.device) -> Terms:
        """Weighted terms, whose sum is minimised."""

    def metrics(self, model: FloatModel, batch: Any, device: torch.device) -> Terms:
        """Figures on a held-out batch."""

    def preview(self, model: FloatModel, device: torch.device) -> Float[Tensor, "3 h w"] | None:
        """A picture in [-1, 1] that tells how far training is, or None."""
