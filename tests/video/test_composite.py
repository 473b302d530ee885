from collections.abc import Mapping
from itertools import repeat
from typing import Any

import cv2
import numpy as np
import pytest

from float_research.errors import UserError
from float_research.types import Image, Original, Region
from float_research.video.composite import Beside, Composer, NoComposite, Paste, even, seam_of

PASTE = {"feather": 0.15, "colour": "shift", "megapixels": 9.5}
SIZE_PX = 64


def picture(width: int, height: int) -> Image:
    """Smooth colours with some texture."""
    rng = np.random.default_rng(width)
    coarse = rng.integers(40, 215, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)


def cut(whole: Image, region: Region) -> Image:
    """The crop as croppers make it, black outside of the picture."""
    padded = np.pad(whole, ((200, 200), (200, 200), (0, 0)))
    rows = slice(region.top + 200, region.top + 200 + region.height)
    square = padded[rows, region.left + 200 : region.left + 200 + region.width]
    return cv2.resize(square, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)


def pasting(whole: Image, region: Region, **settings: Any) -> tuple[Composer, Image]:
    """A composer, and the crop that its frames would show at rest."""
    original = Original(picture=whole, region=region, crop=cut(whole, region))
    return Paste(**{**PASTE, **settings}).open(lambda: repeat(original), SIZE_PX), original.crop


INSIDE, BEYOND, SMALL = Region(60, 40, 100, 100), Region(-30, 70, 120, 120), Region(100, 20, 40, 40)


@pytest.mark.parametrize("colour", [None, "shift", "poisson"])
@pytest.mark.parametrize("region", [INSIDE, BEYOND, SMALL, Region(-20, -20, 300, 300)])
def test_only_the_crop_changes_and_fades_out_at_its_edge(region: Region, colour: str | None) -> None:
    whole = picture(201, 151)
    composer, crop = pasting(whole, region, colour=colour)
    made, kept = composer(255 - crop), even(whole)
    assert made.shape == kept.shape == (150, 200, 3)
    assert composer.size == (200, 150)
    assert composer.facts == {"kind": "paste", "width": 200, "height": 150}
    outside = np.ones(kept.shape[:2], bool)
    seam = seam_of(region, 200, 150, PASTE["feather"])
    outside[seam.top : seam.bottom, seam.left : seam.right] = False
    assert np.array_equal(made[outside], kept[outside])
    opacity = np.zeros(kept.shape[:2])
    opacity[seam.top : seam.bottom, seam.left : seam.right] = seam.opacity(slice(seam.top, seam.bottom))[..., 0]
    assert opacity.max() == pytest.approx(1, abs=0.01)
    change = np.abs(made.astype(int) - kept).mean(2)
    assert change[(opacity > 0) & (opacity < 0.02)].max() < 6, "the outermost pixels"
    assert change[opacity > 0.9].mean() > 20
    assert np.array_equal(whole, picture(201, 151)), "the picture of the next frame"


@pytest.mark.parametrize("region", [INSIDE, BEYOND])
def test_a_face_at_rest_gives_the_picture_back(region: Region) -> None:
    whole = cv2.GaussianBlur(picture(200, 150), (0, 0), 3)
    composer, crop = pasting(whole, region)
    assert np.abs(composer(crop).astype(int) - whole).max() <= 4, "resampled twice, but not moved"


def test_a_shift_of_colours_is_matched() -> None:
    whole = cv2.GaussianBlur(picture(200, 150), (0, 0), 2).clip(60, 190)
    for colour, near in ((None, False), ("shift", True), ("poisson", True)):
        composer, crop = pasting(whole, INSIDE, colour=colour)
        error = np.abs(composer(crop + np.array([30, 10, 20], np.uint8)).astype(int) - composer(crop)).max()
        assert (error <= 2) == near, (colour, error)


