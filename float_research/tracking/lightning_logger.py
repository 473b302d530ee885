"""Reports runs to Lightning's loggers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger

from float_research.errors import UserError
from float_research.program import install
from float_research.tracking.logger import EndedRun, clip_numbers, run_numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LightningLogger:
    """Logs the settings, the numbers of each clip as one step, and the run's totals at the last step.

    `build` gets the run's folder as `save_dir`. `packages`: required package → the extra that installs it.

    Raises:
        UserError: a package is not installed.
    """

    build: Callable[..., Logger]
    packages: Mapping[str, str]

    def __post_init__(self) -> None:
        for package, extra in self.packages.items():
            if find_spec(package) is None:
                raise UserError(f"a logger needs {package}, which is not installed; {install(extra)}")

    def run(self, run: EndedRun) -> str | None:
        logger = self.open(run)
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

    def open(self, run: EndedRun) -> Any:
        return self.build(save_dir=str(run.folder))

    def media(self, logger: Any, run: EndedRun) -> None:
        """Logs files, where the logger supports them."""

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        return None
