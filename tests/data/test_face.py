import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from landmarks.pictures import ADMIRAL, ASTRONAUT, picture

from float_research.data.cropping import Box, Calibration, at_detection_height, crop_face
from float_research.data.face import (
    SELECTORS,
    SFD_FILE,
    Auto,
    Dlib,
    FaceCropper,
    Landmarker,
    Mtcnn,
    NoCrop,
    Sfd,
    select_face,
)
from float_research.data.image import read_image
from float_research.data.originals import region_of
from float_research.errors import UserError
from float_research.types import Image

OFFICIAL = {"margin": 1.6, "min_score": 0.95, "select": "first"}
LANDMARKER = Landmarker(**{**OFFICIAL, "min_score": 0.5})
FOUND_BY = {"mtcnn": Mtcnn(**OFFICIAL), "landmarker": LANDMARKER, "dlib": Dlib(**{**OFFICIAL, "min_score": 0.5})}


@pytest.fixture(scope="module")
def astronaut(portrait: Path) -> Image:
    return read_image(portrait, "black")


@pytest.fixture(scope="module")
def s3fd_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of seeded weights in S3FD's architecture, which detects nothing meaningful."""
    from face_alignment.detection.sfd.net_s3fd import s3fd

    path = tmp_path_factory.mktemp("s3fd") / SFD_FILE
    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), path)
    return path


@pytest.mark.parametrize("cropper", FOUND_BY.values(), ids=FOUND_BY)
def test_detectors_find_the_astronaut(cropper: FaceCropper, astronaut: Image) -> None:
    crop, facts = cropper(astronaut, 128)
    assert crop.shape == (128, 128, 3)
    centre = (facts["left"] + facts["right"]) / 2 * 512 / 360, (facts["top"] + facts["bottom"]) / 2 * 512 / 360
    assert np.hypot(centre[0] - 224, centre[1] - 115) < 25, "her face is at (224, 115) of 512"
    assert facts["detector"] == cropper.name
    assert facts["num_faces"] == 1
    region = region_of(facts)
    assert region is not None
    shrunk = astronaut[region.top : region.top + region.height, region.left : region.left + region.width]
    assert np.array_equal(crop, cv2.resize(shrunk, (128, 128), interpolation=cv2.INTER_AREA)), "the region of the crop"


def test_a_calibration_makes_a_square_in_units_of_the_half_side() -> None:
    calibrated = Calibration(1.5, right=0.1, down=-0.2)(Box(10, 20, 50, 100, 0.9))
    assert calibrated == pytest.approx((30 + 4 - 60, 60 - 8 - 60, 30 + 4 + 60, 60 - 8 + 60, 0.9))


