"""Renders toy portraits, which the demo weights can animate."""

from pathlib import Path

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.checking import check_type
from float_research.errors import printable
from float_research.texts import count


@compose.hydra_main("make_portraits")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        for name, kind in {"num": int, "size_px": int, "seed": int, "output": str}.items():
            check_type(name, cfg[name], kind)
        from float_research.toyface.portraits import save_portraits

        files = save_portraits(Path(cfg.output), num=cfg.num, size_px=cfg.size_px, seed=cfg.seed)
        print(f"{count(len(files), 'portrait')}: {printable(files[0], 1000)}, …")


if __name__ == "__main__":
    cli.run(main, hydra=True)
