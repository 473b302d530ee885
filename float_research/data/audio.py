"""Speech: files and arrays → mono waveforms at the model's rate."""

import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile
import soxr
from av.container import InputContainer

from float_research.errors import UserError, named, printable
from float_research.media import BOUNDS, Limits, open_media
from float_research.types import Waveform

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4"})
SILENCE = 1e-5
"""Peak below which a recording counts as silent: less than one step of 16-bit audio."""
BLOCK = 2**18
"""Samples that are worked on at a time."""
IN_MEMORY_BYTES = 64 * 2**20
"""17 minutes at 16 kHz. Longer waveforms lie in a nameless file, whose pages the system can take back at any time."""


def read_audio(path: Path, sampling_rate_hz: int, limits: Limits = BOUNDS) -> Waveform:
    """An audio file, mono, resampled as the official code does (soxr_hq), in bounded memory.

    By libsndfile as librosa does, by PyAV what that cannot. PyAV looks first, since libsndfile writes notes of its own
    to the terminal about files that are no audio.
    """
    name = named("audio", path)
    with open_media(path, "audio", "convert it to WAV") as container:
        if not container.streams.audio:
            raise UserError(f"{name} holds no audio track; give a recording of speech")
        try:
            with soundfile.SoundFile(os.fsencode(path)) as file:
                limits.check_sound(name, file.samplerate, file.channels)
                samples = mono(within(read_blocks(file), file.samplerate, limits, name), path)
                return gathered(resampled(samples, file.samplerate, sampling_rate_hz))
        except soundfile.LibsndfileError:
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise UserError(f"{name} has an unknown codec; convert it to WAV") from None
            limits.check_sound(name, stream.rate, stream.channels)
            samples = mono(within(decoded(container), stream.rate, limits, name), path)
            return gathered(resampled(samples, stream.rate, sampling_rate_hz))


def read_blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Blocks of `(channels, s)` float32 samples, as many as there are, whatever the header promises."""
    while len(part := file.read(BLOCK, dtype="float32", always_2d=True)):
        yield part.T


def decoded(container: InputContainer) -> Iterator[np.ndarray]:
    """Blocks of `(channels, s)` float32 samples."""
    stream = container.streams.audio[0]
    planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    for frame in chain(container.decode(stream), [None]):
        for part in planar.resample(frame):
            yield part.to_ndarray()


def within(parts: Iterable[np.ndarray], rate_hz: int, limits: Limits, name: str) -> Iterator[np.ndarray]:
    """The blocks, until they last longer than the limit: then a UserError."""
    num_samples = 0
    for part in parts:
        num_samples += part.shape[1]
        limits.check_duration(name, num_samples / rate_hz)
        yield part


def mono(parts: Iterable[np.ndarray], path: Path) -> Iterator[Waveform]:
    """The mean of the channels of blocks of `(channels, s)` samples, all of them finite."""
    for part in parts:
        require_finite(part, printable(path, 1000))
        yield part.mean(axis=0) if len(part) > 1 else part[0]


def resampled(parts: Iterable[Waveform], rate_hz: int, target_hz: int) -> Iterator[Waveform]:
    """The blocks of a waveform at another rate: sample by sample what librosa's default, soxr_hq, makes of it."""
    if rate_hz == target_hz:
        yield from parts
        return
    stream = soxr.ResampleStream(rate_hz, target_hz, 1, dtype="float32", quality="HQ")
    num_read = num_made = 0
    for part in parts:
        made = stream.resample_chunk(np.ascontiguousarray(part))
        num_read, num_made = num_read + len(part), num_made + len(made)
        yield made
    rest = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    yield librosa.util.fix_length(rest, size=math.ceil(num_read * target_hz / rate_hz) - num_made)


def gathered(parts: Iterable[Waveform]) -> Waveform:
    """The waveform of these blocks; a long one on disk, see `IN_MEMORY_BYTES`."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype=np.float32).data)
        size = file.tell()
        if size > IN_MEMORY_BYTES:
            return np.asarray(np.memmap(file, dtype=np.float32, mode="r+"))
        file.seek(0)
        return np.frombuffer(bytearray(file.read()), dtype=np.float32)


def blocks(waveform: Waveform) -> Iterator[Waveform]:
    for start in range(0, len(waveform), BLOCK):
        yield waveform[start : start + BLOCK]


def resample(waveform: Waveform, rate_hz: int, target_hz: int) -> Waveform:
    """Resamples as librosa's default, soxr_hq, does."""
    return gathered(resampled(blocks(waveform), rate_hz, target_hz))


def check_waveform(waveform: Waveform, *, name: str, sampling_rate_hz: int, fps: float) -> None:
    """Raises a UserError for audio that no video can be made from."""
    if not len(waveform):
        raise UserError(f"audio {name} is empty; give a recording of speech")
    require_finite(waveform, name)
    if len(waveform) < sampling_rate_hz / fps:
        raise UserError(
            f"audio {name} lasts {len(waveform) / sampling_rate_hz:.3f} s, less than one frame ({1 / fps:g} s); "
            "give a longer recording"
        )
    if max(waveform.max(), -waveform.min()) < SILENCE:
        raise UserError(f"audio {name} is silent; give a recording of speech")


def require_finite(samples: np.ndarray, name: str) -> None:
    """Raises a UserError for NaN or infinite samples, which resampling would spread."""
    if samples.size and not np.isfinite([samples.min(), samples.max()]).all():
        raise UserError(f"audio {name} holds NaN or infinite samples; export it again")


def normalise(waveform: Waveform) -> Waveform:
    """Zero mean and unit variance over the clip, as transformers' `Wav2Vec2FeatureExtractor(do_normalize=True)`."""
    mean = waveform.mean(dtype=np.float64)
    variance = math.fsum(np.square(part - mean).sum() for part in blocks(waveform)) / len(waveform)
    deviation = math.sqrt(variance + 1e-7)
    return gathered((part - mean) / deviation for part in blocks(waveform))


def num_video_frames(num_samples: int, sampling_rate_hz: int, fps: float) -> int:
    """`ceil(samples · fps / rate)`."""
    return math.ceil(num_samples * fps / sampling_rate_hz)
