"""Converts Pillow images of any mode, range and colour profile to 8-bit sRGB."""

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
"""Rows converted at a time."""
PROFILED = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Supported colour spaces of profiles, and Pillow's mode for them."""
PHOTOMETRIC, SAMPLES_SIGNED, BITS, WHITE_IS_ZERO, UNSIGNED = 262, 339, 258, 0, 1
"""TIFF tags and values."""
FULL = {"F": (1, 255, 65535), "I": (255, 65535, 2**31 - 1, 2**32 - 1)}
"""Candidate values of white in 32-bit grey images, which do not define it."""
SRGB_GAMMA, NEAR = 1 / 2.2, 0.05
SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""Chromaticities of white, red, green and blue."""
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
ToSrgb = Callable[[PillowImage.Image], PillowImage.Image]


def to_rgb(image: PillowImage.Image, background: str, name: str) -> Image:
    """Converts any Pillow image to 8-bit sRGB over `background`. `name` begins log messages.

    Colours are converted by the image's ICC profile, or by the primaries and gamma in a PNG or HEIF file. A profile
    that is damaged or of the wrong colour space is ignored with a warning, as browsers do. Images without any are taken
    as sRGB. Grey images of 16 bits and more are scaled, see `eight_bits`.
    """
    canvas = colour(background)
    image = eight_bits(image)
    convert = to_srgb(image, name)
    made = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, ROWS):  # in bands: each copy of the whole would take as much memory as the image
        part = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        converted = convert(part)
        if image.has_transparency_data:
            ground = PillowImage.new("RGB", part.size, canvas)
            ground.paste(converted, mask=part.convert("RGBA").getchannel("A"))
            converted = ground
        made[top : top + ROWS] = np.asarray(converted)
    return made


def colour(name: str) -> tuple[int, int, int]:
    """Parses a CSS colour, such as `white` or `#7f7f7f`."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise UserError(f"background={name!r} is not a colour; give a CSS colour such as white or '#7f7f7f'") from error


def eight_bits(image: PillowImage.Image) -> PillowImage.Image:
    """Converts a grey image of more than 8 bits to 8 bits; returns any other unchanged.

    16-bit images have a known range. For 32 bits and floats, white is the smallest of 1 (floats only), 255, 65,535 and
    the integer maxima that no value exceeds.

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
            raise ValueError(f"its values range from {least:g} to {most:g}, not from 0 to 1, 255 or 65535")
        white = next(white for white in FULL[image.mode] if most <= white)
    else:
        return image
    grey = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), ROWS):
        grey[top : top + ROWS] = np.rint(values[top : top + ROWS] * (255 / white)).clip(0, 255)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow handles this only up to 8 bits
        grey = 255 - grey
    made = PillowImage.fromarray(grey)
    made.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return made


def to_srgb(image: PillowImage.Image, name: str) -> ToSrgb:
    """Returns the conversion of parts of this image to 8-bit RGB, by its colour profile."""
    if image.mode == "LAB":
        return _by(ImageCms.createProfile("LAB"), "LAB")
    try:
        content = image.info.get("icc_profile") or describe_profile(image.info)
        if not content:
            return _plain
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = PROFILED.get(profile.profile.xcolor_space, "other colours")
        own = "CMYK" if image.mode == "CMYK" else "L" if image.mode in ("1", "L", "LA") else "RGB"
        if own != space and not (own == "L" and space == "RGB"):
            raise ValueError(f"it is for {space} and the image is {own}")
        return _by(profile, space)
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError) as error:
        warn_once(f"{name}: ignoring its colour profile ({reason(error)}); if its colours are off, save it as sRGB")
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
def warn_once(text: str) -> None:
    log.warning(text)


def describe_profile(info: Mapping[Any, Any]) -> bytes | None:
    """Builds the profile given by PNG's gAMA and cHRM or HEIF's nclx. None for sRGB.

    A gamma within 5 % of 1/2.2 is taken as sRGB, as in libpng: programs write it as an approximation.
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
    """Builds an RGB ICC profile (version 2) from the chromaticities of white, red, green and blue.

    Values are light to the power of `gamma`, or sRGB's curve for None. Primaries are adapted to D50 by Bradford.
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
