"""Speech: files and arrays → mono waveforms at the model's rate."""

import math
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from float_research.errors import UserError
from float_research.types import Waveform

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4"})
SILENCE = 1e-5
"""Peak below which a recording counts as silent: less than one step of 16-bit audio."""


def read_audio(path: Path, sampling_rate_hz: int) -> Waveform:
    """An audio file, mono, resampled as the official code does (soxr_hq)."""
    if not path.is_file():
        raise UserError(f"audio {path} does not exist; give the path of a recording")
    samples, rate_hz = decode(path)
    require_finite(samples, str(path))
    return resample(samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0], rate_hz, sampling_rate_hz)


def decode(path: Path) -> tuple[np.ndarray, int]:
    """`(s, channels)` float32 samples and their rate in Hz: by libsndfile as librosa does, by PyAV what that cannot.

    PyAV looks first, since libsndfile writes notes of its own to the terminal about files that are no audio.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise UserError(f"audio {path} holds no audio track; give a recording of speech")
            try:
                samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                stream = container.streams.audio[0]
                resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
                frames = [
                    part.to_ndarray()
                    for frame in (*container.decode(stream), None)
                    for part in resampler.resample(frame)
                ]
                samples = np.concatenate(frames, axis=1).T if frames else np.zeros((0, 1), dtype=np.float32)
                rate_hz = stream.rate
    except av.FFmpegError as error:
        raise UserError(f"audio {path} cannot be read ({error.strerror}); convert it to WAV") from error
    return samples, rate_hz


def resample(waveform: Waveform, rate_hz: int, target_hz: int) -> Waveform:
    """Resamples with librosa's default, soxr_hq."""
    if rate_hz == target_hz or not len(waveform):
        return waveform.astype(np.float32, copy=False)
    return librosa.resample(waveform, orig_sr=rate_hz, target_sr=target_hz)


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
    if not np.isfinite(samples).all():
        raise UserError(f"audio {name} holds NaN or infinite samples; export it again")


def normalise(waveform: Waveform) -> Waveform:
    """Zero mean and unit variance over the clip, as transformers' `Wav2Vec2FeatureExtractor(do_normalize=True)`."""
    deviation = np.sqrt(waveform.var() + 1e-7)
    centred = waveform - waveform.mean()
    centred /= deviation  # in place: an hour is 230 MB
    return centred


def num_video_frames(num_samples: int, sampling_rate_hz: int, fps: float) -> int:
    """`ceil(samples · fps / rate)`."""
    return math.ceil(num_samples * fps / sampling_rate_hz)
