"""Loads portraits as RGB and converts them to the encoder's input tensor."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from torch import Tensor

from float_research.data.colour import to_rgb
from float_research.errors import UserError, named, reading
from float_research.files import require_file
from float_research.media import BOUNDS, Limits
from float_research.types import TOY_MARK, Image

SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
    | {".avif", ".heic", ".heif", ".hif"}
)
"""Suffixes that mark a file as a picture, even if it is too damaged to be recognised by content."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Pillow's names of the supported formats. MPO, from phones, is JPEG with more pictures after the first."""
ALL = ", ".join(FORMATS)
REMEDY = "give another image, or export it again as PNG or JPEG"
BYTES_A_PIXEL = 16
"""Upper bound: four channels of 32 bits."""
ORIENTATION = 0x0112
UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""The transpose that undoes each EXIF orientation."""


def read_image(path: Path, background: str, limits: Limits = BOUNDS) -> Image:
    """Reads an image file as sRGB, upright by EXIF orientation, with transparency blended with `background`.

    Reads the first frame of an animation, and the primary one of several pictures.
    """
    with open_image(path, limits) as file:
        return to_rgb(turn_upright(file), background, named("image", path))


def turn_upright(file: PillowImage.Image) -> PillowImage.Image:
    """Rotates an image by its EXIF orientation. Ignores damaged EXIF."""
    file.load()
    try:
        orientation = file.getexif().get(ORIENTATION)
    except Exception:  # Pillow's EXIF reader raises many types; the picture is valid without it
        orientation = None
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return file if method is None else file.transpose(method)


def is_picture(path: Path) -> bool:
    """Returns whether a file can be opened and begins as a picture."""
    try:
        with path.open("rb") as content:
            return format_of(content) is not None
    except OSError:
        return False


def format_of(content: BinaryIO) -> str | None:
    """Returns Pillow's name of the format by the first bytes, or None."""
    start = content.read(16)
    content.seek(0)
    register_heif()
    accepts = {format: PillowImage.OPEN[format][1] for format in FORMATS}
    return next((format for format, accept in accepts.items() if accept and accept(start) is True), None)


@cache
def register_heif() -> None:
    """Registers HEIF, the format of phones, with Pillow."""
    import pillow_heif

    PillowImage.init()
    pillow_heif.register_heif_opener()


def require_portrait(path: Path, limits: Limits) -> None:
    """Raises a UserError if the path is not a regular file with the header of a supported image."""
    with open_image(path, limits):
        return


def is_toy_portrait(path: Path) -> bool:
    """Returns whether an image file is marked as a rendered head of the toy world."""
    with open_image(path, BOUNDS) as file:
        return file.info.get(TOY_MARK[0]) == TOY_MARK[1]


@contextmanager
def open_image(path: Path, limits: Limits) -> Iterator[PillowImage.Image]:
    """Opens an image file and decodes only its header. Raises a UserError if it is invalid or exceeds the limits."""
    name, remedy = named("image", path), "make it smaller"
    num_bytes = require_file(path, "image", "give the path of a portrait").stat().st_size
    if num_bytes > BYTES_A_PIXEL * limits.pixels:
        raise UserError(
            f"{name} has {num_bytes:,} bytes, too many for limits.megapixels={limits.megapixels:g}; {remedy}"
        )
    with reading(f"image {path}", REMEDY), warnings.catch_warnings(), path.open("rb") as content:
        warnings.simplefilter("ignore")  # about large images, which limits handle, and about damaged metadata
        format = format_of(content)
        try:
            file = PillowImage.open(content, formats=FORMATS)
        except UnidentifiedImageError as error:
            problem = f"its {format} is damaged or of an unsupported kind" if format else f"it is none of {ALL}"
            raise ValueError(problem) from error
        except PillowImage.DecompressionBombError as error:
            most = 2 * (PillowImage.MAX_IMAGE_PIXELS or 0)
            raise UserError(f"{name} has more than {most:,} pixels, the maximum; {remedy}") from error
        with file:
            limits.check_size(name, *file.size)
            yield file


def to_tensor(image: Image, size_px: int) -> Float[Tensor, "3 h w"]:
    """Resizes to a square by area interpolation and maps 0…255 to [-1, 1] by `x / 127.5 - 1`."""
    resized = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(resized.astype(np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()
