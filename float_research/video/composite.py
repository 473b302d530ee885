"""What a video shows: the network's frames, those frames in the picture they were cut from, or beside their input."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float

from float_research.errors import UserError, printable
from float_research.types import Image, Original, Originals, Region

SHIFT, POISSON = COLOURS = ("shift", "poisson")
ROWS = 128
"""Rows blended at a time: a copy of the whole region in 32 bits would take four times the memory of the picture."""
MIN_PX = 16
"""The smallest side of a picture, which is an H.264 macroblock, and of what a crop shows of it."""
SIZE = ("picture_width", "picture_height")
CROP = tuple(f"crop_{name}" for name in Region._fields)
"""Facts about a face crop."""
Pixels = Float[np.ndarray, "h w 3"]


class Composer(ABC):
    """Composes the frames of one video, in order. `size`: width and height of what it returns, both even."""

    kind: ClassVar[str | None] = None

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    @property
    def facts(self) -> dict[str, Any] | None:
        """For the record; None if the video shows the frames themselves."""
        return None if self.kind is None else {"kind": self.kind, "width": self.size[0], "height": self.size[1]}

    @abstractmethod
    def __call__(self, frame: Image, /) -> Image:
        """Returns the picture of the next frame, which is a square."""


@runtime_checkable
class Composite(Protocol):
    """Opens a composer for each video. `whole`: whether its composers show the frames themselves, for all clips."""

    whole: bool

    def check(self, face: Mapping[str, Any], /) -> None:
        """Raises a UserError for a face, given the facts about its crop, that cannot be composed."""

    def open(self, originals: Originals, size_px: int, /) -> Composer:
        """Returns the composer of a video, for frames of `size_px`."""


class Square(Composer):
    """The network's frames, unchanged."""

    def __call__(self, frame: Image, /) -> Image:
        return frame


