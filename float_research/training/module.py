"""The one Lightning module of all stages: an objective, an optimiser, a schedule."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lightning
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from float_research.models.float_model import FloatModel
from float_research.training.objective import Objective

BuildOptimizer = Callable[[list[nn.Parameter]], Optimizer]


class Steps(IterableDataset[int]):
    """Endless step numbers: an objective makes its own batches, each a function of the step alone."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


def warmup_cosine(step: int, warmup_steps: int, num_steps: int) -> float:
    """Factor of the learning rate: up in a line over the warm-up, then down along half a cosine."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 + 0.5 * math.cos(math.pi * min((step - warmup_steps) / max(num_steps - warmup_steps, 1), 1.0))


class Training(lightning.LightningModule):
    """Trains what the objective names. The rest of the model stands still, its dropout included."""

    def __init__(
        self,
        *,
        model: FloatModel,
        objective: Objective,
        optimizer: BuildOptimizer,
        warmup_steps: int,
        num_validation: int,
    ):
        super().__init__()
        self.model, self.objective = model, objective
        self.build_optimizer, self.warmup_steps, self.num_validation = optimizer, warmup_steps, num_validation
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(objective.trains)))
        for module in model.modules():
            module.training = any(parameter.requires_grad for parameter in module.parameters())

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(Steps(), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(range(self.num_validation), batch_size=None)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        factor = partial(warmup_cosine, warmup_steps=self.warmup_steps, num_steps=self.trainer.max_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        step = self.global_step
        terms = self.objective.losses(self.model, step, step / self.trainer.max_steps, self.device)
        total = sum(terms.values(), start=next(iter(terms.values())) * 0)
        self.log("loss", total.detach(), prog_bar=True)
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        return total

    def validation_step(self, batch: int, batch_idx: int) -> None:
        terms = self.objective.metrics(self.model, batch_idx, self.device)
        self.log_dict({f"held_out/{name}": term for name, term in terms.items()}, on_epoch=True, batch_size=1)
