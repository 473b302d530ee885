"""Renders toy portraits, which the demo weights can animate: `python scripts/make_portraits.py output=portraits`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from float_research import cli
from float_research.errors import printable
from float_research.toyface.portraits import save_portraits


@hydra.main(config_path="../conf", config_name="make_portraits", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        files = save_portraits(Path(cfg.output), num=cfg.num, size_px=cfg.size_px, seed=cfg.seed)
        print(f"{len(files)} portraits: {printable(files[0], 1000)} and on")


if __name__ == "__main__":
    cli.run(main, hydra=True)
