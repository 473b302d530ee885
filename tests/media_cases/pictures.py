"""Pictures: modes × profiles × formats × damage, each with the expected colours, size or error."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image as PillowImage
from PIL import ImageCms

from float_research.data.colour import matrix_profile

pillow_heif.register_heif_opener()
Colour = tuple[float, float, float]
SKIN, LEAF = (200, 120, 90), (40, 160, 70)
"""Colours of the left and the right half."""
BLUE = (0, 0, 255)
"""Colour of the background."""
P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE_XY = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
"""Of linear light, as published."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A picture to build in a folder. `refusal`: pattern of the error message, if it must be rejected."""

    name: str
    build: Callable[[Path], Path]
    colours: tuple[Colour, Colour] = (SKIN, LEAF)
    size: tuple[int, int] = (32, 20)
    within: float = 2
    refusal: str | None = None
    told: str | None = None


def srgb(light: Any) -> Colour:
    light = np.clip(light, 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    return tuple(value.tolist())


def from_p3(colour: Colour) -> Colour:
    value = np.array(colour) / 255
    return srgb(P3_TO_SRGB @ np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def from_adobe(colour: Colour) -> Colour:
    return srgb(ADOBE_TO_SRGB @ (np.array(colour) / 255) ** 2.19921875)


def by_gamma(colour: Colour, gamma: float) -> Colour:
    return srgb((np.array(colour) / 255) ** (1 / gamma))


def halves(left: Colour = SKIN, right: Colour = LEAF, size: tuple[int, int] = (32, 20)) -> PillowImage.Image:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:, : size[0] // 2], image[:, size[0] // 2 :] = left, right
    return PillowImage.fromarray(image)


def grey(left: float, right: float, kind: str) -> np.ndarray:
    image = np.empty((20, 32), kind)
    image[:, :16], image[:, 16:] = left, right
    return image


def saved(name: str, image: PillowImage.Image | Callable[[], PillowImage.Image], **options: Any) -> Any:
    """Returns a builder that saves an image."""

    def build(folder: Path) -> Path:
        (image() if callable(image) else image).save(folder / name, **options)
        return folder / name

    return build


def written(name: str, content: bytes | Callable[[Path], bytes]) -> Any:
    """Returns a builder that writes bytes."""

    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content(folder) if callable(content) else content)
        return folder / name

    return build


def chunked(**chunks: bytes) -> Any:
    """Returns a builder of a PNG with additional chunks before its pixels."""

    def content(folder: Path) -> bytes:
        plain = saved("plain.png", halves())(folder).read_bytes()
        more = b"".join(
            struct.pack(">I", len(data)) + (body := name.encode() + data) + struct.pack(">I", zlib.crc32(body))
            for name, data in chunks.items()
        )
        return plain[:33] + more + plain[33:]

    return written("a.png", content)


def sixteen_bit_png(folder: Path) -> Path:
    """Writes 16-bit RGB, which Pillow does not support."""
    rows = np.asarray(halves(), dtype=np.uint16) * 257
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 32, 20, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return written("a.png", content)(folder)


def oriented(orientation: int) -> PillowImage.Exif:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return exif


def grey_profile(gamma: float) -> bytes:
    """Builds an ICC profile of grey with a gamma: an RGB profile with one curve instead of three."""
    curve = b"curv" + struct.pack(">II", 0, 256) + (np.linspace(0, 1, 256) ** gamma * 65535).astype(">u2").tobytes()
    white = b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    start = 128 + 4 + 24
    table = struct.pack(">I", 2)
    table += b"wtpt" + struct.pack(">II", start, 20) + b"kTRC" + struct.pack(">II", start + 20, len(curve))
    head = matrix_profile(P3_XY, None)[:128]
    size = start + 20 + len(curve)
    return struct.pack(">I", size) + head[4:16] + b"GRAY" + head[20:] + table + white + curve


def lab() -> PillowImage.Image:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    made = to_lab.apply(halves())
    assert isinstance(made, PillowImage.Image)
    return made


def cut(name: str, part: float, **options: Any) -> Any:
    """Returns a builder of a truncated file."""

    def content(folder: Path) -> bytes:
        noise = PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))
        whole = saved(f"whole-{name}", noise, **options)(folder).read_bytes()
        return whole[: int(len(whole) * part)]

    return written(name, content)


def raw_tiff(
    pixels: np.ndarray, bits: int, photometric: int, kind: int, *, samples: int = 1, width: int | None = None
) -> Any:
    """Returns a builder of a TIFF that Pillow cannot write. `kind`: 1 unsigned, 2 signed, 3 float."""
    content = pixels.tobytes()
    height = len(pixels)
    tags = [
        (256, width or pixels.shape[1]),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (277, samples),
        (278, height),
    ]
    entries = sorted([*tags, (279, len(content)), (339, kind), (273, 8 + 2 + 12 * 10 + 4)])
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return written("a.tif", head + table + bytes(4) + content)


def animated(name: str, **options: Any) -> Any:
    return saved(name, halves(), save_all=True, append_images=[halves(LEAF, SKIN)], duration=100, **options)


