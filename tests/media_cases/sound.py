"""Recordings: containers × codecs × channels × damage, each with the expected sound."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from float_research.types import WHOLE, Excerpt

HZ, SECONDS, PERIOD_S = 44100, 2.4, 12
Samples = np.ndarray


def noise(seconds: float = SECONDS, rate_hz: int = HZ, *, seed: int = 0) -> Samples:
    """Returns noise below 3 kHz, `(1, s)`: it never repeats, and every codec preserves it."""
    parts = np.random.default_rng(seed).standard_normal((2, 3000 * PERIOD_S))
    whole = np.fft.irfft(parts[0] + 1j * parts[1], n=PERIOD_S * rate_hz)
    return (0.1 * whole[: round(seconds * rate_hz)] / whole.std()).astype(np.float32)[None]


def encode(
    path: Path,
    samples: Samples | Sequence[Samples],
    *,
    container: str,
    codec: str,
    rate_hz: int = HZ,
    layout: str | None = None,
    **options: str,
) -> Path:
    """Writes one or more audio tracks."""
    tracks = [samples] if isinstance(samples, np.ndarray) else list(samples)
    with av.open(str(path), "w", format=container, options=options if container == "mp4" else {}) as output:
        name = layout or {1: "mono", 2: "stereo"}[len(tracks[0])]
        streams = [output.add_stream(codec, rate=rate_hz, layout=name, options=options) for _ in tracks]
        for stream in streams:
            stream.codec_context.open()
        output.start_encoding()
        for track, stream in zip(tracks, streams, strict=True):
            size = stream.codec_context.frame_size or 1024
            change = av.AudioResampler(stream.codec_context.format, name, rate_hz, frame_size=size)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(track), format="fltp", layout=name)
            frame.sample_rate = rate_hz
            position = 0
            for part in (*change.resample(frame), *change.resample(None)):
                part.pts, part.time_base = position, Fraction(1, rate_hz)
                position += part.samples
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
    return path


def wav(path: Path, samples: Samples, *, rate_hz: int = HZ, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples.T, rate_hz, subtype=subtype, format="WAV")
    return path


def content(made: Path) -> bytes:
    """Returns the bytes of a file, to be damaged or concatenated."""
    found = made.read_bytes()
    made.unlink()
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recording and its expected values. `heard`: the model's input, mono at this table's rate.

    `channels`, `rate_hz`: of the video's sound. `told`: pattern of the notes. `refused`: pattern of the error message.
    `lag_ms`: delay of codecs whose container does not declare it. `within_s`: tolerance of the duration, for codecs
    with undeclared padding at the end.
    """

    name: str
    build: Callable[[Path], object]
    heard: Samples | None = None
    lag_ms: float = 0.0
    within_s: float = 0.001
    channels: int = 1
    rate_hz: int = 44100
    damaged: bool = False
    told: str | None = None
    refused: str | None = None
    excerpt: Excerpt = WHOLE


def written(make: Callable[[Path], bytes]) -> Callable[[Path], object]:
    """Returns a builder whose bytes are written to a temporary file first."""
    return lambda path: path.write_bytes(make(path.with_suffix(".tmp")))


def mp3(path: Path, samples: Samples, rate_hz: int = HZ, **options: str) -> Path:
    return encode(path, samples, container="mp3", codec="libmp3lame", rate_hz=rate_hz, **{"b": "256k", **options})


def aac(path: Path, samples: Samples, rate_hz: int = HZ, container: str = "adts", **options: str) -> Path:
    return encode(path, samples, container=container, codec="aac", rate_hz=rate_hz, **options)


def opus(path: Path, samples: Samples, container: str = "ogg") -> Path:
    return encode(path, samples, container=container, codec="libopus", rate_hz=48000)


def vorbis(path: Path, samples: Samples, rate_hz: int = HZ) -> Path:
    soundfile.write(path, samples.T, rate_hz, format="OGG", subtype="VORBIS", compression_level=0)
    return path


