"""Generates a corpus of synthetic speech with phone labels."""

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.errors import printable
from float_research.printing import stdout


@compose.hydra_main("make_speech")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        compose.build(cfg.corpus).make(stdout())
        counts = f"{cfg.corpus.num_train} training and {cfg.corpus.num_held_out} held-out utterances"
        print(f"{printable(cfg.output, 1000)}: {counts}")


if __name__ == "__main__":
    cli.run(main, hydra=True)
