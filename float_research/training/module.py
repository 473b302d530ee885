"""The Lightning module of all stages: an objective, an optimiser and a schedule."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from float_research.errors import UserError
from float_research.models.float_model import FloatModel
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey, Objective

HELD_OUT_LOGGED = "held_out"
"""Prefix of the logged numbers of held-out data."""
BuildOptimizer = Callable[[list[nn.Parameter]], Optimizer]


class Batches(IterableDataset[tuple[int, Any]]):
    """Endless stream of numbered training batches from `first` on, split among worker processes.

    With `num_ranks` devices, step n of rank r takes batch `n · num_ranks + r`.
    """

    def __init__(self, make: Callable[[BatchKey], Any], first: int, *, rank: int = 0, num_ranks: int = 1):
        self.make, self.first, self.rank, self.num_ranks = make, first, rank, num_ranks

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        worker = get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        for number in itertools.count(self.first + offset, stride):
            yield number, self.make(BatchKey(TRAINING, number * self.num_ranks + self.rank))


class HeldOut(Dataset[Any]):
    """The first `num` held-out batches."""

    def __init__(self, make: Callable[[BatchKey], Any], num: int):
        self.make, self.num = make, num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, number: int) -> Any:
        return self.make(BatchKey(HELD_OUT, number))


def keep_batch(batch: Any) -> Any:
    """Returns the batch unchanged, in place of PyTorch's default conversion."""
    return batch


def warmup_cosine(step: int, warmup_steps: int, num_steps: int) -> float:
    """Returns the learning-rate factor: linear warm-up, then half a cosine down to zero."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 + 0.5 * math.cos(math.pi * min((step - warmup_steps) / max(num_steps - warmup_steps, 1), 1.0))


class Training(lightning.LightningModule):
    """Trains the parameters that the objective names, except those with a `frozen` prefix.

    Modules without trained parameters stay in eval mode, so their dropout is off.
    """

    def __init__(
        self,
        *,
        model: FloatModel,
        objective: Objective,
        frozen: Sequence[str] = (),
        optimizer: BuildOptimizer,
        warmup_steps: int,
        num_validation: int,
        num_workers: int,
    ):
        super().__init__()
        self.model, self.objective = model, objective
        self.build_optimizer, self.warmup_steps = optimizer, warmup_steps
        self.num_validation, self.num_workers = num_validation, num_workers
        for prefix in frozen:
            if not any(name.startswith(prefix) for name, _ in model.named_parameters()):
                raise UserError(
                    f"frozen={prefix} matches no parameter; this stage trains {', '.join(objective.trains)}"
                )
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(objective.trains)) and not name.startswith(tuple(frozen)))
        for module in model.modules():
            module.training = any(parameter.requires_grad for parameter in module.parameters())

    def train_dataloader(self) -> DataLoader[Any]:
        rank, num_ranks = self.trainer.global_rank, self.trainer.world_size
        batches = Batches(self.objective.batch, self.global_step, rank=rank, num_ranks=num_ranks)
        return DataLoader(batches, batch_size=None, num_workers=self.num_workers, collate_fn=keep_batch)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(HeldOut(self.objective.batch, self.num_validation), batch_size=None, collate_fn=keep_batch)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leaves the transfer to the objective."""
        return batch

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        factor = partial(warmup_cosine, warmup_steps=self.warmup_steps, num_steps=self.trainer.max_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }

    def training_step(self, batch: tuple[int, Any], batch_idx: int) -> Tensor:
        number, content = batch
        if number != self.global_step:
            raise RuntimeError(f"received batch {number} at step {self.global_step}")
        terms = self.objective.losses(self.model, content, self.device)
        total = sum(terms.values(), start=next(iter(terms.values())) * 0)
        self.log("loss", total.detach(), prog_bar=True)
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items()})
        return total

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the loss of a held-out batch, as it is trained on, and the stage's own metrics."""
        losses = self.objective.losses(self.model, batch, self.device)
        terms = {"loss": sum(losses.values()), **self.objective.metrics(self.model, batch, self.device)}
        self.log_dict(
            {f"{HELD_OUT_LOGGED}/{name}": term for name, term in terms.items()},
            on_epoch=True,
            batch_size=1,
            sync_dist=True,
        )
