"""Frame metrics with known results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from subjects import subject, watched

from float_research.metrics.flicker import Flicker
from float_research.metrics.optical_flow import OpticalFlow
from float_research.metrics.sharpness import Sharpness
from float_research.metrics.similarity import Similarity
from float_research.types import Image

SIZE_PX = 192


@pytest.fixture(scope="module")
def texture() -> Image:
    """Returns a smooth periodic pattern, which can be shifted cyclically."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE_PX, SIZE_PX, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.tile(noise, (3, 3, 1)), (0, 0), 4)[SIZE_PX : 2 * SIZE_PX, SIZE_PX : 2 * SIZE_PX]
    smooth -= smooth.min()
    return (smooth * 255 / smooth.max()).astype(np.uint8)


def shifted(image: Image, pixels: int) -> Image:
    return np.roll(image, pixels, axis=1)


def test_a_frozen_video_neither_flickers_nor_flows(texture: Image) -> None:
    assert watched(Flicker(), [texture] * 10).metrics == {"flicker": 0}
    assert watched(OpticalFlow(), [texture] * 10).metrics == pytest.approx(
        {"flow_px": 0, "flow_change_px": 0}, abs=0.01
    )


def test_flicker_is_the_mean_difference_across_batches_too() -> None:
    dark, light = (np.full((32, 32, 3), level, dtype=np.uint8) for level in (100, 110))
    found = watched(Flicker(), [dark, light] * 5, batch=3)
    assert found.metrics["flicker"] == 10
    assert np.isnan(found.traces["flicker"][0])
    assert found.traces["flicker"][1:].tolist() == [10] * 9
    assert watched(Flicker(), [dark]).absent == {"flicker": "needs two frames, and the clip has 1"}


def test_flow_change_is_small_for_a_steady_shift_and_large_for_a_shaking_one(texture: Image) -> None:
    steady = watched(OpticalFlow(), [shifted(texture, 2 * i) for i in range(8)], batch=3).metrics
    shaking = watched(OpticalFlow(), [shifted(texture, 2 * (i % 2)) for i in range(8)]).metrics
    assert steady["flow_px"] == pytest.approx(2, rel=0.1)
    assert steady["flow_change_px"] < 0.2
    assert shaking["flow_px"] == pytest.approx(2, rel=0.1)
    assert shaking["flow_change_px"] == pytest.approx(4, rel=0.1)


def test_sharpness_is_the_laplacians_variance_and_falls_with_blur(texture: Image) -> None:
    chessboard = np.tile(np.array([[0, 255], [255, 0]], dtype=np.uint8), (16, 16))
    found = watched(Sharpness(), [np.repeat(chessboard[..., None], 3, axis=2)] * 3)
    assert found.metrics["sharpness"] == (4 * 255) ** 2, "the kernel 0 1 0, 1 -4 1, 0 1 0 gives ± 4 · 255"
    values = [watched(Sharpness(), [cv2.GaussianBlur(texture, (0, 0), s)]).metrics["sharpness"] for s in (0.1, 2, 5)]
    assert values == sorted(values, reverse=True)
    assert watched(Sharpness(), [np.zeros((32, 32, 3), dtype=np.uint8)]).metrics == {"sharpness": 0}


def compared(images: list[Image], others: list[Image], reference: Path, **changes: Any) -> Any:
    clip = subject(len(images), read=lambda path, fps: iter(others), **changes)
    return watched(Similarity(reference=str(reference)), images, clip)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"")
    return tmp_path / "clip.mp4"


def test_psnr_and_ssim_of_known_errors(texture: Image, video: Path) -> None:
    off = (texture // 2 + 60).astype(np.uint8)
    same = compared([texture] * 5, [texture] * 5, video)
    assert same.metrics == {"ssim": pytest.approx(1), "ms_ssim": pytest.approx(1)}
    assert same.absent == {"psnr_db": "every pixel is equal, so the ratio is infinite"}
    one = compared([off] * 4, [off + 10] * 2 + [off] * 2, video)
    assert one.metrics["psnr_db"] == pytest.approx(10 * np.log10(255**2 / 50)), "of the mean error, half of 10²"
    assert one.traces["psnr_db"][:2] == pytest.approx(10 * np.log10(255**2 / 100))
    assert np.isnan(one.traces["psnr_db"][2:]).all()
    negative = compared([texture], [255 - texture], video)
    assert negative.metrics["ssim"] < 0


def test_videos_of_other_lengths_and_sizes_are_compared(texture: Image, video: Path) -> None:
    large = cv2.resize(texture, (2 * SIZE_PX, 2 * SIZE_PX), interpolation=cv2.INTER_NEAREST)
    found = compared([texture] * 10, [large] * 5, video)
    assert found.metrics["ssim"] == pytest.approx(1)
    assert np.isfinite(found.traces["ssim"]).sum() == 5
    assert len(found.traces["ssim"]) == 10
    assert "has no frames" in compared([texture], [], video).absent["ssim"]


def test_small_frames_have_no_multiscale_similarity(texture: Image, video: Path) -> None:
    small = texture[:100, :100]
    found = compared([small], [small], video)
    assert found.absent["ms_ssim"] == "needs frames of more than 160 pixels"
    assert found.metrics["ssim"] == pytest.approx(1)


def test_the_reference_is_found_by_id(texture: Image, tmp_path: Path) -> None:
    asked = []

    def read(path: Path, fps: float) -> Iterator[Image]:
        asked.append(path)
        return iter([texture])

    def missing(reference: Path | str | None) -> str | None:
        metric = Similarity(reference=None if reference is None else str(reference))
        return watched(metric, [texture], subject(1, read=read)).absent.get("ssim")

    assert "metrics.similarity.reference=PATH" in str(missing(None))
    assert "has no video for clip clip" in str(missing(tmp_path))
    (tmp_path / "clip.mp4").write_bytes(b"")
    assert missing(tmp_path) is None
    assert missing(tmp_path / "clip.mp4") is None
    (tmp_path / "run" / "videos").mkdir(parents=True)
    (tmp_path / "run" / "record.json").write_text(json.dumps({"clips": [{"id": "clip", "video": "videos/other.mp4"}]}))
    assert "has no video for clip clip" in str(missing(tmp_path / "run"))
    (tmp_path / "run" / "videos" / "other.mp4").write_bytes(b"")
    assert missing(tmp_path / "run") is None
    (tmp_path / "run" / "record.json").write_text(json.dumps({"clips": [{"id": "clip", "video": "../clip.mp4"}]}))
    assert "is not a file inside" in str(missing(tmp_path / "run"))
    assert asked == [tmp_path / "clip.mp4"] * 2 + [tmp_path / "run" / "videos" / "other.mp4"]
