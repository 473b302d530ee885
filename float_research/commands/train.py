"""Trains FLOAT, one stage at a time."""

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.printing import stdout


@compose.hydra_main("train")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        compose.build_training(cfg).run(stdout())


if __name__ == "__main__":
    cli.run(main, hydra=True)
