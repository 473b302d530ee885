"""Paths of the files in this package, including the example inputs."""

from importlib.util import find_spec
from pathlib import Path

from float_research.errors import UserError

PACKAGE = Path(__file__).parents[1]
ASSETS = PACKAGE / "assets"


def asset(name: str) -> str:
    """Returns the path of a file in this package."""
    return str(ASSETS / name)


def example(name: str) -> str:
    """Returns the path of an example input.

    `portrait`: a toy head. `photo`: NASA's portrait of Eileen Collins, from scikit-image. `speech`: arctic_a0007, 4 s.
    `long_speech`: librivox_0870, 7 s.
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
        raise UserError(f"example {name!r} does not exist; choose one of {', '.join(examples)}")
    return str(examples[name])
