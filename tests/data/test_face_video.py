"""Videos of a face: shots, crops that stay or follow, and the frame that is the portrait."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from float_research.data.cropping import placed
from float_research.data.face import NoCrop
from float_research.data.face_video import FaceVideo, check_frame, crop_of, is_video, locate, portrait_of
from float_research.errors import UserError
from float_research.types import Image, Region

WIDTH, HEIGHT, SIDE, FPS = 96, 64, 24, 25.0


def scene(x: float, *, wall: int = 40, face: bool = True) -> Image:
    """A bright square as a face, its centre at x."""
    picture = np.full((HEIGHT, WIDTH, 3), wall, np.uint8)
    if face:
        left = round(x) - SIDE // 4
        picture[20:32, left : left + SIDE // 2] = 250
    return picture


@dataclass(frozen=True)
class Bright:
    """Crops around the brightest square of a picture."""

    state: Mapping[str, Any]

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        columns = np.flatnonzero((image[..., 0] > 240).any(0))
        if not len(columns):
            raise UserError("no face found")
        x = int(columns.min() + columns.max() + 1) // 2
        region = Region(x - SIDE // 2, 14, SIDE, SIDE)
        return crop_of(image, region, size_px), {"detector": "bright", **placed(image, region)}

    def lock(self, image: Image, size_px: int, /) -> Callable[[Image], Image]:
        raise NotImplementedError


def found(frames: list[Image], *, follow: bool, cropper: Any = None) -> Any:
    return locate(lambda: iter(frames), cropper or Bright({}), 16, fps=FPS, follow=follow, name="video a.mp4")


def test_a_crop_that_does_not_follow_is_that_of_the_first_frame_of_a_shot() -> None:
    frames = [*(scene(30 + n) for n in range(8)), *(scene(60 - n, wall=160) for n in range(5))]
    regions = found(frames, follow=False)
    assert regions.starts == [0, 8]
    assert regions.rows.tolist() == [[18, 14, SIDE, SIDE]] * 8 + [[48, 14, SIDE, SIDE]] * 5
    assert regions.face["crop_left"] == 18
    video = FaceVideo(
        path=Path("a.mp4"), fps=FPS, size_px=16, read=lambda: iter(frames), regions=regions, key={"video": "a"}
    )
    assert video.notes() == [
        "video a.mp4 has 2 shots, each with a crop of its own: 0.00 s to 0.32 s at 18,14,42,38; 0.32 s to 0.52 s at "
        "48,14,72,38"
    ]
    originals = video()
    seen = [next(originals) for _ in range(15)]
    assert (len(video), [np.array_equal(one.picture, frames[-1]) for one in seen[12:]]) == (13, [True] * 3)
    np.testing.assert_array_equal(seen[8].crop, crop_of(frames[8], seen[8].region, 16))


def test_a_crop_that_follows_is_smooth_and_not_across_cuts() -> None:
    shake = [2 * (n % 2) for n in range(30)]
    frames = [*(scene(30 + n + shake[n]) for n in range(30)), *(scene(40, wall=160) for _ in range(6))]
    regions = found(frames, follow=True)
    lefts = regions.rows[:, 0]
    wanted = 30 + np.arange(30) + 1 - SIDE // 2
    assert np.abs(lefts[8:22] - wanted[8:22]).max() <= 1
    assert set(np.diff(lefts[8:22]).tolist()) <= {0, 1, 2}, "it does not shake"
    assert set(lefts[30:].tolist()) == {28}


def test_a_face_that_is_lost_or_elsewhere_leaves_the_crop_where_it_was() -> None:
    both = scene(30)
    both[20:32, 70:82] = 0
    away = scene(80)
    frames = [scene(30)] * 4 + [scene(30, face=False), away, both] + [scene(30)] * 4
    assert set(found(frames, follow=True).rows[:, 0].tolist()) == {18}


def test_one_that_keeps_the_whole_picture_cuts_it_as_it_crops() -> None:
    frames = [scene(30), scene(31)]
    regions = found(frames, follow=True, cropper=NoCrop())
    assert regions.rows.tolist() == [[0, 0, WIDTH, HEIGHT]] * 2
    np.testing.assert_array_equal(crop_of(frames[0], Region(*regions.rows[0]), 16), NoCrop()(frames[0], 16)[0])


class Vague(Bright):
    """Does not say where it cropped."""

    def __call__(self, image: Image, size_px: int, /) -> tuple[Image, Mapping[str, Any]]:
        return image, {}


@pytest.mark.parametrize(
    ("frames", "cropper", "message"),
    [
        ([scene(30, face=False)] * 3, None, "video a.mp4 at 0.00 s: no face found"),
        ([scene(30)] * 4 + [scene(30, wall=200, face=False)] * 3, None, "video a.mp4 at 0.16 s: no face found"),
        ([scene(30)], None, "video a.mp4 is shorter than 2 frames at 25 frames/s; give a longer one"),
        ([], None, "video a.mp4 is shorter than 2 frames"),
        ([scene(30)] * 2, Vague({}), "does not say which region it cropped; use another face"),
    ],
)
@pytest.mark.parametrize("follow", [True, False])
def test_bad_videos_are_told_in_a_sentence(frames: list[Image], cropper: Any, message: str, follow: bool) -> None:
    with pytest.raises(UserError, match=message):
        found(frames, follow=follow, cropper=cropper)


def test_the_portrait_is_the_first_the_sharpest_or_one_by_number() -> None:
    sharp = cv2.randu(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0, 255)
    frames = [cv2.blur(sharp, (9, 9)), sharp, cv2.blur(sharp, (3, 3))]

    def pictured(chosen: str | int) -> int:
        return next(n for n, frame in enumerate(frames) if frame is portrait_of(iter(frames), chosen, "video a.mp4"))

    assert [pictured(chosen) for chosen in ("first", "sharpest", 0, 2)] == [0, 1, 0, 2]
    with pytest.raises(UserError, match="has 3 frames, so there is no frame 3, counted from 0; give another frame"):
        portrait_of(iter(frames), 3, "video a.mp4")
    for chosen in ("first", "sharpest"):
        with pytest.raises(UserError, match=r"video a\.mp4 has 0 frames"):
            portrait_of(iter([]), chosen, "video a.mp4")


@pytest.mark.parametrize("chosen", ["last", -1, True, 1.5])
def test_other_frames_are_refused(chosen: Any) -> None:
    with pytest.raises(UserError, match=r"frame=.* must be first, sharpest, or the number of a frame, from 0"):
        check_frame(chosen)


def pictures(folder: Path) -> Iterator[Path]:
    for suffix in ("gif", "avif", "png"):
        path = folder / f"a.{suffix}"
        PillowImage.new("RGB", (32, 32)).save(path)
        yield path


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    assert not any(map(is_video, pictures(tmp_path)))
    assert not is_video(tmp_path)
    assert not is_video(tmp_path / "none.mp4")
