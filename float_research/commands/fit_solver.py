"""Fits a solver's steps to a model, for solver=fitted."""

from omegaconf import DictConfig

from float_research import cli, compose, studies
from float_research.printing import stdout


@compose.hydra_main("fit_solver")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        studies.build_fitting(cfg).run(stdout())


if __name__ == "__main__":
    cli.run(main, hydra=True)
