"""The example inputs: a public-domain portrait inside scikit-image, a recording of CMU ARCTIC inside this package."""

from importlib.util import find_spec
from pathlib import Path

from float_research.types import UserError


def example(name: str) -> str:
    """Path of the example `portrait` (NASA's Eileen Collins) or `speech` (arctic_a0007, 4 s)."""
    skimage = find_spec("skimage")
    examples = {"speech": Path(__file__).parents[1] / "assets" / "arctic_a0007.wav"}
    if skimage is not None and skimage.origin:
        examples["portrait"] = Path(skimage.origin).parent / "data" / "astronaut.png"
    if name not in examples:
        raise UserError(f"there is no example {name!r}; choose one of {', '.join(examples)}")
    return str(examples[name])
