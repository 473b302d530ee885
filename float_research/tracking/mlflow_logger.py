"""Reports runs to MLflow, through Lightning."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from float_research.files import alone
from float_research.tracking.lightning_logger import LightningLogger
from float_research.tracking.logger import BegunTraining, EndedRun


@dataclass(frozen=True, kw_only=True)
class MlflowLogger(LightningLogger):
    """Logs as to Lightning's other loggers, with the videos as artifacts. `folder` holds the local store.

    `build` gets the run's name as `run_name`.
    """

    folder: str

    def run(self, run: EndedRun) -> str | None:
        """Logs a run under a file lock: processes that create the store at the same time would corrupt it."""
        silence_mlflow()
        with alone(Path(self.folder) / ".lock"):
            super().run(run)
        return f"MLflow: {self.folder}"

    @contextmanager
    def follow(self, training: BegunTraining) -> Iterator[Any]:
        """Opens a run of the store for a training; one that resumes opens another."""
        silence_mlflow()
        with alone(Path(self.folder) / ".lock"):
            logger = self.build(run_name=training.name)
            logger.log_hyperparams(dict(training.config))
        yield logger

    def show(self, logger: Any, file: Path, step: int) -> None:
        logger.experiment.log_artifact(logger.run_id, str(file), "previews")

    def open(self, run: EndedRun) -> Any:
        return self.build(run_name=run.name)

    def media(self, logger: Any, run: EndedRun) -> None:
        for clip in run.clips():
            if (video := run.unchanged(clip, "video")) is not None:
                logger.experiment.log_artifact(logger.run_id, str(video), "videos")


def silence_mlflow() -> None:
    """Turns off telemetry, and messages about a store that is created. Comes before mlflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
