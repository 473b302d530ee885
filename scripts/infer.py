"""Makes talking-portrait videos: `python scripts/infer.py solver=midpoint nfe=20`; `--help` lists the parts."""

import hydra
from omegaconf import DictConfig
from rich.console import Console

from float_research import cli, compose


@hydra.main(config_path="../conf", config_name="infer", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors(dry_run=bool(cfg.dry_run)):
        content = compose.build_job(cfg).run(Console())
        if content is not None and content.get("failed"):
            cli.incomplete()


if __name__ == "__main__":
    cli.run(main, hydra=True)
