"""What a stage of training wants of the model."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.models.float_model import FloatModel

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

    def losses(self, model: FloatModel, step: int, progress: float, device: torch.device) -> Terms:
        """Weighted terms, whose sum is minimised. `progress` runs from 0 to 1 over the training."""

    def metrics(self, model: FloatModel, index: int, device: torch.device) -> Terms:
        """Figures on held-out batch `index`."""

    def preview(self, model: FloatModel, device: torch.device) -> Float[Tensor, "3 h w"] | None:
        """A picture in [-1, 1] that tells how far training is, or None."""
