"""Converts any checkpoint layout to one safetensors file."""

from pathlib import Path

from omegaconf import DictConfig

from float_research import cli, compose
from float_research.checking import check_type, check_types
from float_research.errors import printable
from float_research.texts import count


@compose.hydra_main("convert")
def main(cfg: DictConfig) -> None:
    with cli.errors():
        check_type("half", cfg.half, bool)
        check_types(cfg)
        from float_research.models.checkpoint import convert

        output = Path(cfg.output)
        num_tensors = convert(compose.build(cfg.checkpoint), compose.model_builder(cfg), output, half=cfg.half)
        print(f"{printable(output, 1000)}: {count(num_tensors, 'tensor')}, {output.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    cli.run(main, hydra=True)
