"""What a sweep does beyond its runs."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from float_research.tracking.summary import report


class SweepSummary(Callback):
    """Sums the sweep up once all of its runs are done: printed, and as files in its folder."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        report(Path(config.hydra.sweep.dir), Console())
