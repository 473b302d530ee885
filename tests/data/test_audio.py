import math
import tracemalloc
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile

from float_research import links, sound
from float_research.data import audio
from float_research.data.audio import check_waveform, listen, normalise, num_video_frames, resample
from float_research.data.examples import example
from float_research.errors import UserError

SPEECH, RATE_HZ = soundfile.read(example("speech"), dtype="float32")


def encode(path: Path, codec: str, rate_hz: int, samples: np.ndarray = SPEECH) -> None:
    """Writes speech in formats that libsndfile does not support."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate_hz, frame_size=960)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            part.pts = None
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    "name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.m4a", "a.webm", "a.opus", "stereo.wav", "fast.wav"]
)
def test_every_format_gives_the_same_speech(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "stereo.wav":
        soundfile.write(path, np.stack([SPEECH * 1.5, SPEECH * 0.5], axis=1), RATE_HZ, subtype="FLOAT")
    elif name == "fast.wav":
        encode(path, "pcm_s16le", 44100)
    elif path.suffix in {".m4a", ".webm", ".opus"}:
        encode(path, "aac" if path.suffix == ".m4a" else "libopus", 48000)
    else:
        soundfile.write(path, SPEECH, RATE_HZ)
    read = listen(path, 16000).waveform
    assert len(read) == pytest.approx(len(SPEECH), abs=2400)
    lags = np.correlate(read[:48000], SPEECH[4000:36000], "valid") / np.square(SPEECH[4000:36000]).sum()
    assert lags.max() == pytest.approx(1, abs=0.2), "the same sound at the same level"
    assert abs(int(lags.argmax()) - 4000) < 1700, "within an encoder's delay"


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("num_samples", [1, 100, 48001, 300007])
def test_resampled_blocks_match_librosa(rate_hz: int, num_samples: int) -> None:
    waveform = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    whole = librosa.resample(waveform, orig_sr=rate_hz, target_sr=16000)
    assert len(whole) == math.ceil(num_samples * 16000 / rate_hz)
    assert np.array_equal(resample(waveform, rate_hz, 16000), whole)


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_concatenated_recordings_are_found_across_chunk_borders(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"
    encode(path, "libmp3lame", 16000)
    path.write_bytes(path.read_bytes() * 3)
    found = links.links(path, "mp3")
    assert len(found) == 3
    monkeypatch.setattr(links, "CHUNK", size)
    assert links.links(path, "mp3") == found


@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_a_long_recording_needs_constant_memory(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    samples = np.resize(SPEECH, 120 * RATE_HZ)
    if suffix == ".wav":
        soundfile.write(path, samples, 44100)
    else:
        encode(path, "aac", 48000, samples)
    expected = normalise(listen(path, 16000).waveform)
    monkeypatch.setattr(audio, "IN_MEMORY_BYTES", 2**16)
    monkeypatch.setattr(sound, "BLOCK", 2**14)
    tracemalloc.start()
    normalised = normalise(listen(path, 16000).waveform)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(normalised, expected)
    assert peak < samples.nbytes / 4, f"the samples as they were written are {samples.nbytes / 1e6} MB"


def test_normalised_speech_has_zero_mean_and_unit_variance() -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(SPEECH, sampling_rate=16000, return_tensors="np").input_values[0]
    assert np.allclose(normalise(SPEECH), expected, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(640, 1), (641, 2), (64000, 100), (64001, 101)])
def test_frames_are_rounded_up(samples: int, frames: int) -> None:
    assert num_video_frames(samples, 16000, 25.0) == frames


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), "empty"),
        (np.zeros(16000), "silent"),
        (np.full(100, 0.5), "less than one frame"),
        (np.array([0.1, np.nan] * 8000), "NaN"),
        (np.array([0.1, np.inf] * 8000), "NaN or infinite"),
    ],
)
@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_unusable_audio_is_rejected(waveform: np.ndarray, message: str, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, waveform.astype(np.float32), rate_hz, subtype="FLOAT")
    with pytest.raises(UserError, match=message):
        check_waveform(listen(path, 16000).waveform, name=str(path), sampling_rate_hz=16000, fps=25.0)


def test_files_without_audio_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(UserError, match=r"a\.wav cannot be read"):
        listen(tmp_path / "a.wav", 16000)
    with pytest.raises(UserError, match="does not exist"):
        listen(tmp_path / "b.wav", 16000)
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="no audio track"):
        listen(tmp_path / "mute.mp4", 16000)
