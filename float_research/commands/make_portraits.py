"""Renders toy portraits, which the demo weights can animate."""

from pathlib import Path

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.errors import printable
from float_research.toyface.portraits import save_portraits


@compose.hydra_main("make_portraits")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        for name, kind in {"output": str, "num": int, "size_px": int, "seed": int}.items():
            compose.check_type(name, cfg[name], kind)
        files = save_portraits(Path(cfg.output), num=cfg.num, size_px=cfg.size_px, seed=cfg.seed)
        print(f"{len(files)} portraits: {printable(files[0], 1000)}, …")


if __name__ == "__main__":
    cli.run(main, hydra=True)
