"""What is heard of a recording, and what its video speaks, measured."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from float_research.data.audio import Heard, check_waveform, listen, num_video_frames, resample
from float_research.errors import UserError
from float_research.media import BOUNDS
from float_research.sound import Tally, read_sound, resampled
from float_research.types import WHOLE, Excerpt
from float_research.video.writer import H264, Recording
from media_cases.sound import CASES, HZ, Case

RATE_HZ, FPS = 16000, 25.0
SETTINGS = H264(fps=None, crf=40, preset="ultrafast", audio_rate_hz=None, audio_bitrate_bps=192000)


def decoded(path: Path, excerpt: Excerpt = WHOLE) -> tuple[np.ndarray, int, int]:
    """The mean of the channels at the table's rate, how many channels, and their rate."""
    blocks = list(read_sound(path, excerpt, BOUNDS, Tally()))
    means = [block._replace(samples=block.mono[None]) for block in blocks]
    return np.concatenate(list(resampled(means, HZ)), axis=1)[0], len(blocks[0].samples), blocks[0].rate_hz


def lag_ms(late: np.ndarray, expected: np.ndarray) -> float:
    """How much later the one comes than the other, by cross-correlation."""
    return 1000 * (int(correlate(late, expected, "full", "fft").argmax()) - (len(expected) - 1)) / HZ


def level_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.square(samples, dtype=np.float64).mean())


def build(case: Case, folder: Path) -> Path:
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', case.name)}{'.wav' if 'wav' in case.name else '.mp3'}"
    case.build(path)
    return path


def at_table_rate(heard: Heard) -> np.ndarray:
    return resample(heard.waveform, RATE_HZ, HZ)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recording_is_heard_and_spoken_as_it_is(case: Case, tmp_path: Path) -> None:
    path = build(case, tmp_path)
    if case.refused is not None:
        with pytest.raises(UserError, match=case.refused) as told:
            heard = listen(path, RATE_HZ, BOUNDS, case.excerpt)
            check_waveform(heard.waveform, name=str(path), sampling_rate_hz=RATE_HZ, fps=FPS)
        assert path.name in str(told.value)
        return
    expected = case.heard
    assert expected is not None
    heard = listen(path, RATE_HZ, BOUNDS, case.excerpt)
    model, seconds = at_table_rate(heard), len(heard.waveform) / RATE_HZ
    overlong = (case.lag_ms + 30) / 1000 if case.lag_ms else 0
    assert -0.04 <= seconds - expected.shape[1] / HZ - overlong * (case.lag_ms > 0) <= 0.04 or case.damaged
    assert lag_ms(model, expected[0]) == pytest.approx(case.lag_ms, abs=1)
    if not case.damaged:
        assert level_db(model) == pytest.approx(level_db(expected), abs=0.2)
    assert (heard.facts["dropped"] + heard.facts["missing_s"] > 0) == case.damaged
    assert bool(heard.notes) == (case.told is not None)
    assert case.told is None or re.search(case.told, "\n".join(heard.notes))
    spoken, _, _ = decoded(path, heard.excerpt)
    assert lag_ms(spoken, model) == pytest.approx(0, abs=1000 / HZ), "one sample, before AAC"

    frames = torch.zeros(num_video_frames(len(heard.waveform), RATE_HZ, FPS), 16, 16, 3, dtype=torch.uint8)
    video = tmp_path / "video.mp4"
    with SETTINGS.open(video, fps=FPS, size_px=16, recording=Recording(path, excerpt=heard.excerpt)) as writer:
        writer.write(frames)
    spoken, channels, rate_hz = decoded(video)
    assert (channels, rate_hz) == (case.channels, case.rate_hz)
    assert lag_ms(spoken, model) == pytest.approx(0, abs=1)
    assert level_db(spoken) == pytest.approx(level_db(model), abs=0.2)
    assert len(spoken) / HZ == pytest.approx(seconds, abs=0.04)
