"""The files that come with this package, and the example inputs among them."""

from importlib.util import find_spec
from pathlib import Path

from float_research.errors import UserError

PACKAGE = Path(__file__).parents[1]
ASSETS = PACKAGE / "assets"


def asset(name: str) -> str:
    """Path of a file that comes with this package."""
    return str(ASSETS / name)


def example(name: str) -> str:
    """Path of an example: `portrait` (of the toy world), `photo` (NASA's Eileen Collins, inside scikit-image),
    `speech` (arctic_a0007, 4 s) or `long_speech` (librivox_0870, 7 s).
    """
    skimage = find_spec("skimage")
    examples = {
        "portrait": ASSETS / "demo" / "portrait.png",
        "speech": ASSETS / "arctic_a0007.wav",
        "long_speech": PACKAGE / "toyface" / "recordings" / "librivox_0870.flac",
    }
    if skimage is not None and skimage.origin:
        examples["photo"] = Path(skimage.origin).parent / "data" / "astronaut.png"
    if name not in examples:
        raise UserError(f"there is no example {name!r}; choose one of {', '.join(examples)}")
    return str(examples[name])
