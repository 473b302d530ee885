"""Portraits: files and arrays → RGB, and the tensor that the encoder expects."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from PIL import ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from float_research.errors import UserError
from float_research.types import TOY_MARK, Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


def read_image(path: Path, background: str) -> Image:
    """An image file as RGB: upright by its EXIF orientation, transparency blended with the colour `background`."""
    if not path.is_file():
        raise UserError(f"image {path} does not exist; give the path of a portrait")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path) as file:
                return to_rgb(ImageOps.exif_transpose(file), background)
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        PillowImage.DecompressionBombError,
        PillowImage.DecompressionBombWarning,
    ) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"image {path} cannot be read ({reason}); convert it to PNG or JPEG") from error


def is_toy_portrait(path: Path) -> bool:
    """Whether an image file says that it is a rendered head of the toy world."""
    with PillowImage.open(path) as file:
        return file.info.get(TOY_MARK[0]) == TOY_MARK[1]


def to_rgb(image: PillowImage.Image, background: str) -> Image:
    """Any Pillow image as 8-bit RGB over `background`."""
    if image.mode.startswith("I;16"):
        image = PillowImage.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = PillowImage.new("RGBA", image.size, (*colour(background), 255))
        image = PillowImage.alpha_composite(canvas, image)
    return np.asarray(image.convert("RGB"))


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
