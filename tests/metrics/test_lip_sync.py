"""Lip sync of mouths that follow a sound, late or early."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from planted import moved, photo, plant, still
from subjects import subject, watched

from float_research.data.examples import asset
from float_research.landmarks.landmarker import Landmarks
from float_research.landmarks.points import LIPS_INNER_LOWER
from float_research.metrics.lip_sync import LipSync, audio_level
from float_research.metrics.metric import Findings
from float_research.metrics.reader_agreement import ReaderAgreement
from float_research.toyface.identity import sample_identities
from float_research.toyface.motion import MOTION
from float_research.toyface.reader import ToyMouth
from float_research.toyface.render import render
from float_research.types import Image

__all__ = ["photo", "still"]
FPS, RATE_HZ = 25.0, 16000


@dataclass(frozen=True)
class Grey:
    """Reads the brightness of a frame as its mouth opening."""

    def __call__(self, portrait: Image, /) -> Callable[[np.ndarray], np.ndarray]:
        return lambda images: images[:, 0, 0, 0] / 255


def sound(levels: np.ndarray) -> np.ndarray:
    """Returns a tone with these levels in consecutive frames."""
    samples = int(RATE_HZ / FPS)
    return (np.repeat(levels, samples) * np.sin(np.arange(len(levels) * samples) * 0.4)).astype(np.float32)


def spoken(levels: np.ndarray, late: int = 0, toy: bool = True) -> Findings:
    """Measures a mouth that opens with the level of `late` frames before."""
    opening = np.roll(levels, late)
    images = [np.full((8, 8, 3), round(255 * value), dtype=np.uint8) for value in opening]
    clip = subject(len(levels), waveform=sound(levels), toy=toy)
    return watched(LipSync(toy_mouth=Grey(), max_lag_frames=5), images, clip)


TOY_MOUTH = ToyMouth(file=asset("demo/reader.safetensors"))
LEVELS = np.random.default_rng(0).random(100)


@pytest.mark.parametrize("late", [-4, -1, 0, 2, 5])
def test_a_shifted_sound_gives_its_lag(late: int) -> None:
    found = spoken(LEVELS, late).metrics
    assert found["lip_lag_frames"] == late
    assert found["lip_correlation_at_lag"] > 0.99
    assert (found["lip_correlation"] > 0.99) is (late == 0)


def test_the_level_is_the_root_mean_square_of_each_frame() -> None:
    level = audio_level(sound(np.array([0.0, 1.0, 0.5])), 5, FPS, RATE_HZ)
    assert level == pytest.approx([0, 1 / np.sqrt(2), 0.5 / np.sqrt(2), 0, 0], abs=0.01)
    assert spoken(LEVELS).traces["audio_level"] == pytest.approx(LEVELS / np.sqrt(2), abs=0.01)


def test_constant_signals_have_no_correlation() -> None:
    assert spoken(np.full(50, 0.5)).absent["lip_correlation"] == "the mouth is constant"
    assert set(spoken(np.full(50, 0.5)).traces) == {"mouth_opening", "audio_level"}
    assert spoken(np.array([0.3])).absent["lip_lag_frames"] == "needs two frames, and the clip has 1"


def test_a_missing_face_is_reported() -> None:
    assert spoken(LEVELS, toy=False).absent["lip_correlation"] == "a face was found in 0 of 100 frames"


def test_landmarks_see_a_mouth_open(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Finds the planted lag through the modified landmarks of a real photo."""
    shown = [moved(still, LIPS_INNER_LOWER[1:-1], (0, 20 * opening)) for opening in np.roll(LEVELS, 2)]
    clip = subject(100, waveform=sound(LEVELS))
    found = watched(LipSync(toy_mouth=Grey(), max_lag_frames=5), plant(monkeypatch, shown), clip)
    assert found.metrics["lip_lag_frames"] == 2
    assert found.metrics["lip_correlation_at_lag"] > 0.98


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Image], Image]:
    """Returns a rendered head with moving jaw and turning head, and its neutral portrait."""
    generator = torch.Generator().manual_seed(0)
    motion = torch.zeros(100, len(MOTION))
    motion[:, MOTION.index("jaw")] = torch.from_numpy(np.roll(LEVELS, 3)).float()
    motion[:, MOTION.index("yaw")] = torch.linspace(-0.5, 0.5, 100)
    person = sample_identities(1, generator).expand(100, -1)
    images = ((render(person, motion, 96).image + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    neutral = ((render(person[:1], motion[:1] * 0, 96).image[0] + 1) * 127.5).byte().permute(1, 2, 0).numpy()
    return list(images), neutral


def test_the_toy_mouth_reads_a_toy_face(drawn: tuple[list[Image], Image]) -> None:
    images, neutral = drawn
    clip = subject(100, waveform=sound(LEVELS), toy=True, portrait=neutral)
    found = watched(LipSync(toy_mouth=TOY_MOUTH, max_lag_frames=5), images, clip)
    assert found.metrics["lip_lag_frames"] == 3
    assert found.metrics["lip_correlation_at_lag"] > 0.9


def test_landmarks_agree_with_the_toy_reader(drawn: tuple[list[Image], Image]) -> None:
    images, neutral = drawn
    metric, grey = ReaderAgreement(toy_mouth=TOY_MOUTH), [np.full((96, 96, 3), 127, np.uint8)] * 3
    found = watched(metric, images[:24], subject(24, toy=True, portrait=neutral)).metrics
    assert found["reader_face_share"] == 1
    assert found["reader_correlation"] > 0.9
    unseen = watched(metric, grey, subject(3, toy=True, portrait=neutral))
    assert unseen.metrics == {"reader_face_share": 0}
    assert unseen.absent == {"reader_correlation": "a face was found in 0 of 3 frames"}
    still = watched(metric, images[:1] * 3, subject(3, toy=True, portrait=neutral))
    assert still.absent == {"reader_correlation": "the mouth is constant"}
    assert watched(metric, grey, subject(3)).absent["reader_face_share"] == "the toy reader reads toy faces only"
