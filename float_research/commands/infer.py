"""Generates talking-portrait videos from portraits and speech, or runs sweeps."""

from omegaconf import DictConfig

from float_research import cli, compose, suggestions
from float_research.printing import stdout


@compose.hydra_main("infer")
def main(cfg: DictConfig) -> None:
    with cli.errors(dry_run=bool(cfg.dry_run)):
        suggestions.refuse_unused(cfg)
        suggestions.require_set(cfg)
        content = compose.build_job(cfg).run(stdout())
        if content is not None and content.get("failed"):
            cli.incomplete()


if __name__ == "__main__":
    cli.run(main, hydra=True)
