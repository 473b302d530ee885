"""Trains FLOAT, one stage at a time."""

from omegaconf import DictConfig

from float_research import cli, compose, suggestions
from float_research.printing import stdout


@compose.hydra_main("train")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        suggestions.refuse_unused(cfg)
        suggestions.require_set(cfg)
        compose.build_training(cfg).run(stdout())


if __name__ == "__main__":
    cli.run(main, hydra=True)
