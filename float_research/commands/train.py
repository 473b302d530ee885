"""Trains FLOAT, one stage at a time."""

from omegaconf import DictConfig
from rich.console import Console

from float_research import cli, compose


@compose.hydra_main("train")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        compose.build_training(cfg).run(Console())


if __name__ == "__main__":
    cli.run(main, hydra=True)
