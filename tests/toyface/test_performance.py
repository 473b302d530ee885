"""Performances: lips follow only the phones; everything else is random and depends on the emotion."""

import pytest
import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.toyface.motion import MOTION, ONE_SIDED
from float_research.toyface.performance import DIPHTHONGS, MOODS, VISEMES, lips, loudness, perform, smooth_noise
from float_research.toyface.speech import Phone

FPS = 25.0
WORD = [
    Phone("SIL", 0.0, 0.4, 0.0),
    Phone("M", 0.4, 0.52, 0.0),
    Phone("AA", 0.52, 0.76, 1.0),
    Phone("P", 0.76, 0.88, 0.0),
    Phone("UW", 0.88, 1.12, 0.0),
    Phone("SIL", 1.12, 1.6, 0.0),
]
FRAMES = 40


def performed(emotion: str = "neutral", seed: int = 0, num_frames: int = FRAMES) -> Tensor:
    loud = torch.ones(num_frames)
    return perform(WORD, loud, emotion, fps=FPS, generator=torch.Generator().manual_seed(seed))


def column(motion: Tensor, name: str) -> Tensor:
    return motion[:, MOTION.index(name)]


def at(seconds: float) -> int:
    return int(seconds * FPS)


def test_lips_follow_the_phones() -> None:
    jaw, _, pucker, press = lips(WORD, torch.ones(FRAMES), fps=FPS).unbind(1)
    assert jaw[at(0.64)] > 0.6
    assert jaw[at(0.82)] < 0.15
    assert press[at(0.46)] > 0.4 < press[at(0.82)]
    assert press[at(0.64)] < 0.25
    assert pucker[at(1.0)] > 0.6
    assert pucker[at(0.2)] < 0.1


def test_phones_are_coarticulated() -> None:
    pucker = lips(WORD, torch.ones(FRAMES), fps=FPS)[:, 2]
    assert (pucker[at(0.8) : at(1.0)].diff() > 0).all(), "rounding starts within the P"


def test_quiet_speech_opens_less() -> None:
    loud, quiet = (lips(WORD, torch.full((FRAMES,), level), fps=FPS) for level in (1.0, 0.2))
    assert (quiet[:, 0] <= loud[:, 0]).all()
    torch.testing.assert_close(quiet[:, 1:], loud[:, 1:])


def test_performances_share_the_lips_but_not_the_head() -> None:
    first, second = performed(seed=1), performed(seed=2)
    for name in ("width", "pucker", "press"):
        torch.testing.assert_close(column(first, name), column(second, name))
    assert torch.corrcoef(torch.stack([column(first, "jaw"), column(second, "jaw")]))[0, 1] > 0.95
    assert (column(first, "yaw") - column(second, "yaw")).abs().max() > 0.2
    torch.testing.assert_close(performed(seed=1), first)


@pytest.mark.parametrize("emotion", MOODS)
def test_emotions_shift_the_mean_pose(emotion: str) -> None:
    mood = MOODS[emotion].pose
    motion = torch.stack([performed(emotion, seed) for seed in range(12)])
    for i, name in enumerate(MOTION):
        assert (0 if name in ONE_SIDED else -1) <= motion[..., i].min()
        assert motion[..., i].max() <= 1
        if name in mood and name not in ("jaw", "width"):
            assert abs(float(motion[..., i].mean()) - mood[name]) < 0.25, name


def test_people_blink() -> None:
    lids = column(performed(num_frames=1500), "lids")
    closings = int(((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum())
    assert 12 <= closings <= 35, "in a minute"
    assert (lids > 0.5).float().mean() < 0.2


def test_noise_is_stationary_with_unit_variance_and_smooth() -> None:
    noise = smooth_noise(40_000, 10.0, torch.Generator().manual_seed(0))
    assert abs(float(noise.std()) - 1) < 0.1
    assert noise.diff().std() < 0.15


def test_loudness_is_one_in_loud_speech() -> None:
    waveform = torch.cat([torch.zeros(8000), 0.3 * torch.ones(8000)])
    level = loudness(waveform, 25)
    assert level[:12].max() == 0
    torch.testing.assert_close(level[13:], torch.ones(12))


def test_every_phone_has_a_viseme() -> None:
    assert all(half in VISEMES for halves in DIPHTHONGS.values() for half in halves)
    assert not set(DIPHTHONGS) & set(VISEMES)
    assert len({*DIPHTHONGS, *VISEMES}) == 40, "ARPAbet's 39 and silence"


def test_an_unknown_emotion_is_rejected() -> None:
    with pytest.raises(UserError, match="choose one of angry"):
        performed("bored")
