"""Pictures that stand for a video: a sheet of its frames, and an animation without sound."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Pictures
from PIL.Image import Image as Picture

from float_research.errors import UserError
from float_research.files import whole
from float_research.video.reader import probe, read_frames

GAP_PX = 2


def contact_sheet(video: Path, path: Path, *, rows: int, columns: int) -> Path:
    """`rows × columns` frames at even distances, first and last included, in reading order."""
    frames = evenly(video, rows * columns)
    width, height = frames[0].size
    sheet = Pictures.new("RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX), "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        sheet.paste(frame, (column * (width + GAP_PX), row * (height + GAP_PX)))
    with whole(path) as part:
        sheet.save(part, format="PNG", optimize=True)
    return path


def animation(video: Path, path: Path, *, every: int, quality: int) -> Path:
    """Every `every`-th frame as an endless animated WebP, at the video's speed. `quality`: 0 to 100."""
    frames = _pictures(video)[::every]
    settings = {"duration": round(1000 * every / probe(video).fps), "loop": 0, "quality": quality, "method": 6}
    with whole(path) as part:
        frames[0].save(part, format="WEBP", save_all=True, append_images=frames[1:], **settings)
    return path


def _pictures(video: Path) -> list[Picture]:
    if not video.is_file():
        raise UserError(f"video {video} does not exist; give the path of an MP4 file")
    return [Pictures.fromarray(frame) for frame in read_frames(video)]


def evenly(video: Path, num: int) -> Sequence[Picture]:
    """`num` frames at even distances, first and last included; some come twice where the video has fewer."""
    frames = _pictures(video)
    return [frames[round(i * (len(frames) - 1) / max(num - 1, 1))] for i in range(num)]
