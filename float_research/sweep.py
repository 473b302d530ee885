"""What a sweep does beyond its runs."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from float_research import compose
from float_research.tracking.summary import report
from float_research.tracking.tracker import tell


class SweepSummary(Callback):
    """Sums a sweep up once all of its runs have ended: printed, in files, to trackers. Exits with 1 if any failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder, console = Path(config.hydra.sweep.dir), Console()
        table, num_failed = report(folder, console)
        for said in tell(compose.build_trackers(config), lambda tracker: tracker.sweep(folder, table)):
            console.print(said, soft_wrap=True, markup=False)
        if num_failed:
            sys.exit(1)