@dataclass(frozen=True, kw_only=True)
class NoComposite:
    """The network's square frames, unchanged."""

    whole = True

    def check(self, face: Mapping[str, Any], /) -> None:
        """Accepts every face."""

    def open(self, originals: Originals, size_px: int, /) -> Composer:
        return Square((size_px, size_px))


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The face crop, the frame, and `gain` times their absolute difference, side by side."""

    gain: float

    whole = False

    def __post_init__(self) -> None:
        if not 0 < self.gain <= 255:
            raise UserError(f"composite.gain={self.gain} must be above 0 and at most 255")

    def check(self, face: Mapping[str, Any], /) -> None:
        """Accepts every face."""

    def open(self, originals: Originals, size_px: int, /) -> Composer:
        return Triptych(originals(), size_px, self.gain)


class Triptych(Composer):
    """Composes input, output and difference."""

    kind = "beside"

    def __init__(self, originals: Iterator[Original], size_px: int, gain: float) -> None:
        super().__init__((3 * size_px - 3 * size_px % 2, size_px - size_px % 2))
        self.originals, self.gain = originals, gain

    def __call__(self, frame: Image, /) -> Image:
        crop = next(self.originals).crop
        difference = cv2.convertScaleAbs(cv2.absdiff(frame, crop), alpha=self.gain)
        return even(np.hstack([crop, frame, difference]))


@dataclass(frozen=True, kw_only=True)
class Paste:
    """The face in the picture it was cut from: the crop's inverse, blended over `feather` of the crop's size.

    The picture outside of the crop stays as it is; an odd width or height loses its last column or row. The whole crop
    inside the feathered edge is the network's, so the head moves freely there. Where the crop exceeds the picture, the
    edge of the picture is the edge. `colour` matches the frame at the edge to the picture: `shift` adds the
    interquartile mean of the difference there, for each channel; `poisson` adds the harmonic function whose values at
    the edge are the difference (Pérez et al., 2003). An image that is a face crop already is the square itself.
    """

    feather: float
    colour: str | None
    megapixels: float

    whole = False

    def __post_init__(self) -> None:
        if not 0 < self.feather <= 0.5:
            raise UserError(f"composite.feather={self.feather} must be above 0 and at most 0.5")
        if self.colour not in (None, *COLOURS):
            raise UserError(f"composite.colour={self.colour} must be one of {', '.join(COLOURS)}, or null for none")
        if not self.megapixels > 0:
            raise UserError(f"composite.megapixels={self.megapixels} must be positive")

    def check(self, face: Mapping[str, Any], /) -> None:
        values = [value for name in (*SIZE, *CROP) if isinstance(value := face.get(name), int)]
        if len(values) < len(SIZE) + len(CROP):
            raise UserError(
                f"{printable(face.get('detector', 'this face'))} does not say which region of the picture it cropped "
                f"({', '.join((*SIZE, *CROP))}), so nothing can be pasted back; use composite=none, or another face"
            )
        width, height, region = *values[:2], Region(*values[2:])
        if region != (0, 0, width, height):
            self._check_size(width, height)
            seam = seam_of(region, width, height, self.feather)
            if min(seam.right - seam.left, seam.bottom - seam.top) < MIN_PX:
                raise UserError(
                    f"the crop shows less than {MIN_PX} × {MIN_PX} pixels of the picture, too few to paste back; use a "
                    "larger crop, or composite=none"
                )

    def open(self, originals: Originals, size_px: int, /) -> Composer:
        frames = originals()
        first = next(frames)
        height, width = first.picture.shape[:2]
        assert first.region is not None, "checked before"
        if first.region == (0, 0, width, height):
            return Square((size_px, size_px))
        self._check_size(width, height)
        return Pasting(self, chain([first], frames), width, height)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.megapixels * 1e6:
            raise UserError(
                f"a picture of {width} × {height} pixels is above composite.megapixels={self.megapixels:g}; make it "
                "smaller, or use a higher limit"
            )
        if min(width, height) < MIN_PX:
            raise UserError(f"a picture of {width} × {height} pixels is below {MIN_PX}; use composite=none")


class Pasting(Composer):
    """Composes the whole picture. `originals`: one for each frame, all of one size."""

    kind = "paste"

    def __init__(self, settings: Paste, originals: Iterator[Original], width: int, height: int) -> None:
        super().__init__((width - width % 2, height - height % 2))
        self.settings, self.originals = settings, originals

    def __call__(self, frame: Image, /) -> Image:
        original = next(self.originals)
        assert original.region is not None
        picture = even(original.picture).copy()
        seam = seam_of(original.region, *self.size, self.settings.feather)
        face = frame + self._difference(frame, original, seam)
        for top, patch in seam.patches(face):
            rows, columns = slice(top, top + len(patch)), slice(seam.left, seam.right)
            under = picture[rows, columns].astype(np.float32)
            blended = under + seam.opacity(rows) * (patch - under)
            picture[rows, columns] = np.rint(blended).clip(0, 255)
        return picture

    def _difference(self, frame: Image, original: Original, seam: "Seam") -> Pixels | Float[np.ndarray, "3"]:
        """Returns what matches the frame's colours at the edge to the picture's, at the frame's resolution."""
        if self.settings.colour == SHIFT:
            return shift(frame, original.crop, seam.ring(len(frame)))
        if self.settings.colour == POISSON:
            return membrane(frame, original.crop, seam.inside(len(frame)))
        return np.zeros(3, np.float32)


