"""Makes a corpus of synthetic speech with its phones: `python scripts/make_speech.py output=corpus`."""

import hydra
from omegaconf import DictConfig

from float_research import cli, compose
from float_research.errors import printable
from float_research.printing import stdout


@hydra.main(config_path="../conf", config_name="make_speech", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        compose.build(cfg.corpus).make(stdout())
        counts = f"{cfg.corpus.num_train} training and {cfg.corpus.num_held_out} held-out utterances"
        print(f"{printable(cfg.output, 1000)}: {counts}")


if __name__ == "__main__":
    cli.run(main, hydra=True)
