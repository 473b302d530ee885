"""Callbacks of training: progress, previews, checkpoints, weight averaging and the export of weights."""

import copy
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from rich.console import Console
from torch import Tensor

from float_research.files import whole
from float_research.models.checkpoint import canonical
from float_research.models.float_model import FloatModel
from float_research.printing import say
from float_research.tensors import save_tensors
from float_research.training.checkpoints import read_checkpoint
from float_research.training.folder import BEST, BEST_WEIGHTS, LAST, PREVIEWS, WEIGHTS
from float_research.training.module import HELD_OUT_LOGGED, Training

LINE_S = 60.0
"""Seconds between two lines of progress where the output is no terminal."""


class Averaging(WeightAveraging):
    """Exponential moving average of all weights and statistics.

    The decay rises with the number of steps n as `(1 + n) / (10 + n)`, up to `decay`, to forget the initial weights.
    """

    def __init__(self, decay: float):
        super().__init__(avg_fn=partial(update_average, decay=decay))

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Does nothing: the last checkpoint, which is written then, holds the weights and their average."""

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


class Lines(Callback):
    """Prints the step, its loss and the time left once a minute, for output that is no terminal."""

    def __init__(self, console: Console):
        self.console, self.printed_s, self.started_s, self.first = console, 0.0, 0.0, 0

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.started_s = self.printed_s = time.monotonic()
        self.first = trainer.global_step

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        now = time.monotonic()
        if now < self.printed_s + LINE_S or not trainer.is_global_zero:
            return
        self.printed_s = now
        rate = (trainer.global_step - self.first) / (now - self.started_s)
        left_s = (trainer.max_steps - trainer.global_step) / max(rate, 1e-9)
        loss = float(trainer.callback_metrics["loss"])
        left = f", {left_s / 60:.0f} min left" if trainer.max_steps > 0 else ""
        say(self.console, f"step {trainer.global_step} of {trainer.max_steps}: loss {loss:.4g}{left}")


class Report(Callback):
    """Saves the objective's preview as `previews/STEP.…`, shows it, and prints a line of metrics at each validation.

    `show` gets the file and the step. Comes before the averaging callback, so that the preview shows the averaged
    weights, as the metrics do.
    """

    def __init__(self, folder: Path, console: Console, show: Callable[[Path, int], None]):
        self.folder, self.console, self.show = folder / PREVIEWS, console, show

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Training)
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        preview = pl_module.objective.preview(pl_module.model, pl_module.device)
        path = self.folder / f"{trainer.global_step:07d}{preview.suffix}"
        preview.write(path)
        self.show(path, trainer.global_step)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        figures = {
            name.removeprefix(f"{HELD_OUT_LOGGED}/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(HELD_OUT_LOGGED)
        }
        line = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        say(self.console, f"step {trainer.global_step}: {line}")


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` in `folder` every `every_steps` steps, and when training ends, however short it was."""

    def __init__(self, *, folder: str, every_steps: int):
        super().__init__(
            dirpath=folder,
            filename=LAST.removesuffix(".ckpt"),
            every_n_train_steps=every_steps,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        super().on_train_end(trainer, pl_module)
        if trainer.global_step > self._last_global_step_saved:
            self._last_global_step_saved = trainer.global_step
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST)


class ExportWeights(Callback):
    """Exports the trained weights under their official names when training ends, by steps or by time.

    The last are `weights.safetensors`; those of the best checkpoint, if there is one, `best.safetensors`. Comes after
    the averaging callback, which has then copied the average into the model.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Training)
        if not trainer.is_global_zero:
            return
        self.export(trainer, pl_module, pl_module.model, WEIGHTS)
        if (self.folder / BEST).is_file():
            best = copy.deepcopy(pl_module)
            best.load_state_dict(read_checkpoint(self.folder / BEST, "delete it")["state_dict"])
            self.export(trainer, best, best.model, BEST_WEIGHTS)

    def export(self, trainer: lightning.Trainer, pl_module: Training, model: FloatModel, name: str) -> None:
        prefixes = tuple(pl_module.objective.exports)
        device = trainer.strategy.root_device  # teardown has moved the model to the CPU
        copied = copy.deepcopy(model).to(device)
        pl_module.objective.finish(copied)
        weights = {canonical(name): value.cpu() for name, value in copied.state_dict().items()}
        with whole(self.folder / name) as part:
            save_tensors({name: value for name, value in weights.items() if name.startswith(prefixes)}, part)
