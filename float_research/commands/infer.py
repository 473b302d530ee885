"""Makes talking-portrait videos of portraits and speech, or sweeps of them."""

from omegaconf import DictConfig
from rich.console import Console

from float_research import cli, compose


@compose.hydra_main("infer")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        content = compose.build_job(cfg).run(Console())
        if content is not None and content.get("failed"):
            cli.incomplete()


if __name__ == "__main__":
    cli.run(main, hydra=True)
