"""The default output folder of a run, unique to it."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from float_research.folders import fresh

SETTING = "hydra.run.dir"


class OwnPlace(Callback):
    """Gives each run its own folder, even if several start in the same second. A chosen folder stays."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("dry_run") or any(text.startswith(f"{SETTING}=") for text in config.hydra.overrides.hydra):
            return
        with read_write(config):
            config.hydra.run.dir = str(fresh(Path(config.hydra.run.dir)))
