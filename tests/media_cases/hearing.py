"""Measures the decoded sound of a recording and the sound of its video."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import correlate

from float_research.data.audio import check_waveform, listen, num_video_frames, resample
from float_research.errors import UserError
from float_research.media import BOUNDS
from float_research.sound import Tally, read_sound, resample_blocks
from float_research.types import WHOLE, Excerpt
from float_research.video.writer import H264, Recording
from media_cases.sound import HZ, Case

RATE_HZ, FPS = 16000, 25.0
SETTINGS = H264(fps=None, mark=None, crf=40, preset="ultrafast", audio_rate_hz=None, audio_bitrate_bps=192000)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`heard` is compared with the recording; `decoded` and `spoken`, before and after AAC, with `heard`."""

    seconds: float
    heard_lag_ms: float
    heard_db: float
    decoded_lag_ms: float
    spoken_lag_ms: float
    spoken_db: float
    spoken_s: float
    channels: int
    rate_hz: int
    damaged: bool
    notes: str


def decoded(path: Path, excerpt: Excerpt = WHOLE) -> tuple[np.ndarray, int, int]:
    """Returns the mean of the channels at the table's rate, the number of channels, and their rate."""
    blocks = list(read_sound(path, excerpt, BOUNDS, Tally()))
    means = [block._replace(samples=block.mono[None]) for block in blocks]
    return np.concatenate(list(resample_blocks(means, HZ)), axis=1)[0], len(blocks[0].samples), blocks[0].rate_hz


def lag_ms(late: np.ndarray, expected: np.ndarray) -> float:
    """Returns the delay of one signal to the other, by cross-correlation."""
    return 1000 * (int(correlate(late, expected, "full", "fft").argmax()) - (len(expected) - 1)) / HZ


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


def build(case: Case, folder: Path) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", case.name)
    path = folder / f"{name}{'.wav' if 'wav' in case.name else '.mp3'}"
    case.build(path)
    return path


def measure(case: Case, path: Path) -> Measured | str:
    """Returns the measurements of a recording, or the error message."""
    try:
        heard = listen(path, RATE_HZ, BOUNDS, case.excerpt)
        check_waveform(heard.waveform, name=str(path), sampling_rate_hz=RATE_HZ, fps=FPS)
    except UserError as error:
        return str(error)
    assert case.heard is not None
    model = resample(heard.waveform, RATE_HZ, HZ)
    before_aac, _, _ = decoded(path, heard.excerpt)
    video = path.with_suffix(".video.mp4")
    frames = torch.zeros(num_video_frames(len(heard.waveform), RATE_HZ, FPS), 16, 16, 3, dtype=torch.uint8)
    with SETTINGS.open(video, fps=FPS, size_px=16, recording=Recording(path, excerpt=heard.excerpt)) as writer:
        writer.write(frames)
    spoken, channels, rate_hz = decoded(video)
    return Measured(
        seconds=len(heard.waveform) / RATE_HZ,
        heard_lag_ms=lag_ms(model, case.heard[0]),
        heard_db=level_db(model) - level_db(case.heard),
        decoded_lag_ms=lag_ms(before_aac, model),
        spoken_lag_ms=lag_ms(spoken, model),
        spoken_db=level_db(spoken) - level_db(model),
        spoken_s=len(spoken) / HZ,
        channels=channels,
        rate_hz=rate_hz,
        damaged=heard.facts["dropped"] + heard.facts["missing_s"] > 0,
        notes="\n".join(heard.notes),
    )