@pytest.mark.parametrize("name", ["astronaut", "admiral"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_detectors_cut_the_same(name: str, mirrored: bool) -> None:
    image = picture({"astronaut": ASTRONAUT, "admiral": ADMIRAL}[name])
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    boxes = {detector: np.array(cropper.find(image)[0][:4]) for detector, cropper in FOUND_BY.items()}
    half = {detector: (box[2] - box[0]) / 2 for detector, box in boxes.items()}
    centre = {detector: (box[:2] + box[2:]) / 2 for detector, box in boxes.items()}
    for detector, tolerance in (("landmarker", 0.1), ("dlib", 0.25)):
        assert half[detector] / half["mtcnn"] == pytest.approx(1, abs=tolerance)
        assert np.abs(centre[detector] - centre["mtcnn"]).max() < tolerance * half["mtcnn"]


def test_no_face_is_a_clear_error() -> None:
    grey = np.full((200, 300, 3), 127, np.uint8)
    with pytest.raises(UserError, match=r"no face found by mtcnn.*face=none"):
        Mtcnn(**OFFICIAL)(grey, 64)


def test_a_low_score_is_named(astronaut: Image) -> None:
    with pytest.raises(UserError, match=r"score above 0\.99999 \(best score 1\)"):
        Mtcnn(**{**OFFICIAL, "min_score": 0.99999})(astronaut, 64)


def test_one_of_several_faces_is_selected_by_setting() -> None:
    small = Box(10, 10, 30, 30, 0.96)
    large = Box(200, 200, 300, 320, 0.97)
    central = Box(300, 150, 340, 200, 0.98)
    sure = Box(500, 20, 540, 60, 0.99)
    boxes = [small, large, central, sure]
    chosen = {name: select(boxes, 640) for name, select in SELECTORS.items()}
    assert chosen == {"first": small, "largest": large, "surest": sure, "central": central}
    with pytest.raises(UserError, match=r"face\.select=last"):
        Mtcnn(**{**OFFICIAL, "select": "last"})


def test_two_faces_side_by_side(astronaut: Image) -> None:
    face = astronaut[:300, 100:400]
    both = np.concatenate([cv2.resize(face, (150, 150)), np.zeros((150, 20, 3), np.uint8), face[:150, :300]], axis=1)
    both = np.concatenate([both, np.zeros((150, both.shape[1], 3), np.uint8)])
    both[:300, 170:470] = face
    facts = Mtcnn(**{**OFFICIAL, "select": "largest"})(both, 64)[1]
    assert facts["num_faces"] == 2
    assert facts["left"] > 170 * 360 / 300


def test_the_crop_is_black_outside_the_image(astronaut: Image) -> None:
    crop = crop_face(np.full_like(astronaut, 255), Box(0, 0, 100, 100, 1.0), margin=1.6, size_px=64)
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[-1, -1].tolist() == [255, 255, 255]
    assert at_detection_height(astronaut).shape == (360, 360, 3)


@pytest.mark.parametrize("box", [(0, 0, 90, 90), (300, 250, 420, 360), (100, 80, 180, 170), (-40, -30, 60, 90)])
def test_only_the_crop_is_copied(box: tuple[float, ...], astronaut: Image) -> None:
    """Compares the pixels with the official method, which cuts from a padded copy of the image."""
    scale = 360 / len(astronaut)
    left, top, right, bottom = (int(value / scale) for value in box)
    radius = int(max(int((right - left) / 2), int((bottom - top) / 2)) * 1.6)
    x, y = int((left + right) / 2), int((top + bottom) / 2)
    padded = np.pad(astronaut, ((radius, radius), (radius, radius), (0, 0)))[y : y + 2 * radius, x : x + 2 * radius]
    crop = crop_face(astronaut, Box(*box, score=1.0), margin=1.6, size_px=64)
    assert np.array_equal(crop, cv2.resize(padded, (64, 64), interpolation=cv2.INTER_AREA))


def test_no_crop_keeps_the_whole_image(astronaut: Image) -> None:
    whole, facts = NoCrop()(astronaut[:, :256], 64)
    assert whole.shape == (64, 64, 3)
    assert facts["detector"] == "none"
    assert region_of(facts) == (0, 0, 256, 512)


def test_sfd_loads_its_weights_file(astronaut: Image, s3fd_weights: Path) -> None:
    boxes = Sfd(**{**OFFICIAL, "min_score": -1.0}, weights=str(s3fd_weights)).detect(at_detection_height(astronaut))
    assert isinstance(boxes, list)
    with pytest.raises(UserError, match=r"missing\.pth does not exist"):
        Sfd(**OFFICIAL, weights="missing.pth").detect(astronaut)


def test_sfd_accepts_only_the_published_download(
    astronaut: Image, s3fd_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, path: str, hash_prefix: str) -> None:
        assert len(hash_prefix) == 64
        shutil.copy(s3fd_weights, path)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    found = [Sfd(**OFFICIAL, weights=None) for _ in range(2)] + [Auto(**OFFICIAL, weights=None, fallback=LANDMARKER)]
    for detector in found:  # downloaded, then found twice
        with pytest.raises(UserError, match=r"s3fd-619a316812\.pth is not the published file"):
            detector.detect(astronaut)


def test_sfd_rejects_other_weights(astronaut: Image, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not contain the weights of S3FD"):
        Sfd(**OFFICIAL, weights=str(tmp_path / "other.pth")).detect(astronaut)


def test_auto_logs_its_detector(
    s3fd_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "float_research")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for _run in range(2):
        assert Auto(**OFFICIAL, weights=None, fallback=LANDMARKER).name == "landmarker"
    assert Auto(**OFFICIAL, weights=str(s3fd_weights), fallback=LANDMARKER).name == "sfd"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / SFD_FILE).write_bytes(b"")
    assert Auto(**OFFICIAL, weights=None, fallback=LANDMARKER).name == "sfd"
    assert [record.message.split()[2] for record in caplog.records] == ["landmarker", "sfd", "sfd"]


def test_auto_hands_its_settings_to_the_fallback(
    astronaut: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    auto = Auto(margin=2.0, min_score=0.95, select="largest", weights=None, fallback=LANDMARKER)
    own = Landmarker(margin=2.0, min_score=0.5, select="largest")
    assert auto.state == own.state
    assert auto(astronaut, 64)[1] == own(astronaut, 64)[1]
    with pytest.raises(UserError, match="face 1 does not exist: landmarker found 1"):
        select_face(auto, 1)(astronaut, 64)
