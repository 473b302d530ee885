"""Runs a training from built parts: start or resume, fit, export."""

import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, Checkpoint, LearningRateMonitor
from lightning.pytorch.loggers import Logger
from rich.console import Console

from float_research.errors import UserError
from float_research.inference.trainers import silence_lightning
from float_research.models.checkpoint import earlier_tensors, require_checkpoint
from float_research.models.float_model import FloatModel
from float_research.printing import say
from float_research.sources import code, parts
from float_research.tensors import read_safetensors
from float_research.texts import count, read_mapping
from float_research.tracking import record
from float_research.tracking.code import git_state
from float_research.tracking.logger import BegunTraining, TrainingLogger, tell
from float_research.training.callbacks import Averaging, ExportWeights, Lines, Progress, Report
from float_research.training.checkpoints import WholeCheckpoints, restoring
from float_research.training.folder import CODE, CORPUS, WEIGHTS, newest, occupied, require_training
from float_research.training.growth import carry_over
from float_research.training.module import BuildOptimizer, Training
from float_research.training.objective import Objective

EXPECTED = (
    "Checkpoint directory .* exists and is not empty",
    "The dirpath has changed",
    r"Found \d+ module\(s\) in eval mode",
    "Experiment logs directory",
)
"""Lightning's warnings that do not apply here."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """All parts of one training.

    `init_from`: weight files, or folders with the two Hugging Face models; later ones override earlier ones. `frozen`:
    parameter-name prefixes to freeze. A folder with a `last.ckpt` resumes from it and ends with the same weights as an
    uninterrupted training. A CheckpointIO among the trainer's `plugins` replaces ours. `trial`: makes a small corpus in
    the folder first. `name` and `overrides` are for loggers.
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
    progress: bool
    callbacks: Sequence[Callback]
    loggers: Sequence[TrainingLogger]
    trial: bool
    output_dir: Path
    name: str
    overrides: Sequence[str]
    config: Mapping[str, Any]

    def run(self, console: Console) -> Path:
        """Trains and returns the path of the exported weights."""
        if not 0 <= self.average_decay < 1:
            raise UserError(f"average_decay={self.average_decay} must be in [0, 1); 0 disables averaging")
        for file in self.init_from:
            if not Path(file).is_dir():
                require_checkpoint(Path(file), "give the weights.safetensors of an earlier training")
        require_training(self.output_dir)
        if self.trial:
            from float_research.toyface.recordings import write_trial_corpus

            rank_zero_only(write_trial_corpus)(self.output_dir / CORPUS)
        self.objective.require_data()
        silence_lightning()
        for expected in EXPECTED:
            warnings.filterwarnings("ignore", message=expected)
        module = self._module(console)
        with occupied(self.output_dir):
            self._fit(module, console)
        return self.output_dir / WEIGHTS

    def _module(self, console: Console) -> Training:
        return Training(
            model=self._model(console),
            objective=self.objective,
            frozen=self.frozen,
            optimizer=self.optimizer,
            warmup_steps=self.warmup_steps,
            num_validation=self.num_validation,
            num_workers=self.num_workers,
        )

    def _fit(self, module: Training, console: Console) -> None:
        record.write_yaml(self.output_dir / record.CONFIG, self.config)
        last, weights = newest(self.output_dir), self.output_dir / WEIGHTS
        if last is not None:
            self._report_code(last, console)
        training = self._begun()
        made_by = {"id": training.id, "sources": self._sources(), "git": git_state()}
        rank_zero_only(record.write_json)(self.output_dir / CODE, made_by)
        own = [] if any(isinstance(plugin, CheckpointIO) for plugin in self.plugins) else [WholeCheckpoints()]
        with ExitStack() as opened:
            following = [(logger, opened.enter_context(logger.follow(training))) for logger in self.loggers]
            callbacks = self._callbacks(following, console)
            trainer = self.build_trainer(
                callbacks=callbacks,
                logger=[logger for _, logger in following] or False,
                plugins=[*self.plugins, *own],
                enable_progress_bar=any(isinstance(callback, Progress) for callback in callbacks),
                enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            )
            with restoring(last):
                trainer.fit(module, ckpt_path=last, weights_only=True)
        if trainer.is_global_zero:
            read_safetensors(weights, what="weights", remedy="run the same command again to export them")
            say(console, f"weights: {weights}")

    def _begun(self) -> BegunTraining:
        """Returns the training for its loggers, with the id that the folder already has if it resumes."""
        try:
            known = read_mapping(self.output_dir / CODE).get("id")
        except UserError:
            known = None
        return BegunTraining(
            folder=self.output_dir,
            id=known if isinstance(known, str) and known.isalnum() else secrets.token_hex(8),
            name=self.name,
            config=self.config,
            overrides=self.overrides,
        )

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
            say(console, f"loaded {count(len(taken), 'tensor')} from {file}; {fresh} keep their initial values")
            trained |= taken
        self.objective.begin(model, trained)
        return model

    def _callbacks(self, following: Sequence[tuple[TrainingLogger, Logger]], console: Console) -> list[Callback]:
        """Returns callbacks in the order in which they run: progress, report, average, export, the user's."""

        def show(file: Path, step: int) -> None:
            for said in tell(following, lambda pair: pair[0].show(pair[1], file, step)):
                say(console, said)

        progress = Progress() if console.is_terminal else Lines(console)
        own = [callback for callback in self.callbacks if following or not isinstance(callback, LearningRateMonitor)]
        return [
            *([progress] if self.progress else []),
            Report(self.output_dir, console, show),
            *([Averaging(self.average_decay)] if self.average_decay else []),
            ExportWeights(self.output_dir),
            *own,
        ]
