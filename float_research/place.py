"""The default folder of a run, which is one run's alone."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from float_research.folders import fresh

SETTING = "hydra.run.dir"


class OwnPlace(Callback):
    """Gives each run a folder of its own, though several begin in the same second; one that is chosen stays."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("dry_run") or any(text.startswith(f"{SETTING}=") for text in config.hydra.overrides.hydra):
            return
        with read_write(config):
            config.hydra.run.dir = str(fresh(Path(config.hydra.run.dir)))
