"""Trains FLOAT, one stage at a time: `python scripts/train.py stage=autoencoder`; `--help` tells more."""

import hydra
from omegaconf import DictConfig

from float_research import cli, compose
from float_research.printing import stdout


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        compose.build_training(cfg).run(stdout())


if __name__ == "__main__":
    cli.run(main, hydra=True)
