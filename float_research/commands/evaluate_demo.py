"""Prints the figures of the demo model, or of one trained alike."""

import sys

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.printing import stdout


@compose.hydra_main("evaluate_demo")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        reached = compose.build_evaluation(cfg).run(stdout())
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    cli.run(main, hydra=True)
