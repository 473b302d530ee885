"""Runs told to the loggers that Lightning has."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger

from float_research.errors import UserError
from float_research.tracking.tracker import TrackedRun, clip_numbers, run_numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LightningTracker:
    """Settings, the numbers of each clip as one step, and the run's sums at the last step.

    `build` gets the run's folder as `save_dir`. `package` is what it needs, and the name of the extra that brings it.

    Raises:
        UserError: the package is not installed.
    """

    build: Callable[..., Logger]
    package: str

    def __post_init__(self) -> None:
        if find_spec(self.package) is None:
            raise UserError(
                f"logger={self.package} needs a package that is not installed; "
                f"pip install 'float-research[{self.package}]'"
            )

    def run(self, run: TrackedRun) -> str | None:
        logger = self.opened(run)
        try:
            logger.log_hyperparams(dict(run.config))
            for step, clip in enumerate(run.clips()):
                logger.log_metrics({f"clip/{name}": value for name, value in clip_numbers(clip).items()}, step=step)
            if run.record:
                logger.log_metrics(run_numbers(run.record), step=len(run.clips()) - 1)
            self.media(logger, run)
        finally:
            logger.finalize("failed" if run.error else "success")
        return None

    def opened(self, run: TrackedRun) -> Any:
        return self.build(save_dir=str(run.folder))

    def media(self, logger: Any, run: TrackedRun) -> None:
        """Tells of more than numbers, where the logger takes more."""

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        return None
