"""What a sweep does beyond its runs."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from float_research.tracking.summary import report


class SweepSummary(Callback):
    """Sums a sweep up once all of its runs have ended, printed and in files. Exits with 1 if any failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if report(Path(config.hydra.sweep.dir), Console()):
            sys.exit(1)
