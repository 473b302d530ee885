"""Runs a training from built parts: start or resume, fit, export."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console

from float_research.errors import UserError
from float_research.inference.trainers import silence_lightning
from float_research.models.checkpoint import earlier_tensors, require_checkpoint
from float_research.models.float_model import FloatModel
from float_research.printing import say
from float_research.sources import code, parts
from float_research.tensors import read_safetensors
from float_research.texts import read_mapping
from float_research.tracking import record
from float_research.tracking.code import git_state
from float_research.training.callbacks import Averaging, ExportWeights, Progress, Report
from float_research.training.checkpoints import WholeCheckpoints, restoring
from float_research.training.folder import CODE, CURVES, LAST, PREVIEWS, WEIGHTS, newest, occupied, require_training
from float_research.training.growth import carry_over
from float_research.training.module import BuildOptimizer, Training
from float_research.training.objective import Objective

EXPECTED = (
    "Checkpoint directory .* exists and is not empty",
    "The dirpath has changed",
    r"Found \d+ module\(s\) in eval mode",
)
"""Lightning's warnings that do not apply here."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """All parts of one training.

    `init_from`: weight files, or folders with the two Hugging Face models; later ones override earlier ones. `frozen`:
    parameter-name prefixes to freeze. A folder with a `last.ckpt` resumes from it and ends with the same weights as an
    uninterrupted training. A CheckpointIO among the trainer's `plugins` replaces ours.
    """

    build_model: Callable[[], FloatModel]
    objective: Objective
    optimizer: BuildOptimizer
    warmup_steps: int
    build_trainer: Callable[..., lightning.Trainer]
    plugins: Sequence[Any]
    init_from: Sequence[str]
    frozen: Sequence[str]
    seed: int
    num_validation: int
    num_workers: int
    average_decay: float
    checkpoint_every: int
    progress: bool
    output_dir: Path
    config: Mapping[str, Any]

    def run(self, console: Console) -> Path:
        """Trains and returns the path of the exported weights."""
        if not 0 <= self.average_decay < 1:
            raise UserError(f"average_decay={self.average_decay} must be in [0, 1); 0 disables averaging")
        for file in self.init_from:
            if not Path(file).is_dir():
                require_checkpoint(Path(file), "give the weights.safetensors of an earlier training")
        require_training(self.output_dir)
        silence_lightning()
        for expected in EXPECTED:
            warnings.filterwarnings("ignore", message=expected)
        module = Training(
            model=self._model(console),
            objective=self.objective,
            frozen=self.frozen,
            optimizer=self.optimizer,
            warmup_steps=self.warmup_steps,
            num_validation=self.num_validation,
            num_workers=self.num_workers,
        )
        with occupied(self.output_dir):
            self._fit(module, console)
        return self.output_dir / WEIGHTS

    def _fit(self, module: Training, console: Console) -> None:
        record.write_yaml(self.output_dir / record.CONFIG, self.config)
        last, weights = newest(self.output_dir), self.output_dir / WEIGHTS
        if last is not None:
            self._report_code(last, console)
        made_by = {"sources": self._sources(), "git": git_state()}
        rank_zero_only(record.write_json)(self.output_dir / CODE, made_by)
        own = [] if any(isinstance(plugin, CheckpointIO) for plugin in self.plugins) else [WholeCheckpoints()]
        trainer = self.build_trainer(
            callbacks=self._callbacks(console),
            logger=CSVLogger(self.output_dir, name=CURVES),
            plugins=[*self.plugins, *own],
        )
        with restoring(last):
            trainer.fit(module, ckpt_path=last, weights_only=True)
        if trainer.is_global_zero:
            read_safetensors(weights, what="weights", remedy="run the same command again to export them")
            say(console, f"weights: {weights}")

    def _sources(self) -> str:
        return code(__name__, *parts(self.config))

    def _report_code(self, last: Path, console: Console) -> None:
        """Reports the checkpoint it resumes from, and whether other code wrote it."""
        try:
            made_by = read_mapping(self.output_dir / CODE).get("sources")
        except UserError:
            made_by = None
        by = "" if made_by == self._sources() else ", written by other code or other package versions"
        say(console, f"resuming from {last}{by}")

    def _model(self, console: Console) -> FloatModel:
        lightning.seed_everything(self.seed, verbose=False)
        model = self.build_model()
        self.objective.prepare(model)
        trained: set[str] = set()
        for file in self.init_from:
            taken, fresh = carry_over(earlier_tensors(Path(file)), model, file)
            say(console, f"loaded {len(taken)} tensors from {file}; {fresh} keep their initial values")
            trained |= taken
        self.objective.begin(model, trained)
        return model

    def _callbacks(self, console: Console) -> list[Callback]:
        """Returns callbacks in the order in which they run: report, average, export, checkpoint."""
        return [
            *([Progress()] if self.progress else []),
            Report(self.output_dir / PREVIEWS, console),
            *([Averaging(self.average_decay)] if self.average_decay else []),
            ExportWeights(self.output_dir / WEIGHTS),
            ModelCheckpoint(
                dirpath=self.output_dir,
                filename=LAST.removesuffix(".ckpt"),
                every_n_train_steps=self.checkpoint_every,
                save_on_train_epoch_end=False,
                enable_version_counter=False,
            ),
        ]
