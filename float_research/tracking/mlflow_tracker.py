"""Runs told to MLflow, through Lightning."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from float_research.files import alone
from float_research.tracking.lightning_tracker import LightningTracker
from float_research.tracking.tracker import TrackedRun


@dataclass(frozen=True, kw_only=True)
class MlflowTracker(LightningTracker):
    """As Lightning's other loggers, with the videos as artifacts. `folder` has the local store.

    `build` gets the run's name as `run_name`.
    """

    folder: str

    def run(self, run: TrackedRun) -> str | None:
        """Tells of a run while no other process does: several at once that make a store leave it broken."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before mlflow is imported
        with alone(Path(self.folder) / ".lock"):
            super().run(run)
        return f"MLflow: {self.folder}"

    def opened(self, run: TrackedRun) -> Any:
        return self.build(run_name=run.name)

    def media(self, logger: Any, run: TrackedRun) -> None:
        for clip in run.clips():
            logger.experiment.log_artifact(logger.run_id, str(run.folder / clip["video"]), "videos")
