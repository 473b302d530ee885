"""Reports runs to MLflow, through Lightning."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from float_research.files import alone
from float_research.tracking.lightning_logger import LightningLogger
from float_research.tracking.logger import EndedRun


@dataclass(frozen=True, kw_only=True)
class MlflowLogger(LightningLogger):
    """Logs as to Lightning's other loggers, with the videos as artifacts. `folder` holds the local store.

    `build` gets the run's name as `run_name`.
    """

    folder: str

    def run(self, run: EndedRun) -> str | None:
        """Logs a run under a file lock: processes that create the store at the same time would corrupt it."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before mlflow is imported
        with alone(Path(self.folder) / ".lock"):
            super().run(run)
        return f"MLflow: {self.folder}"

    def open(self, run: EndedRun) -> Any:
        return self.build(run_name=run.name)

    def media(self, logger: Any, run: EndedRun) -> None:
        for clip in run.clips():
            logger.experiment.log_artifact(logger.run_id, str(run.folder / clip["video"]), "videos")
