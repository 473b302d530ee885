"""Previews of a video: a contact sheet of its frames, and an animation without sound."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL.Image import Image as Picture

from float_research.errors import UserError, named
from float_research.files import whole
from float_research.texts import count
from float_research.video.reader import count_frames, probe, read_frames

GAP_PX = 2
MAX_SIDE_PX = 1024
"""The longer side of a frame on a contact sheet, which keeps many of them in memory."""
MAX_PIXELS = 200_000_000
"""Limit on the pixels of all frames of an animation: about 800 MB."""


def contact_sheet(video: Path, path: Path, *, rows: int, columns: int, landmarks: bool = False) -> Path:
    """Writes `rows × columns` evenly spaced frames, including the first and the last, in reading order."""
    frames = evenly(video, rows * columns)
    if landmarks:
        frames = with_landmarks(video, frames)
    width, height = frames[0].size
    sheet = Pictures.new("RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX), "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        sheet.paste(frame, (column * (width + GAP_PX), row * (height + GAP_PX)))
    with whole(path) as part:
        sheet.save(part, format="PNG", optimize=True)
    return path


def animation(video: Path, path: Path, *, every: int, quality: int, landmarks: bool = False) -> Path:
    """Writes every `every`-th frame as a looping animated WebP, at the video's speed. `quality`: 0 to 100."""
    settings = {"duration": round(1000 * every / probe(video).fps), "loop": 0, "quality": quality, "method": 6}
    frames: list[Picture] = []
    num_pixels = 0
    for frame in islice(read_frames(video), 0, None, every):
        frames.append(Pictures.fromarray(frame))
        num_pixels += frame.shape[0] * frame.shape[1]
        if num_pixels > MAX_PIXELS:
            raise UserError(f"{named('video', video)} is too long for an animation; use fewer frames with --every")
    if not frames:
        raise UserError(f"{named('video', video)} has no frames; give another")
    if landmarks:
        frames = with_landmarks(video, frames)
    with whole(path) as part:
        frames[0].save(part, format="WEBP", save_all=True, append_images=frames[1:], **settings)
    return path


def with_landmarks(video: Path, frames: Sequence[Picture]) -> list[Picture]:
    """Draws the landmarks of a video's face on some of its frames. Raises a UserError if no frame has a face."""
    from float_research.landmarks.drawing import drawn
    from float_research.landmarks.landmarker import face_landmarker

    images = np.stack([np.asarray(frame) for frame in frames])
    seen = face_landmarker().landmarks(images)
    if not seen.found.any():
        raise UserError(f"{named('video', video)} has no face in {count(len(frames), 'frame')}; leave out --landmarks")
    return [Pictures.fromarray(image) for image in drawn(images, seen)]


@dataclass(frozen=True, kw_only=True)
class Gif:
    """Encodes every `every`-th frame of a video as a looping GIF, at most `size_px` high, `num_frames` at most."""

    every: int
    size_px: int
    num_frames: int

    def __call__(self, video: Path, /) -> bytes:
        frames, content = [], io.BytesIO()
        for frame in islice(read_frames(video), 0, self.every * self.num_frames, self.every):
            picture = Pictures.fromarray(frame)
            picture.thumbnail((10 * self.size_px, self.size_px))
            frames.append(picture)
        if not frames:
            raise UserError(f"{named('video', video)} has no frames; give another")
        pause_ms = round(1000 * self.every / probe(video).fps)
        frames[0].save(content, format="GIF", save_all=True, append_images=frames[1:], duration=pause_ms, loop=0)
        return content.getvalue()


def evenly(video: Path, num: int) -> Sequence[Picture]:
    """Reads `num` evenly spaced frames, including the first and the last; repeats some if the video has fewer.

    Frames of more than `MAX_SIDE_PX` are reduced.
    """
    last = count_frames(video) - 1
    if last < 0:
        raise UserError(f"{named('video', video)} has no frames; give another")
    wanted = [round(i * last / max(num - 1, 1)) for i in range(num)]
    numbers = set(wanted)
    shown = {}
    for number, frame in enumerate(read_frames(video)):
        if number in numbers:
            shown[number] = Pictures.fromarray(frame)
            shown[number].thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return [shown[number] for number in wanted]
