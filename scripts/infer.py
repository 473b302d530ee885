"""Makes talking-portrait videos: `python scripts/infer.py solver=midpoint nfe=20`; `--help` lists the parts."""

import hydra
from omegaconf import DictConfig

from float_research import cli, compose
from float_research.printing import stdout


@hydra.main(config_path="../conf", config_name="infer", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with cli.errors(dry_run=bool(cfg.dry_run)):
        content = compose.build_job(cfg).run(stdout())
        if content is not None and content.get("failed"):
            cli.incomplete()


if __name__ == "__main__":
    cli.run(main, hydra=True)
