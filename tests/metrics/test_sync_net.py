"""SyncNet's protocol with random weights, since no package ships the real ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from subjects import subject, watched
from torch import Tensor

from float_research.data.examples import example
from float_research.data.image import read_image
from float_research.metrics import sync_net
from float_research.metrics.metric import Findings
from float_research.metrics.mfcc import mfcc
from float_research.metrics.sync_net import FaceTrack, SyncNet, crop
from float_research.metrics.sync_network import SyncNetwork, distances
from float_research.types import Image

RATE_HZ, SAMPLES = 16000, 640


def test_coefficients_are_those_of_python_speech_features() -> None:
    """Recorded from version 0.6: the third row of two tones, and silence."""
    t = np.arange(1600) / RATE_HZ
    tones = (np.sin(2 * np.pi * 440 * t) * 8000 + np.sin(2 * np.pi * 2000 * t) * 4000).astype(np.int16)
    rows = mfcc((tones / 32768).astype(np.float32), RATE_HZ)
    assert rows.shape == (9, 13)
    assert rows[2] == pytest.approx(
        [20.8196, 11.7844, -15.7684, 23.4084, 22.0855, -46.3933, -59.6659, -2.1, 14.2034, -6.8606, 18.3584, 46.3992,
         12.9636], abs=1e-3,
    )  # fmt: skip
    silence = mfcc(np.zeros(400, dtype=np.float32), RATE_HZ)
    assert silence[0] == pytest.approx([-36.0437] + [0] * 12, abs=1e-3)


@pytest.mark.parametrize("late", [-3, 0, 4])
def test_the_least_distance_is_at_the_planted_shift(late: int) -> None:
    sound = torch.randn(60, 1024, generator=torch.Generator().manual_seed(0))
    found = distances(sound.roll(late, 0), sound, 15)
    assert found.shape == (60, 31)
    assert 15 - int(found.mean(0).argmin()) == late
    assert found[20:40, 15 - late].max() < 0.01


def tone(levels: np.ndarray) -> np.ndarray:
    time = np.arange(len(levels) * SAMPLES)
    return (np.repeat(levels, SAMPLES) * np.sin(time * 0.7)).astype(np.float32)


LOG_LEVELS = np.random.default_rng(0).uniform(-2, 0, 100)


class Heard(torch.nn.Module):
    """Embeds lips by the brightness of their frames, and sound by its energy."""

    def lips(self, frames: Tensor) -> Tensor:
        return ((frames.mean((1, 2, 3, 4)) - 200) / 50)[:, None].repeat(1, 1024)

    def sound(self, rows: Tensor) -> Tensor:
        full = mfcc(tone(np.ones(3)), RATE_HZ)[4, 0]
        return ((rows[:, 0, 0].mean(1) - full) / 2)[:, None].repeat(1, 1024)


@pytest.mark.parametrize("late", [-2, 0, 5])
def test_shifted_lips_have_their_offset(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyncNet, "_network", Heard())
    monkeypatch.setattr(sync_net, "locate", lambda frames: np.tile([16.0, 16.0, 8.0], (len(frames.images), 1)))
    images = [np.full((32, 32, 3), round(200 + 50 * value), dtype=np.uint8) for value in np.roll(LOG_LEVELS, late)]
    found = sync(images, waveform=tone(np.exp(LOG_LEVELS)))
    assert found.metrics["sync_offset_frames"] == late
    assert found.metrics["lse_d"] < 4
    assert found.metrics["lse_c"] > 3
    assert np.isfinite(found.traces["sync_confidence"]).sum() == 95


def sync(images: list[Image], weights: str = __file__, **clip: object) -> Findings:
    return watched(SyncNet(weights=weights), images, subject(len(images), **clip), batch=7)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(SyncNetwork().state_dict(), path)
    return path


def test_real_faces_pass_through_the_published_network(weights: Path) -> None:
    """Seeded weights give meaningless but finite numbers, equal for both file formats."""
    photo = read_image(Path(example("photo")), "black")[:256, 96:352]
    waveform = tone(np.exp(LOG_LEVELS[:12]))
    found = sync([photo] * 12, str(weights), waveform=waveform)
    assert found.absent == {}
    assert found.metrics["lse_d"] > 0
    assert found.metrics["lse_c"] >= 0
    save_file(SyncNetwork().state_dict() | torch.load(weights), weights.with_suffix(".safetensors"))
    assert sync([photo] * 12, str(weights.with_suffix(".safetensors")), waveform=waveform).metrics == found.metrics


def test_the_published_weights_fit() -> None:
    """Checks the 13.6 million values, and the names of the first and the last layers."""
    shapes = {name: tuple(value.shape) for name, value in SyncNetwork().state_dict().items()}
    assert len(shapes) == 102
    assert sum(value.numel() for value in SyncNetwork().parameters()) == 13631616
    assert shapes["netcnnlip.0.weight"] == (96, 3, 5, 7, 7)
    assert shapes["netcnnlip.18.weight"] == (512, 256, 1, 6, 6)
    assert shapes["netcnnaud.18.weight"] == (512, 256, 5, 4)
    assert shapes["netfcaud.3.weight"] == shapes["netfclip.3.weight"] == (1024, 512)


def test_the_crop_follows_the_face_smoothly() -> None:
    """A face that jumps for one frame does not move the crop; where it is lost, neighbouring frames locate it."""
    boxes = [np.array([100.0, 100.0, 20.0])] * 30
    boxes[10], boxes[20] = np.array([150.0, 100.0, 60.0]), np.full(3, np.nan)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    track = FaceTrack()
    faces = [*track.add([image] * 30, np.stack(boxes)), *track.end()]
    assert len(faces) == 30
    assert all((face == crop(image, 100, 100, 20)).all() for face in faces)


def test_the_crop_is_the_published_one() -> None:
    """1 half side above the centre, 1.8 below, 1.4 to each side; grey outside the frame."""
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    image[80:136, 72:128] = 255
    assert crop(image, 100, 100, 20).min() == 255
    assert (crop(image, 0, 0, 20)[:80, :100] == 110).all()


def test_clips_that_cannot_be_scored_are_reported(weights: Path, tmp_path: Path) -> None:
    blank = [np.zeros((64, 64, 3), dtype=np.uint8)] * 10
    assert sync(blank, str(weights)).absent["lse_c"] == "no face was found around frame 0"
    assert "weights; give their file with metrics.sync_net.weights=FILE" in str(SyncNet(weights=None).lacks())
    assert "is defined for 25 frames/s" in sync(blank, str(weights), fps=30.0).absent["lse_d"]
    photo = [read_image(Path(example("photo")), "black")[:256, 96:352]] * 5
    assert sync(photo, str(weights)).absent["lse_c"] == "needs more than 5 frames, and the clip has 5"
    assert (
        sync(photo * 2, __file__).absent["lse_c"].endswith("get it again, or convert it to safetensors if you trust it")
    )
    torch.save({"netcnnaud.0.weight": torch.zeros(3)}, tmp_path / "other.model")
    assert "holds (3,) as netcnnaud.0.weight" in sync(photo * 2, str(tmp_path / "other.model")).absent["lse_c"]
