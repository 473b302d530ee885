"""Portraits: files and arrays → RGB, and the tensor that the encoder expects."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from PIL import ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from float_research.errors import UserError, named, reading
from float_research.files import require_file
from float_research.media import BOUNDS, Limits
from float_research.types import TOY_MARK, Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
REMEDY = "convert it to PNG or JPEG"
BYTES_A_PIXEL = 16
"""At most: four channels of 32 bits."""
ROWS = 256
"""That are blended at a time."""


def read_image(path: Path, background: str, limits: Limits = BOUNDS) -> Image:
    """An image file as RGB: upright by its EXIF orientation, transparency blended with the colour `background`."""
    with opened(path, limits) as file:
        return to_rgb(ImageOps.exif_transpose(file), background)


def require_portrait(path: Path, limits: Limits) -> None:
    """Raises a UserError for what is no image file, by its header, or may have no end."""
    with opened(path, limits):
        return


def is_toy_portrait(path: Path) -> bool:
    """Whether an image file says that it is a rendered head of the toy world."""
    with opened(path, BOUNDS) as file:
        return file.info.get(TOY_MARK[0]) == TOY_MARK[1]


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[PillowImage.Image]:
    """An image file, of which no more than the header is decoded. Raises a UserError for what is no portrait's."""
    num_bytes = require_file(path, "image", "give the path of a portrait").stat().st_size
    if num_bytes > BYTES_A_PIXEL * limits.pixels:
        raise UserError(f"{named('image', path)} has {num_bytes:,} bytes, more than any portrait; {REMEDY}")
    with reading(f"image {path}", REMEDY), warnings.catch_warnings(), path.open("rb") as content:
        warnings.simplefilter("ignore")  # of large images, for which there are limits, and of damaged notes in files
        try:
            file = PillowImage.open(content, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError(f"it is none of {', '.join(FORMATS)}") from error
        with file:
            limits.check_size(named("image", path), *file.size)
            yield file


def to_rgb(image: PillowImage.Image, background: str) -> Image:
    """Any Pillow image as 8-bit RGB over `background`."""
    if image.mode.startswith("I;16"):
        image = PillowImage.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    blended = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, ROWS):  # a little at a time, for each canvas takes as much as the image
        part = image.crop((0, top, image.width, min(top + ROWS, image.height))).convert("RGBA")
        canvas = PillowImage.new("RGBA", part.size, (*colour(background), 255))
        blended[top : top + ROWS] = np.asarray(PillowImage.alpha_composite(canvas, part).convert("RGB"))
    return blended


def colour(name: str) -> tuple[int, int, int]:
    """A CSS colour, such as `white` or `#7f7f7f`."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise UserError(
            f"background={name!r} is not a colour; write a CSS colour such as white or '#7f7f7f'"
        ) from error


def to_tensor(image: Image, size_px: int) -> Float[Tensor, "3 h w"]:
    """Resizes to a square by area and maps 0…255 to [-1, 1] by `x / 127.5 - 1`."""
    resized = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(resized.astype(np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()
