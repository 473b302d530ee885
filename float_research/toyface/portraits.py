"""Writes toy portraits as image files."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from float_research.errors import UserError
from float_research.files import whole
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION
from float_research.toyface.render import render
from float_research.types import TOY_MARK

FINENESS = 2
"""Supersampling factor."""


def portrait(person: Float[Tensor, " k"], size_px: int) -> PillowImage.Image:
    """Renders a person in the neutral pose."""
    large = render(person[None], torch.zeros(1, len(MOTION)), FINENESS * size_px).image[0]
    pixels = ((large.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    return PillowImage.fromarray(pixels).resize((size_px, size_px), PillowImage.Resampling.BOX)


def save_portraits(folder: Path, num: int, size_px: int, seed: int) -> list[Path]:
    """Writes `num` people as PNG files, marked as toy portraits so that no face detector is run on them.

    Raises:
        UserError: a number is out of range.
    """
    if num < 1 or not 16 <= size_px <= 2048:
        raise UserError(f"num={num} must be positive, and size_px={size_px} must be from 16 to 2048")
    mark = PngInfo()
    mark.add_text(*TOY_MARK)
    files = []
    for number, person in enumerate(sample_identities(num, torch.Generator().manual_seed(seed))):
        file = folder / f"toy_{seed}_{number}.png"
        with whole(file) as part:
            portrait(person, size_px).save(part, format="PNG", pnginfo=mark, optimize=True)
        files.append(file)
    return files
