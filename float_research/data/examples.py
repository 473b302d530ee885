"""The files that come with this package, and the example inputs among them."""

from importlib.util import find_spec
from pathlib import Path

from float_research.errors import UserError

ASSETS = Path(__file__).parents[1] / "assets"


def asset(name: str) -> str:
    """Path of a file that comes with this package."""
    return str(ASSETS / name)


def example(name: str) -> str:
    """Path of an example: `portrait` (of the toy world), `photo` (NASA's Eileen Collins, inside scikit-image) or
    `speech` (arctic_a0007, 4 s).
    """
    skimage = find_spec("skimage")
    examples = {"speech": ASSETS / "arctic_a0007.wav", "portrait": ASSETS / "demo" / "portrait.png"}
    if skimage is not None and skimage.origin:
        examples["photo"] = Path(skimage.origin).parent / "data" / "astronaut.png"
    if name not in examples:
        raise UserError(f"there is no example {name!r}; choose one of {', '.join(examples)}")
    return str(examples[name])