P3, ADOBE = matrix_profile(P3_XY, None), matrix_profile(ADOBE_XY, 1 / 2.19921875)
IN_P3, IN_ADOBE = (from_p3(SKIN), from_p3(LEAF)), (from_adobe(SKIN), from_adobe(LEAF))
DARK_LIGHT = ((64, 64, 64), (192, 192, 192))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XY = struct.pack(">8I", *(round(value * 100_000) for value in P3_XY))
CLEAR = PillowImage.fromarray(np.dstack([np.asarray(halves()), grey(255, 0, "u1")]))
TURNED = halves().transpose(PillowImage.Transpose.ROTATE_90)
FINE: Any = {"quality": 100, "subsampling": 0}

CASES = [
    Case(name="PNG", build=saved("a.png", halves())),
    Case(name="JPEG", build=saved("a.jpg", halves(), **FINE)),
    Case(name="WebP", build=saved("a.webp", halves(), lossless=True)),
    Case(name="BMP", build=saved("a.bmp", halves())),
    Case(name="TIFF", build=saved("a.tif", halves(), compression="tiff_lzw")),
    Case(name="AVIF", build=saved("a.avif", halves(), quality=100), within=4),
    Case(name="HEIC", build=saved("a.heic", halves(), format="HEIF", quality=-1, chroma=444)),
    Case(name="a name that says another format", build=saved("a.txt", halves(), format="PNG")),
    Case(name="JPEG with further pictures, as phones write it", build=saved(
        "a.jpg", halves(), format="MPO", save_all=True, append_images=[halves(LEAF, SKIN)], **FINE)),
    Case(name="animated WebP", build=animated("a.webp", lossless=True)),
    Case(name="animated GIF", build=animated("a.gif")),
    Case(name="animated PNG", build=animated("a.png")),
    Case(name="Display P3 PNG", build=saved("a.png", halves(), icc_profile=P3), colours=IN_P3),
    Case(name="Display P3 JPEG", build=saved("a.jpg", halves(), icc_profile=P3, **FINE), colours=IN_P3),
    Case(name="Display P3 HEIC", build=saved(
        "a.heic", halves(), format="HEIF", quality=-1, chroma=444, icc_profile=P3), colours=IN_P3),
    Case(name="HEIC whose numbers say Display P3", build=saved(
        "a.heic", halves(), format="HEIF", quality=-1, chroma=444, save_nclx_profile=True, color_primaries=12),
        colours=IN_P3),
    Case(name="Adobe RGB JPEG", build=saved("a.jpg", halves(), icc_profile=ADOBE, **FINE), colours=IN_ADOBE),
    Case(name="Adobe RGB WebP", build=saved("a.webp", halves(), icc_profile=ADOBE, lossless=True), colours=IN_ADOBE),
    Case(name="Adobe RGB TIFF", build=saved("a.tif", halves(), icc_profile=ADOBE), colours=IN_ADOBE),
    Case(name="sRGB profile", build=saved("a.png", halves(), icc_profile=SRGB)),
    Case(name="palette in Display P3", build=saved("a.png", halves().quantize(8), icc_profile=P3), colours=IN_P3),
    Case(name="transparent half in Display P3", build=saved("a.png", CLEAR, icc_profile=P3),
         colours=(from_p3(SKIN), BLUE)),
    Case(name="turned and in Display P3", build=saved(
        "a.jpg", TURNED, exif=oriented(6), icc_profile=P3, **FINE), colours=IN_P3),
    Case(name="grey with an RGB profile", build=saved("a.png", PillowImage.fromarray(grey(64, 192, "u1")),
         icc_profile=SRGB), colours=DARK_LIGHT),
    Case(name="grey of gamma 1.8", build=saved("a.png", PillowImage.fromarray(grey(64, 192, "u1")),
         icc_profile=grey_profile(1.8)), colours=(by_gamma((64,) * 3, 1 / 1.8), by_gamma((192,) * 3, 1 / 1.8))),
    Case(name="a broken profile", build=saved("a.png", halves(), icc_profile=P3[:200]), told="ignoring its"),
    Case(name="a profile of other colours", build=saved("a.png", halves(), icc_profile=grey_profile(1.8)),
         told="it is for L and the image is RGB"),
    Case(name="PNG that says sRGB", build=chunked(sRGB=b"\0", gAMA=struct.pack(">I", 100_000))),
    Case(name="PNG of gamma 1/2.2", build=chunked(gAMA=struct.pack(">I", 45_455))),
    Case(name="PNG of linear light", build=chunked(gAMA=struct.pack(">I", 100_000)),
         colours=(by_gamma(SKIN, 1), by_gamma(LEAF, 1))),
    Case(name="PNG whose numbers say Display P3", build=chunked(cHRM=XY, gAMA=struct.pack(">I", 45_455)),
         colours=IN_P3),
    Case(name="damaged EXIF", build=saved("a.jpg", halves(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff", **FINE)),
    Case(name="grey with alpha", build=saved("a.png", PillowImage.fromarray(
        np.dstack([grey(64, 192, "u1"), grey(255, 0, "u1")]), "LA")), colours=((64, 64, 64), BLUE)),
    Case(name="palette with a transparent colour", build=saved("a.png", CLEAR.quantize(8)), colours=(SKIN, BLUE)),
    Case(name="one bit", build=saved("a.png", PillowImage.fromarray(grey(0, 255, "u1")).convert("1")),
         colours=((0, 0, 0), (255, 255, 255))),
    Case(name="16-bit RGB PNG", build=sixteen_bit_png),
    Case(name="16-bit grey PNG", build=saved("a.png", PillowImage.fromarray(grey(64 * 257, 192 * 257, "u2"))),
         colours=DARK_LIGHT),
    Case(name="16-bit grey TIFF", build=saved("a.tif", PillowImage.fromarray(grey(64 * 257, 192 * 257, "u2"))),
         colours=DARK_LIGHT),
    Case(name="float TIFF of 0 to 1", build=saved("a.tif", PillowImage.fromarray(grey(64 / 255, 192 / 255, "f4"))),
         colours=DARK_LIGHT),
    Case(name="float TIFF of 0 to 255", build=saved("a.tif", PillowImage.fromarray(grey(64, 192, "f4"))),
         colours=DARK_LIGHT),
    Case(name="int32 TIFF of 0 to 65535", build=saved("a.tif", PillowImage.fromarray(grey(64 * 257, 192 * 257, "i4"))),
         colours=DARK_LIGHT),
    Case(name="int32 TIFF of its whole range", build=saved("a.tif", PillowImage.fromarray(
        grey(64 / 255 * (2**31 - 1), 192 / 255 * (2**31 - 1), "i4"))), colours=DARK_LIGHT),
    Case(name="uint32 TIFF of its whole range", build=raw_tiff(
        grey(64 / 255 * (2**32 - 1), 192 / 255 * (2**32 - 1), "<u4"), 32, 1, 1), colours=DARK_LIGHT),
    Case(name="16-bit TIFF whose white is zero", build=raw_tiff(grey(191 * 257, 63 * 257, "<u2"), 16, 0, 1),
         colours=DARK_LIGHT),
    Case(name="12-bit grey TIFF", build=raw_tiff(
        np.tile(np.array([64, 4, 4] * 8 + [192, 12, 12] * 8, "u1"), (20, 1)), 12, 1, 1, width=32),
        colours=((64, 64, 64), (192, 192, 192))),
    Case(name="Lab TIFF", build=saved("a.tif", lab)),
    Case(name="CMYK JPEG", build=saved("a.jpg", halves().convert("CMYK"), **FINE)),
    Case(name="CMYK TIFF", build=saved("a.tif", halves().convert("CMYK"))),
    Case(name="YCbCr TIFF", build=saved("a.tif", halves().convert("YCbCr"))),
    Case(name="CMYK with a profile of RGB", build=saved("a.tif", halves().convert("CMYK"), icc_profile=P3),
         told="it is for RGB and the image is CMYK"),
    Case(name="half a PNG", build=cut("a.png", 0.5), refusal=r"a\.png cannot be read \(.*truncated"),
    Case(name="half a JPEG", build=cut("a.jpg", 0.5), refusal=r"a\.jpg cannot be read \(.*truncated"),
    Case(name="half a HEIC", build=cut("a.heic", 0.5, format="HEIF"), refusal=r"a\.heic cannot be read"),
    Case(name="the beginning of a HEIC", build=cut("a.heic", 0.01, format="HEIF"),
         refusal="its HEIF is damaged or of an unsupported kind"),
    Case(name="nothing", build=written("a.jpg", b""), refusal="it is none of PNG, JPEG"),
    Case(name="text", build=written("a.png", b"hello"), refusal="it is none of PNG, JPEG"),
    Case(name="a folder", build=lambda folder: folder, refusal="is a folder; give the path of a portrait"),
    Case(name="float RGB TIFF",
         build=raw_tiff(np.full((4, 4, 3), 0.5, "<f4"), 32, 2, 3, samples=3),
         refusal="its TIFF is damaged or of an unsupported kind"),
    Case(name="float TIFF below zero", build=saved("a.tif", PillowImage.fromarray(grey(-1, 1, "f4"))),
         refusal=r"values range from -1 to 1"),
    Case(name="float TIFF of NaN", build=saved("a.tif", PillowImage.fromarray(grey(np.nan, 1, "f4"))),
         refusal=r"values range from nan"),
    Case(name="108 megapixels", build=saved("a.jpg", lambda: PillowImage.new("L", (12032, 9024))),
         refusal=r"has 12032 × 9024 pixels, over limits\.megapixels=60; make it smaller"),
    Case(name="200 megapixels", build=saved("a.png", lambda: PillowImage.new("1", (16384, 12288))),
         refusal="has more than 178,956,970 pixels, the maximum; make it smaller"),
    Case(name="HEIC too large", build=saved("a.heic", lambda: PillowImage.new("RGB", (8000, 700)), format="HEIF"),
         refusal=r"has 8000 × 700 pixels, narrower than limits\.aspect=10 : 1"),
]  # fmt: skip
