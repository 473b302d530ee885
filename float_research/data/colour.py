"""Colours: any Pillow image, whatever its mode, its range and its profile, as 8-bit sRGB."""

import io
import logging
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, ImageColor

from float_research.errors import UserError, reason
from float_research.types import Image

log = logging.getLogger(__name__)
ROWS = 256
"""That are worked on at a time."""
PROFILED = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The colours that a profile may be of, and Pillow's mode for them."""
PHOTOMETRIC, SAMPLES_SIGNED, BITS, WHITE_IS_ZERO, UNSIGNED = 262, 339, 258, 0, 1
"""Of TIFF."""
FULL = {"F": (1, 255, 65535), "I": (255, 65535, 2**31 - 1, 2**32 - 1)}
"""The values that may stand for white in grey images of 32 bits, which do not say it."""
SRGB_GAMMA, NEAR = 1 / 2.2, 0.05
SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""White, red, green, blue."""
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
ToSrgb = Callable[[PillowImage.Image], PillowImage.Image]


def to_rgb(image: PillowImage.Image, background: str, name: str) -> Image:
    """Any Pillow image as 8-bit sRGB over `background`. `name` begins what is told of it.

    Colours are converted by the image's ICC profile, or by what a PNG or HEIF file says of its primaries and gamma. A
    profile that is damaged, or of other colours than the image has, is ignored as browsers do, and told in the log.
    Images that say nothing are sRGB already. Grey images of 16 bits and more are scaled, see `eight_bits`.
    """
    canvas = colour(background)
    image = eight_bits(image)
    convert = to_srgb(image, name)
    made = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, ROWS):  # a little at a time, for each copy takes as much as the image
        part = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        converted = convert(part)
        if image.has_transparency_data:
            ground = PillowImage.new("RGB", part.size, canvas)
            ground.paste(converted, mask=part.convert("RGBA").getchannel("A"))
            converted = ground
        made[top : top + ROWS] = np.asarray(converted)
    return made


def colour(name: str) -> tuple[int, int, int]:
    """A CSS colour, such as `white` or `#7f7f7f`."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise UserError(
            f"background={name!r} is not a colour; write a CSS colour such as white or '#7f7f7f'"
        ) from error


def eight_bits(image: PillowImage.Image) -> PillowImage.Image:
    """A grey image of more than 8 bits as one of 8, and any other as it is.

    16 bits have a range of their own. For 32 bits and floats, which have none, white is the least of 1 (floats alone),
    255, 65,535 and the largest whole numbers that no value exceeds.

    Raises:
        ValueError: values are negative, not finite, or larger than any white.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        values, white = np.asarray(image), 2 ** max(tags.get(BITS, (16,))) - 1
    elif image.mode in FULL:
        values = np.asarray(image)
        if image.mode == "I" and tags.get(SAMPLES_SIGNED) == (UNSIGNED,):
            values = values.view(np.uint32)
        least, most = float(values.min()), float(values.max())
        if not (np.isfinite([least, most]).all() and least >= 0 and most <= FULL[image.mode][-1]):
            raise ValueError(f"its values go from {least:g} to {most:g}, and grey goes from 0 to 1, 255 or 65535")
        white = next(white for white in FULL[image.mode] if most <= white)
    else:
        return image
    grey = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), ROWS):
        grey[top : top + ROWS] = np.rint(values[top : top + ROWS] * (255 / white)).clip(0, 255)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow heeds up to 8 bits
        grey = 255 - grey
    made = PillowImage.fromarray(grey)
    made.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return made


def to_srgb(image: PillowImage.Image, name: str) -> ToSrgb:
    """What turns parts of an image into 8-bit RGB, by what the image says of its colours."""
    if image.mode == "LAB":
        return _by(ImageCms.createProfile("LAB"), "LAB")
    try:
        content = image.info.get("icc_profile") or described(image.info)
        if not content:
            return _plain
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = PROFILED.get(profile.profile.xcolor_space, "other colours")
        own = "CMYK" if image.mode == "CMYK" else "L" if image.mode in ("1", "L", "LA") else "RGB"
        if own != space and not (own == "L" and space == "RGB"):
            raise ValueError(f"it is of {space} and the image of {own}")
        return _by(profile, space)
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError) as error:
        tell_once(f"{name}: its colour profile is ignored ({reason(error)}); if its colours are off, save it as sRGB")
        return _plain


def _plain(part: PillowImage.Image) -> PillowImage.Image:
    return part.convert("RGB")


def _by(profile: Any, mode: str) -> ToSrgb:
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")

    def converted(part: PillowImage.Image) -> PillowImage.Image:
        made = transform.apply(part if part.mode == mode else part.convert(mode))
        assert isinstance(made, PillowImage.Image)
        return made

    return converted


@cache
def tell_once(text: str) -> None:
    log.warning(text)


def described(info: Mapping[Any, Any]) -> bytes | None:
    """The profile that a file describes by numbers: PNG's gAMA and cHRM, HEIF's nclx. None for sRGB.

    A gamma within 5 % of 1/2.2 means sRGB, as for libpng: programs write it for want of something closer.
    """
    gamma, xy = info.get("gamma"), info.get("chromaticity")
    if nclx := info.get("nclx_profile"):
        corners = [f"color_primary_{corner}" for corner in ("white", "red", "green", "blue")]
        xy = tuple(nclx[f"{corner}_{axis}"] for corner in corners for axis in "xy")
    elif "srgb" in info or not gamma:
        return None
    if xy is None or np.allclose(xy, SRGB_XY, atol=2e-3) or not min(xy) > 0:
        xy = SRGB_XY
    if gamma and abs(gamma / SRGB_GAMMA - 1) < NEAR:
        gamma = None
    return None if gamma is None and xy is SRGB_XY else matrix_profile(xy, gamma)


def matrix_profile(xy: tuple[float, ...], gamma: float | None) -> bytes:
    """An ICC profile (version 2) of RGB with these chromaticities of white, red, green and blue.

    Values are light to the power of `gamma`, or as sRGB's. Primaries are adapted to D50 after Bradford.
    """
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2], strict=True))
    columns = np.stack(primaries, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    cones = (BRADFORD @ D50) / (BRADFORD @ white)
    columns = np.linalg.inv(BRADFORD) @ (cones[:, None] * (BRADFORD @ columns))
    value = np.linspace(0, 1, 4096)
    srgb = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = srgb if gamma is None else value ** (1 / gamma)
    curve = b"curv" + struct.pack(">II", 0, len(light)) + np.rint(light * 65535).astype(">u2").tobytes()
    points = [b"XYZ " + struct.pack(">I3i", 0, *np.rint(point * 65536).astype(int)) for point in (*columns.T, D50)]
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt"), points, strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    illuminant = np.rint(D50 * 65536).astype(int)
    head = (size, 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp", *illuminant)
    header = struct.pack(">I4xI4s4s4s12x4s28x3i48x", *head)
    return header + struct.pack(">I", len(tags)) + table + body
