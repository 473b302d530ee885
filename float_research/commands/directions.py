"""Finds out what a model's motion directions do to a face, and writes an atlas for edits of motion."""

from omegaconf import DictConfig

from float_research import cli, compose, studies
from float_research.printing import stdout


@compose.hydra_main("directions")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        studies.build_directions(cfg).run(stdout())


if __name__ == "__main__":
    cli.run(main, hydra=True)