class Seam(NamedTuple):
    """The visible part of a region, and its opacity: 1 inside, a smooth step down to 0 at its edges."""

    region: Region
    left: int
    top: int
    right: int
    bottom: int
    feather: float

    def opacity(self, rows: slice) -> Float[np.ndarray, "h w 1"]:
        """Returns the opacity of some of the picture's rows."""
        across = self._across(np.arange(self.left, self.right) + 0.5)
        return (self._down(np.arange(rows.start, rows.stop) + 0.5)[:, None] * across)[..., None]

    def patches(self, face: Pixels) -> Iterator[tuple[int, Pixels]]:
        """Yields the visible part of a face at the picture's resolution: the first row of a band, and its pixels."""
        region, size_px = self.region, len(face)
        if max(region.width, region.height) <= size_px:
            small = cv2.resize(face, (region.width, region.height), interpolation=cv2.INTER_AREA)
            columns = slice(self.left - region.left, self.right - region.left)
            yield self.top, small[self.top - region.top : self.bottom - region.top, columns]
            return
        x, y = size_px / region.width, size_px / region.height
        for top in range(self.top, self.bottom, ROWS):
            size = self.right - self.left, min(top + ROWS, self.bottom) - top
            corner = (self.left - region.left + 0.5) * x - 0.5, (top - region.top + 0.5) * y - 0.5
            inverse = np.array([[x, 0, corner[0]], [0, y, corner[1]]])
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            yield top, cv2.warpAffine(face, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def ring(self, size_px: int) -> Bool[np.ndarray, "s s"]:
        """Returns where a frame of `size_px` is blended."""
        x, y = self._centres(size_px)
        opacity = self._down(y)[:, None] * self._across(x)
        return (opacity > 0) & (opacity < 1)

    def inside(self, size_px: int) -> Bool[np.ndarray, "s s"]:
        """Returns which pixels of a frame of `size_px` are of the picture."""
        x, y = self._centres(size_px)
        return ((y > self.top) & (y < self.bottom))[:, None] & ((x > self.left) & (x < self.right))

    def _centres(self, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the columns and rows of a frame are in the picture."""
        centres = (np.arange(size_px) + 0.5) / size_px
        return self.region.left + centres * self.region.width, self.region.top + centres * self.region.height

    def _across(self, x: np.ndarray) -> Float[np.ndarray, " w"]:
        return step(x, self.left, self.right, self.feather * self.region.width)

    def _down(self, y: np.ndarray) -> Float[np.ndarray, " h"]:
        return step(y, self.top, self.bottom, self.feather * self.region.height)


def seam_of(region: Region, width: int, height: int, feather: float) -> Seam:
    """Returns the seam of a region in a picture of this size."""
    left, top = max(region.left, 0), max(region.top, 0)
    right, bottom = min(region.left + region.width, width), min(region.top + region.height, height)
    return Seam(region=region, left=left, top=top, right=right, bottom=bottom, feather=feather)


def step(x: np.ndarray, start: float, end: float, width: float) -> Float[np.ndarray, " n"]:
    """Returns 0 outside of an interval, 1 inside, and `3 r² - 2 r³` within `width`, at most its half, of its ends."""
    ramp = (np.minimum(x - start, end - x) / min(width, (end - start) / 2)).clip(0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def shift(frame: Image, crop: Image, ring: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "3"]:
    """Returns the interquartile mean of `crop - frame` in the ring, which the moving head does not affect much."""
    if not ring.any():
        return np.zeros(3, np.float32)
    differences = np.sort(crop[ring].astype(np.int16) - frame[ring], axis=0)
    quarter = len(differences) // 4
    return differences[quarter : len(differences) - quarter].mean(0, dtype=np.float32)


def membrane(frame: Image, crop: Image, inside: Bool[np.ndarray, "h w"]) -> Pixels:
    """Returns the harmonic function that is `crop - frame` at the edge of `inside`, a rectangle."""
    mask = np.where(inside, np.uint8(255), np.uint8(0))
    left, top, width, height = cv2.boundingRect(mask)
    if min(width, height) < 3:  # it has no inside
        return np.zeros(frame.shape, np.float32)
    cloned = cv2.seamlessClone(frame, crop, mask, (left + width // 2, top + height // 2), cv2.NORMAL_CLONE)
    return np.where(inside[..., None], cloned.astype(np.float32) - frame, np.float32(0))


def even(picture: Image) -> Image:
    """Returns a picture without the last column and row of odd sizes, which H.264 cannot have."""
    height, width = picture.shape[:2]
    return picture[: height - height % 2, : width - width % 2]
