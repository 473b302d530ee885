"""Prints the figures of the demo model, or of one trained alike: `python scripts/evaluate_demo.py`."""

import sys

import hydra
from omegaconf import DictConfig

from float_research import cli, compose
from float_research.printing import stdout


@hydra.main(config_path="../conf", config_name="evaluate_demo", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        reached = compose.build_evaluation(cfg).run(stdout())
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    cli.run(main, hydra=True)
