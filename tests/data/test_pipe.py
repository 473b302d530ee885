"""Speech on standard input."""

import io
import re

import numpy as np
import pytest
import soundfile

from float_research.data.pipe import Pipe, RawSound
from float_research.errors import UserError
from float_research.media import BOUNDS

SPEECH = np.linspace(-0.5, 0.5, 3000, dtype=np.float32).reshape(-1, 2)


class Unseekable(io.BytesIO):
    """A file that can only be read, as a pipe."""

    def seek(self, *_: int) -> int:
        raise OSError("cannot seek")

    def tell(self) -> int:
        raise OSError("cannot tell")


def wav(subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SPEECH, 16000, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-6), ("PCM_16", 2**-14), ("PCM_24", 2**-20)])
def test_wavs_are_read_as_the_mean_of_their_channels(subtype: str, step: float) -> None:
    pipe = Pipe(Unseekable(wav(subtype)), None, BOUNDS)
    blocks = list(pipe.blocks())
    assert (pipe.rate_hz, pipe.channels) == (16000, 2)
    assert [len(block) for block in blocks] == [640, 640, 220]
    assert np.allclose(np.concatenate(blocks), SPEECH.mean(axis=1), atol=step)


def test_a_header_without_a_length_is_that_of_a_stream() -> None:
    content = bytearray(wav("PCM_16"))
    content[4:8] = content[40:44] = b"\xff" * 4
    assert sum(map(len, Pipe(Unseekable(bytes(content)), None, BOUNDS).blocks())) == 1500


@pytest.mark.parametrize(("kind", "dtype", "scale"), [("s16le", "<i2", 2**15), ("f32le", "<f4", 1)])
def test_raw_samples(kind: str, dtype: str, scale: float) -> None:
    content = (SPEECH * scale).astype(dtype).tobytes() + b"\0"  # the last sample is not whole
    raw = RawSound(kind=kind, rate_hz=8000, channels=2)
    samples = np.concatenate(list(Pipe(Unseekable(content), raw, BOUNDS).blocks()))
    assert np.allclose(samples, SPEECH.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "standard input is not a WAV of PCM samples (it ends too early)"),
        (b"OggS" * 20, "standard input is not a WAV of PCM samples (file does not start with RIFF id)"),
        (wav("FLOAT"), "standard input is not a WAV of PCM samples (unknown format: 3)"),
    ],
)
def test_other_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Pipe(Unseekable(content), None, BOUNDS)


def test_an_implausible_rate_is_refused() -> None:
    with pytest.raises(UserError, match="standard input has a sampling rate of 16 Hz"):
        Pipe(Unseekable(b""), RawSound(kind="s16le", rate_hz=16, channels=1), BOUNDS)
