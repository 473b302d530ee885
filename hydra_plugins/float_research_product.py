"""The sweeper `product`, where Hydra finds plugins. Every Hydra program imports this file, so it imports little.

It composes all configs before the first run, to reject unknown settings at once. Launchers that run in this process
reuse the composed configs; others compose them again.
"""

import copy
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class Composed:
    """A config loader that returns each config in `kept` once, and composes all others by its `source`.

    Only the wrapped loader is pickled to other processes.
    """

    def __init__(self, loader: Any):
        self.loader = self.source = loader
        self.kept: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _identity, (self.loader,)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        kept = self.kept.pop(tuple(sweep_overrides), None)
        return self.source.load_sweep_config(master_config, sweep_overrides) if kept is None else kept


def _identity(loader: Any) -> Any:
    return loader


class ProductSweeper(Sweeper):
    """Adapts `float_research.sweeping`, which documents the settings, to Hydra."""

    def __init__(self, *, max_batch_size: int | None, params: Any, zip: Any) -> None:
        self.max_batch_size, self.params, self.zip = max_batch_size, params, zip

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.composed = config, Composed(hydra_context.config_loader)
        context = HydraContext(config_loader=cast(ConfigLoader, self.composed), callbacks=hydra_context.callbacks)
        if OmegaConf.select(config, "dry_run"):  # in this process, since other launchers leave files behind
            config = copy.deepcopy(config)
            with open_dict(config):
                config.hydra.launcher = {"_target_": BASIC}
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from float_research import sweeping

        sweeping.sweep(self, arguments)
