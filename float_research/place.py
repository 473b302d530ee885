"""The output folder of a run: by default unique to it, and removed with its new parents if it stays empty."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from float_research.folders import fresh

SETTING = "hydra.run.dir"
_new: list[Path] = []
"""The folder of this process's run and its parents, innermost first, as far as they did not exist before."""


class OwnPlace(Callback):
    """Gives each run its own folder, even if several start in the same second. A chosen folder stays."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        place = Path(config.hydra.run.dir)
        absent = {path for path in (place.absolute(), *place.absolute().parents) if not path.exists()}
        chosen = any(text.startswith(f"{SETTING}=") for text in config.hydra.overrides.hydra)
        if not chosen and not config.get("dry_run"):
            place = fresh(place)
            with read_write(config):
                config.hydra.run.dir = str(place)
            absent.add(place.absolute())
        _new[:] = [path for path in (place.absolute(), *place.absolute().parents) if path in absent]


def leave_nothing() -> None:
    """Removes the new folders of a refused run that are empty."""
    for path in _new:
        with suppress(OSError):  # not empty
            path.rmdir()
