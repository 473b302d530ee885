"""Callbacks of training: progress, previews, weight averaging and the export of weights."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar, WeightAveraging
from PIL import Image
from rich.console import Console
from torch import Tensor

from float_research.files import whole
from float_research.models.checkpoint import canonical
from float_research.printing import say
from float_research.tensors import save_tensors
from float_research.training.module import Training


class Averaging(WeightAveraging):
    """Exponential moving average of all weights and statistics.

    The decay rises with the number of steps n as `(1 + n) / (10 + n)`, up to `decay`, to forget the initial weights.
    """

    def __init__(self, decay: float):
        super().__init__(avg_fn=partial(update_average, decay=decay))

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Copies the average into the model, even if no step was left to run."""
        self._copy_average_to_current(pl_module)


def update_average(average: Tensor, current: Tensor, num_averaged: Tensor, *, decay: float) -> Tensor:
    """Returns the next average, after `num_averaged` earlier ones. Integer tensors are counters and are copied."""
    if not average.is_floating_point():
        return current
    n = float(num_averaged)
    return torch.lerp(average, current.to(average.dtype), max(1 - decay, 1 - (1 + n) / (10 + n)))


class Progress(TQDMProgressBar):
    """One progress bar for all steps; Lightning's own counts epochs, which these trainings do not have."""

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        super().on_train_start(trainer, *_)
        bar = self.train_progress_bar
        bar.reset(total=trainer.max_steps)
        bar.initial = bar.n = trainer.global_step
        bar.set_description("training")

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Does nothing: Lightning would reset the bar."""

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        self.train_progress_bar.n = trainer.global_step
        self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))

    def get_metrics(self, trainer: lightning.Trainer, pl_module: Any) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class Report(Callback):
    """Saves the objective's preview as `previews/STEP.png` and prints one line of metrics at each validation.

    Comes before the averaging callback, so that the preview shows the averaged weights, as the metrics do.
    """

    def __init__(self, folder: Path, console: Console):
        self.folder, self.console = folder, console

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Training)
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        picture = pl_module.objective.preview(pl_module.model, pl_module.device)
        if picture is not None:
            pixels = ((picture.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
            with whole(self.folder / f"{trainer.global_step:07d}.png") as part:
                Image.fromarray(pixels).save(part, format="PNG")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        figures = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("held_out")
        }
        line = ", ".join(f"{name.removeprefix('held_out/')} {value:.4g}" for name, value in figures.items())
        say(self.console, f"step {trainer.global_step}: {line}")


class ExportWeights(Callback):
    """Exports the trained weights under their official names when training ends, by steps or by time.

    Comes after the averaging callback, which has then copied the average into the model. A training killed after its
    last checkpoint resumes with no step left, so it exports in `on_fit_end`.
    """

    def __init__(self, file: Path):
        self.file, self.done = file, False

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.export(trainer, pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if not self.done:
            self.export(trainer, pl_module)

    def export(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Training)
        self.done = True
        if not trainer.is_global_zero:
            return
        prefixes = tuple(pl_module.objective.exports)
        model = copy.deepcopy(pl_module.model).to(trainer.strategy.root_device)  # teardown has moved it to the CPU
        pl_module.objective.finish(model)
        state = model.state_dict()
        weights = {canonical(name): value.cpu() for name, value in state.items()}
        with whole(self.file) as part:
            save_tensors({name: value for name, value in weights.items() if name.startswith(prefixes)}, part)
