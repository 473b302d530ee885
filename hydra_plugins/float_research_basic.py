"""The sweeper `basic`: Hydra's own, but for composing each run's config once and not twice.

It composes all configs before the first run, so that a setting that is not there is refused at once, and Hydra's
launchers compose them again. Where they run in this process, they get what was composed.
"""

from collections.abc import Sequence
from typing import Any, cast

from hydra._internal.core_plugins import basic_sweeper
from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

AT_MOST = 256
"""Configs that wait for their run; a megabyte each. Further ones are composed again."""


class Composed:
    """A config loader that hands out each of the configs in `kept` once, and composes what else it is asked for.

    What travels to another process is the loader alone.
    """

    def __init__(self, loader: Any):
        self.loader = loader
        self.kept: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.loader,)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        kept = self.kept.pop(tuple(sweep_overrides), None)
        return self.loader.load_sweep_config(master_config, sweep_overrides) if kept is None else kept


def _itself(loader: Any) -> Any:
    return loader


class BasicSweeper(basic_sweeper.BasicSweeper):
    """Hydra's, with a config loader that keeps what it composed."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.composed = Composed(hydra_context.config_loader)
        context = HydraContext(config_loader=cast(ConfigLoader, self.composed), callbacks=hydra_context.callbacks)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def _parse_config(self) -> list[str]:
        from float_research.overrides import literal

        return literal(super()._parse_config(), sweep=True)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Composes the configs of some runs, which raises what cannot be composed."""
        for overrides in batch:
            config = self.composed.loader.load_sweep_config(self.config, list(overrides))
            if len(self.composed.kept) < AT_MOST:
                self.composed.kept[tuple(overrides)] = config
