"""Videos of a face: their shots, and the face crop of every frame."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int

from float_research.data.cropping import cut_square, resize
from float_research.data.face import Cropper
from float_research.data.image import is_picture
from float_research.data.originals import region_of
from float_research.errors import UserError, named, printable
from float_research.media import opens_as_video
from float_research.types import Image, Original, Region

FIRST, SHARPEST = "first", "sharpest"
"""Which frame of a video is the portrait, besides the number of one."""
THUMBNAIL_PX = 32
CUT_LEVELS, CUT_FACTOR = 20.0, 3.0
"""A cut: thumbnails differ by so many of 255 levels on average, and by so many times more than those before."""
SMOOTHING_S = 0.2
"""Standard deviation of the Gaussian in time by which a crop follows a head."""
MAX_JUMP = 0.25
"""How far a followed crop moves from frame to frame, at most, in units of its width; farther away is another face."""
MIN_FRAMES = 2
SHARPNESS_PX = 360
Frames = Callable[[], Iterator[Image]]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """The region of each frame: left, top, width and height. `starts`: of shots. `face`: facts on that of the first."""

    rows: Int[np.ndarray, "n 4"]
    starts: Sequence[int]
    face: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FaceVideo:
    """The originals of a video's frames at `fps` frames per second, the last of them for ever.

    `read`: yields the frames. `key`: everything that the crops depend on.
    """

    path: Path
    fps: float
    size_px: int
    read: Frames
    regions: Regions
    key: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.regions.rows)

    def __call__(self) -> Iterator[Original]:
        original = None
        for picture, row in zip(self.read(), self.regions.rows.tolist(), strict=False):
            region = Region(*row)
            original = Original(picture=picture, region=region, crop=crop_of(picture, region, self.size_px))
            yield original
        while original is not None:
            yield original

    def notes(self) -> list[str]:
        """Returns a sentence on the crop of each shot, if there are several."""
        starts = self.regions.starts
        if len(starts) < 2:
            return []
        spans = pairwise([*starts, len(self)])
        shots = [f"{start / self.fps:.2f} s to {end / self.fps:.2f} s {self._shown(start)}" for start, end in spans]
        return [f"{named('video', self.path)} has {len(starts)} shots, each with a crop of its own: {'; '.join(shots)}"]

    def _shown(self, frame: int) -> str:
        left, top, width, height = self.regions.rows[frame].tolist()
        return f"at {left},{top},{left + width},{top + height}"


def is_video(path: Path) -> bool:
    """Returns whether a file opens as a video, and is no picture, of which some open as videos too."""
    return path.is_file() and not is_picture(path) and opens_as_video(path)


def locate(frames: Frames, cropper: Cropper, size_px: int, *, fps: float, follow: bool, name: str) -> Regions:
    """Finds the face in each shot of a video. `follow`: in every frame, smoothed; otherwise in its first frame alone.

    While a face that is followed is not found, or only one elsewhere is, its crop stays.

    Raises:
        UserError: the first frame of a shot shows no face, the video is too short, or the cropper tells no regions.
    """
    rows, starts, face = list[Region](), list[int](), dict[str, Any]()
    before, moved = None, 0.0
    for number, frame in enumerate(frames()):
        small = cv2.resize(frame, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        change = 0.0 if before is None else float(cv2.absdiff(small, before).mean())
        cut = before is None or (change > CUT_LEVELS and change > CUT_FACTOR * moved)
        before, moved = small, 0.0 if cut else change
        if cut:
            starts.append(number)
        if not cut and not follow:
            rows.append(rows[-1])
            continue
        try:
            facts = cropper(frame, size_px)[1]
        except UserError as error:
            if cut:
                raise UserError(f"{name} at {number / fps:.2f} s: {error}") from error
            rows.append(rows[-1])
            continue
        region, face = region_of(facts), face or dict(facts)
        if region is None:
            raise UserError(f"{name}: this face cropper does not say which region it cropped; use another face")
        rows.append(region if cut or is_near(region, rows[-1]) else rows[-1])
    if len(rows) < MIN_FRAMES:
        raise UserError(f"{name} is shorter than {MIN_FRAMES} frames at {fps:g} frames/s; give a longer one")
    found = np.array(rows, dtype=np.int64)
    return Regions(rows=smoothed(found, starts, fps) if follow else found, starts=starts, face=face)


def is_near(region: Region, other: Region) -> bool:
    """Returns whether the same head may have moved from one region to the other within a frame."""
    x, y = (2 * (a - b) + c - d for a, b, c, d in zip(region[:2], other[:2], region[2:], other[2:], strict=True))
    return max(abs(x), abs(y)) <= 2 * MAX_JUMP * other.width


def smoothed(rows: Int[np.ndarray, "n 4"], starts: Sequence[int], fps: float) -> Int[np.ndarray, "n 4"]:
    """Smooths regions over time, within each shot."""
    from scipy.ndimage import gaussian_filter1d  # which takes half a second

    shots = np.split(rows.astype(float), list(starts)[1:])
    smooth = [gaussian_filter1d(shot, SMOOTHING_S * fps, axis=0, mode="nearest") for shot in shots]
    return np.rint(np.concatenate(smooth)).astype(np.int64)


def crop_of(picture: Image, region: Region, size_px: int) -> Image:
    """Cuts a region from a picture, black outside of it, and resizes it to a square."""
    if region != (0, 0, picture.shape[1], picture.shape[0]):
        picture = cut_square(picture, region.left, region.top, region.width)
    return resize(picture, size_px, size_px, shrinking=max(picture.shape[:2]) > size_px)


def portrait_of(frames: Iterator[Image], chosen: str | int, name: str) -> Image:
    """Returns the frame of a video that is the portrait: the first, the sharpest, or one by its number, from 0.

    The sharpest has the largest variance of the Laplacian at a height of 360 px.

    Raises:
        UserError: there are too few frames.
    """
    if chosen == SHARPEST:
        best = max(((sharpness(frame), -number, frame) for number, frame in enumerate(frames)), default=None)
        if best is not None:
            return best[2]
    number, seen = chosen if isinstance(chosen, int) else 0, 0
    for seen, frame in enumerate(frames, 1):
        if seen > number:
            return frame
    raise UserError(f"{name} has {seen} frames, so there is no frame {number}, counted from 0; give another frame")


def sharpness(frame: Image) -> float:
    """Returns the variance of the Laplacian."""
    width = max(1, round(frame.shape[1] * SHARPNESS_PX / frame.shape[0]))
    grey = cv2.cvtColor(cv2.resize(frame, (width, SHARPNESS_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def check_frame(chosen: object) -> None:
    """Raises a UserError for a frame that is none."""
    if chosen not in (FIRST, SHARPEST) and (not isinstance(chosen, int) or isinstance(chosen, bool) or chosen < 0):
        raise UserError(f"frame={printable(chosen)} must be {FIRST}, {SHARPEST}, or the number of a frame, from 0")
