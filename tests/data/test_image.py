from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from float_research.data.image import read_image, to_tensor
from float_research.errors import UserError

TOP, BOTTOM = (250, 10, 20), (5, 200, 90)


@pytest.fixture
def halves() -> np.ndarray:
    """Writes an image of 40 × 20 px whose upper half has one colour."""
    image = np.empty((20, 40, 3), np.uint8)
    image[:10], image[10:] = TOP, BOTTOM
    return image


def test_png_is_read_exactly(halves: np.ndarray, tmp_path: Path) -> None:
    PillowImage.fromarray(halves).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", "black"), halves)


def test_exif_orientation_is_applied(halves: np.ndarray, tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90° clockwise
    PillowImage.fromarray(halves).save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = read_image(tmp_path / "a.jpg", "black")
    assert turned.shape == (40, 20, 3)
    assert np.abs(turned[20, 17].astype(int) - TOP).max() < 12, "the top is now on the right"


@pytest.mark.parametrize(("background", "expected"), [("white", 227), ("black", 100), ("#ff0000", (227, 100, 100))])
def test_transparency_is_blended(background: str, expected: object, tmp_path: Path) -> None:
    PillowImage.new("RGBA", (4, 4), (200, 200, 200, 128)).save(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png", background)[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "I;16", "1"])
def test_every_mode_is_converted_to_rgb(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = PillowImage.fromarray(np.full((5, 6), 0x8000, np.uint16))
    else:
        grey = PillowImage.new("RGB", (6, 5), (128, 128, 128))
        image = grey.quantize() if mode == "P" else grey.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    read = read_image(path, "black")
    assert read.shape == (5, 6, 3)
    assert read.dtype == np.uint8
    if mode != "1":
        assert np.abs(read.astype(int) - 128).max() <= 1


def test_the_tensor_is_square_in_minus_one_to_one(halves: np.ndarray) -> None:
    tensor = to_tensor(halves, 8)
    assert tensor.shape == (3, 8, 8)
    assert tensor[:, 0, 0].tolist() == pytest.approx([value / 127.5 - 1 for value in TOP])
    assert tensor[:, -1, -1].tolist() == pytest.approx([value / 127.5 - 1 for value in BOTTOM])


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"0" * 30])
def test_files_that_are_not_images_are_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        read_image(tmp_path / "a.png", "black")


def test_a_truncated_image_is_rejected(tmp_path: Path) -> None:
    PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        read_image(tmp_path / "a.png", "black")
    with pytest.raises(UserError, match="does not exist"):
        read_image(tmp_path / "b.png", "black")


def test_a_colour_must_be_valid(halves: np.ndarray, tmp_path: Path) -> None:
    PillowImage.new("RGBA", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="not a colour"):
        read_image(tmp_path / "a.png", "blurple")
