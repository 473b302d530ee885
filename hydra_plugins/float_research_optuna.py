"""The sweeper `optuna`, where Hydra finds plugins. Every Hydra program imports this file, so it imports little."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Adapts `float_research.search`, which documents the settings, to Hydra.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(
        self,
        *,
        objective: str | Sequence[str],
        direction: str | Sequence[str],
        n_trials: int,
        n_jobs: int,
        sampler: Mapping[str, Any],
        params: Mapping[str, Any] | None,
    ) -> None:
        self.objective, self.direction = objective, direction
        self.n_trials, self.n_jobs = n_trials, n_jobs
        self.sampler, self.params = sampler, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if find_spec("optuna") is None:
            from float_research.errors import UserError
            from float_research.program import install

            raise UserError(f"hydra/sweeper=optuna needs a package that is not installed; {install('optuna')}")
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from float_research import cli, search
        from float_research.printing import stdout

        try:
            search.build(self, arguments).run(stdout())
        except Exception as error:
            if cli.WANTS_TRACEBACK:
                raise
            cli.fail(*cli.sentence(error))  # here, since outside it would look like an error of the last run