@pytest.mark.parametrize("colour", ["shift", "poisson"])
def test_the_edge_does_not_flicker_while_the_head_moves(colour: str) -> None:
    """A dark disc sways, and its frames are noisy."""
    whole = cv2.GaussianBlur(picture(200, 150), (0, 0), 2)
    composer, crop = pasting(whole, INSIDE, colour=colour)
    rng = np.random.default_rng(0)
    frames = []
    for t in range(12):
        noisy = (crop + rng.normal(0, 2, crop.shape)).clip(0, 255).astype(np.uint8)
        frames.append(composer(cv2.circle(noisy, (32 + round(6 * np.sin(t)), 32), 12, (20, 20, 20), -1)).astype(int))
    change = np.abs(np.diff(np.stack(frames), axis=0)).mean((0, 3))[40:140, 60:160]
    opacity = seam_of(INSIDE, 200, 150, PASTE["feather"]).opacity(slice(40, 140))[..., 0]
    assert change[opacity < 0.1].mean() < 0.1
    assert change[opacity > 0.9].mean() > 1


def test_an_image_that_is_a_crop_already_is_the_square() -> None:
    whole = picture(96, 128)
    composer, crop = pasting(whole, Region(0, 0, 96, 128))
    assert composer(crop) is crop
    assert composer.facts is None
    assert composer.size == (SIZE_PX, SIZE_PX)
    none = NoComposite().open(lambda: repeat(Original(picture=whole, region=None, crop=crop)), SIZE_PX)
    assert none(crop) is crop


def test_each_frame_may_have_a_picture_and_a_region_of_its_own() -> None:
    """As a tracked crop of a source video would."""
    wholes, regions = [picture(200, 150), picture(200, 150)[::-1].copy()], [INSIDE, Region(80, 30, 100, 100)]
    crops = [cut(whole, region) for whole, region in zip(wholes, regions, strict=True)]
    originals = [
        Original(picture=whole, region=region, crop=crop)
        for whole, region, crop in zip(wholes, regions, crops, strict=True)
    ]
    composer = Paste(**PASTE).open(lambda: iter(originals), SIZE_PX)
    for whole, region, crop in zip(wholes, regions, crops, strict=True):
        assert np.array_equal(composer(crop), pasting(whole, region)[0](crop))


def test_input_output_and_difference_are_side_by_side() -> None:
    crop = picture(SIZE_PX, SIZE_PX)
    composer = Beside(gain=2.0).open(lambda: repeat(Original(picture=crop, region=None, crop=crop)), SIZE_PX)
    frame = crop.copy()
    frame[10, 10] = crop[10, 10] // 2
    shown = composer(frame)
    assert composer.size == (192, 64)
    assert shown.shape == (64, 192, 3)
    assert np.array_equal(shown[:, :64], crop)
    assert np.array_equal(shown[:, 64:128], frame)
    assert np.array_equal(shown[10, 138], 2 * (crop[10, 10] - frame[10, 10]).clip(0, 127))
    assert np.count_nonzero(shown[:, 128:].any(2)) == 1


FACE = {"picture_width": 4000, "picture_height": 3000, **{f"crop_{name}": 100 for name in Region._fields}}

SMALL_PICTURE = {**FACE, "picture_width": 400, "picture_height": 300}


@pytest.mark.parametrize(
    ("face", "sentence"),
    [
        ({"detector": "mine"}, r"mine does not say which region .* use composite=none, or another face"),
        (FACE, r"4000 × 3000 pixels is above composite\.megapixels=9\.5; make it smaller"),
        ({**SMALL_PICTURE, "crop_left": 395}, r"less than 16 × 16 pixels of the picture, too few to paste back"),
        ({**SMALL_PICTURE, "crop_left": 900}, r"less than 16 × 16 pixels"),
        ({**FACE, "picture_width": 12}, r"12 × 3000 pixels is below 16"),
    ],
)
def test_faces_that_cannot_be_pasted_are_refused(face: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Paste(**PASTE).check(face)
    Paste(**PASTE).check(SMALL_PICTURE)
    NoComposite().check(face)
    Beside(gain=1).check(face)


def test_a_large_face_crop_is_no_large_picture() -> None:
    Paste(**PASTE).check({**FACE, "crop_left": 0, "crop_top": 0, "crop_width": 4000, "crop_height": 3000})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"feather": 0}, r"composite\.feather=0 must be above 0 and at most 0\.5"),
        ({"feather": float("nan")}, r"composite\.feather=nan"),
        ({"colour": "lab"}, r"composite\.colour=lab must be one of shift, poisson, or null"),
        ({"megapixels": -1}, r"composite\.megapixels=-1 must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Paste(**{**PASTE, **settings})


def test_the_gain_must_be_positive() -> None:
    with pytest.raises(UserError, match=r"composite\.gain=0 must be above 0"):
        Beside(gain=0)