def sized(size: int) -> Callable[[Path], bytes]:
    """Returns a builder of a WAV file whose header declares this size."""

    def make(path: Path) -> bytes:
        data = bytearray(content(wav(path, noise())))
        place = data.index(b"data") + 4
        data[place : place + 4] = struct.pack("<I", size)
        return bytes(data)

    return make


def halved(data: bytes) -> bytes:
    """Builds an MP4 whose track declares half its duration."""
    place = data.index(b"mdhd") + 4
    version = data[place]
    assert version == 0, "of 32 bits"
    duration = place + 16
    (said,) = struct.unpack(">I", data[duration : duration + 4])
    return data[:duration] + struct.pack(">I", said // 2) + data[duration + 4 :]


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def burst(data: bytes, at: float, num_bytes: int) -> bytes:
    """Replaces bytes by random ones, `at` a share of the file."""
    start = int(len(data) * at)
    return data[:start] + np.random.default_rng(3).bytes(num_bytes) + data[start + num_bytes :]


ONE, TWO, OTHER = noise(), np.repeat(noise(), 2, axis=0), noise(1.5, seed=1)
AT48, AT16, AT8 = noise(rate_hz=48000), noise(rate_hz=16000), noise(rate_hz=8000)
SILENT = np.zeros_like(ONE)
ID3V1 = b"TAG" + b"\0" * 125
AAC_DELAY_MS, MP3_DELAY_MS = 1024 / 44.1, 1105 / 44.1
JOINED = np.concatenate([ONE, OTHER], axis=1)

CASES = [
    *(
        Case(name=f"wav {kind}", build=lambda path, kind=kind: wav(path, ONE, subtype=kind), heard=ONE)
        for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
    ),
    Case(
        name="wav IMA_ADPCM",
        build=lambda path: wav(path, ONE, subtype="IMA_ADPCM"),
        heard=ONE,
        within_s=0.012,
    ),
    Case(name="wav of 8 kHz", build=lambda path: wav(path, AT8, rate_hz=8000), heard=ONE, rate_hz=48000),
    Case(name="wav of 16 kHz", build=lambda path: wav(path, AT16, rate_hz=16000), heard=ONE, rate_hz=48000),
    Case(
        name="wav of 96 kHz",
        build=lambda path: wav(path, noise(rate_hz=96000), rate_hz=96000),
        heard=ONE,
        rate_hz=48000,
    ),
    Case(name="wav, stereo of equal channels", build=lambda path: wav(path, TWO), heard=ONE, channels=2),
    Case(name="wav that says 0 bytes", build=written(sized(0)), heard=ONE),
    Case(name="wav that says 4 GB", build=written(sized(0xFFFFFFFF)), heard=ONE),
    Case(
        name="wav, cut off",
        build=written(lambda path: content(wav(path, ONE))[: 44 + 2 * HZ]),
        heard=ONE[:, :HZ],
    ),
    Case(name="flac", build=lambda path: encode(path, ONE, container="flac", codec="flac"), heard=ONE),
    Case(name="aiff", build=lambda path: encode(path, ONE, container="aiff", codec="pcm_s16be"), heard=ONE),
    Case(name="au", build=lambda path: encode(path, ONE, container="au", codec="pcm_s16be"), heard=ONE),
    Case(name="caf", build=lambda path: encode(path, ONE, container="caf", codec="pcm_s16be"), heard=ONE),
    Case(name="w64", build=lambda path: encode(path, ONE, container="w64", codec="pcm_s16le"), heard=ONE),
    Case(
        name="avi of mp3",
        build=lambda path: encode(path, ONE, container="avi", codec="libmp3lame", b="256k"),
        heard=ONE,
        lag_ms=MP3_DELAY_MS,
        within_s=0.04,
    ),
    Case(name="mov of pcm", build=lambda path: encode(path, ONE, container="mov", codec="pcm_s16le"), heard=ONE),
    Case(name="mkv of flac", build=lambda path: encode(path, ONE, container="matroska", codec="flac"), heard=ONE),
    Case(name="mp3", build=lambda path: mp3(path, ONE), heard=ONE),
    Case(
        name="mp3, stereo of 48 kHz",
        build=lambda path: mp3(path, np.repeat(AT48, 2, axis=0), 48000),
        heard=ONE,
        channels=2,
        rate_hz=48000,
    ),
    Case(
        name="mp3 of variable rate without a tag: silence, then speech",
        build=lambda path: mp3(path, np.concatenate([np.tile(SILENT, 2), ONE], axis=1), write_xing="0", q="4"),
        heard=np.concatenate([np.tile(SILENT, 2), ONE], axis=1),
    ),
    Case(
        name="mp3, cut off",
        build=written(lambda path: cut(content(mp3(path, ONE)), 0.5)),
        heard=ONE[:, : int(1.177 * HZ)],
    ),
    Case(
        name="mp3 after junk",
        build=written(lambda path: bytes(range(256)) * 9 + content(mp3(path, ONE))),
        heard=ONE,
    ),
    Case(
        name="two mp3 concatenated",
        build=written(lambda path: content(mp3(path, ONE)) + content(mp3(path, OTHER))),
        heard=JOINED,
    ),
    Case(
        name="two mp3 concatenated, tagged",
        build=written(lambda path: content(mp3(path, ONE)) + ID3V1 + content(mp3(path, OTHER)) + ID3V1),
        heard=JOINED,
    ),
    Case(
        name="two mp3 of other rates and channels",
        build=written(
            lambda path: (
                content(mp3(path, ONE)) + content(mp3(path, np.repeat(noise(1.5, 22050, seed=1), 2, axis=0), 22050))
            )
        ),
        heard=JOINED,
    ),
    Case(
        name="mp3 with a burst of damage",
        build=written(lambda path: burst(content(mp3(path, ONE)), 0.8, 2500)),
        heard=ONE,
        damaged=True,
        told="packets, which are damaged",
    ),
    Case(name="m4a", build=lambda path: aac(path, ONE, container="mp4"), heard=ONE),
    Case(name="m4a of 16 kHz", build=lambda path: aac(path, AT16, 16000, container="mp4"), heard=ONE, rate_hz=48000),
    Case(
        name="m4a that says half its duration",
        build=written(lambda path: halved(content(aac(path, ONE, container="mp4")))),
        heard=ONE,
        within_s=0.016,
    ),
    Case(name="m4a called .mp3", build=lambda path: aac(path, ONE, container="mp4"), heard=ONE),
    Case(
        name="m4a, cut off",
        build=written(lambda path: cut(content(aac(path, ONE, container="mp4", movflags="+faststart")), 0.6)),
        heard=ONE[:, : int(1.38 * HZ)],
        damaged=True,
        told="packets, which are damaged",
    ),
    Case(
        name="m4a, entirely damaged",
        build=written(lambda path: burst(content(aac(path, ONE, container="mp4", movflags="+faststart")), 0.1, 10**5)),
        refused=r"is damaged: \d+ of \d+ packets cannot be decoded; give another",
    ),
    Case(
        name="m4a without its index",
        build=written(lambda path: content(aac(path, ONE, container="mp4"))[:9000]),
        refused="cannot be read",
    ),
    Case(name="aac", build=lambda path: aac(path, ONE), heard=ONE, lag_ms=AAC_DELAY_MS, within_s=0.04),
    Case(
        name="ts called .wav",
        build=lambda path: aac(path, ONE, container="mpegts"),
        heard=ONE,
        lag_ms=AAC_DELAY_MS,
        within_s=0.04,
    ),
    Case(
        name="aac that becomes stereo of 48 kHz",
        build=written(lambda path: content(aac(path, ONE)) + content(aac(path, np.repeat(AT48, 2, axis=0), 48000))),
        heard=np.concatenate([np.pad(ONE, ((0, 0), (0, 1597))), ONE], axis=1),
        lag_ms=AAC_DELAY_MS,
        within_s=0.04,
    ),
    Case(name="vorbis", build=lambda path: vorbis(path, ONE), heard=ONE),
    Case(name="opus", build=lambda path: opus(path, AT48), heard=ONE, rate_hz=48000),
    Case(name="webm of opus", build=lambda path: opus(path, AT48, "webm"), heard=ONE, rate_hz=48000),
    Case(
        name="chain of vorbis",
        build=written(lambda path: content(vorbis(path, ONE)) + content(vorbis(path, OTHER))),
        heard=JOINED,
    ),
    Case(
        name="chain of vorbis of other rates and channels",
        build=written(
            lambda path: (
                content(vorbis(path, ONE))
                + content(vorbis(path, np.repeat(noise(1.5, 48000, seed=1), 2, axis=0), 48000))
            )
        ),
        heard=JOINED,
    ),
    Case(
        name="chain of vorbis and opus",
        build=written(lambda path: content(vorbis(path, ONE)) + content(opus(path, noise(1.5, 48000, seed=1)))),
        heard=JOINED,
    ),
    Case(
        name="vorbis with a burst of damage",
        build=written(lambda path: burst(content(vorbis(path, ONE)), 0.9, 40)),
        heard=ONE,
        damaged=True,
        told="s are missing",
    ),
    Case(
        name="channels that cancel",
        build=lambda path: wav(path, np.concatenate([ONE, -ONE])),
        heard=ONE,
        told=r"using only channel 0, because they cancel each other \(data.channel\)",
    ),
    Case(
        name="left is silent",
        build=lambda path: wav(path, np.concatenate([SILENT, ONE])),
        heard=ONE,
        told=r"using only channel 1, because the others are silent",
    ),
    Case(
        name="left is selected",
        build=lambda path: wav(path, np.concatenate([ONE, noise(seed=5)])),
        heard=ONE,
        excerpt=Excerpt(channel=0),
    ),
    Case(
        name="5.1 with speech in the centre",
        build=lambda path: encode(
            path,
            np.concatenate([SILENT, SILENT, ONE, SILENT, SILENT, SILENT]),
            container="matroska",
            codec="pcm_s16le",
            layout="5.1",
        ),
        heard=ONE,
        told="using only channel 2",
    ),
    Case(
        name="5.1 with speech everywhere",
        build=lambda path: encode(
            path,
            np.concatenate([ONE, ONE, ONE, SILENT, ONE, ONE]),
            container="matroska",
            codec="pcm_s16le",
            layout="5.1",
        ),
        heard=ONE * (5 / 6),
        channels=6,
    ),
    Case(
        name="first track is silent",
        build=lambda path: encode(path, [SILENT, ONE], container="matroska", codec="flac"),
        heard=ONE,
        told="using track 1, because the tracks before it are silent",
    ),
    Case(
        name="second track is selected",
        build=lambda path: encode(path, [noise(seed=5), ONE], container="mp4", codec="aac"),
        heard=ONE,
        excerpt=Excerpt(track=1),
    ),
    Case(
        name="third track of two",
        build=lambda path: encode(path, [ONE, ONE], container="mp4", codec="aac"),
        refused=r"data.track=2: .* has 2 audio tracks, and indices start at 0",
        excerpt=Excerpt(track=2),
    ),
    Case(
        name="third channel of two",
        build=lambda path: wav(path, TWO),
        refused=r"data.channel=2: .* has 2 channels, and indices start at 0",
        excerpt=Excerpt(channel=2),
    ),
    Case(
        name="a second from the middle of an mp3",
        build=lambda path: mp3(path, ONE),
        heard=ONE[:, HZ // 2 : HZ + HZ // 2],
        excerpt=Excerpt(start_s=0.5, end_s=1.5),
    ),
    Case(
        name="a second after the end",
        build=lambda path: mp3(path, ONE),
        refused=r"ends before start_s=2\.5; choose an earlier start",
        excerpt=Excerpt(start_s=2.5, end_s=3.5),
    ),
    Case(name="text", build=lambda path: path.write_text("hello " * 99), refused="cannot be read"),
    Case(
        name="random bytes",
        build=lambda path: path.write_bytes(np.random.default_rng(0).bytes(50000)),
        refused="cannot be read|is damaged|lasts|is silent",
    ),
    Case(name="nothing", build=lambda path: path.write_bytes(b""), refused="cannot be read"),
    Case(
        name="NaN samples",
        build=lambda path: wav(path, np.where(ONE > 0.2, np.nan, ONE), subtype="FLOAT"),
        refused="contains NaN or infinite samples",
    ),
]
