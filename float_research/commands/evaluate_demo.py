"""Evaluates the demo model, or one trained the same way."""

import sys

from omegaconf import DictConfig

from float_research import cli, compose, studies
from float_research.printing import stdout


@compose.hydra_main("evaluate_demo")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        reached = studies.build_evaluation(cfg).run(stdout())
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    cli.run(main, hydra=True)
