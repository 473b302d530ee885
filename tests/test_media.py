"""Sound, images and videos as hostile data: each quickly ends in one sentence that names the file."""

import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as PillowImage
from rich.console import Console

from float_research import compose
from float_research.data.audio import listen
from float_research.data.examples import example
from float_research.data.image import is_toy_portrait, read_image
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.media import BOUNDS, Limits, open_media
from float_research.tracking.record import signature
from float_research.video import reader
from float_research.video.reader import count_frames, probe, read_frames, read_frames_at
from float_research.video.writer import H264, Recording

SPEECH = Path(example("speech"))
LIMITS = Limits(
    megapixels=60, aspect=10, min_rate_hz=4000, max_rate_hz=768000, channels=8, hours=2, download_mb=500, download_s=60
)
READERS: dict[str, Callable[[Path], object]] = {
    "audio": lambda path: listen(path, 16000, LIMITS).waveform,
    "image": lambda path: read_image(path, "black", LIMITS),
    "toy mark": is_toy_portrait,
    "probe": probe,
    "frames": lambda path: list(read_frames(path)),
    "frames at": lambda path: list(read_frames_at(path, 25.0, LIMITS)),
    "sound track": lambda path: list(Recording(path).blocks()),
}
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{speech}\n#EXT-X-ENDLIST\n",
    "live": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{speech}\n",
    "concat": "ffconcat version 1.0\nfile {speech}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>',
}


def wav(
    *, rate_hz: int, channels: int, promised: int | None = None, content: bytes = SPEECH.read_bytes()[44:]
) -> bytes:
    """Returns a WAV file with any header."""
    size, frame = promised if promised is not None else len(content), channels * 2 & 0xFFFF
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * frame & 0xFFFFFFFF, frame, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size & 0xFFFFFFFF)
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", size)
        + content
    )


def film(path: Path, times: list[int], size: tuple[int, int] = (64, 48)) -> Path:
    """Writes a video with frames at these times, in units of 1/25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = size
        for time in times:
            frame = av.VideoFrame(*size, "yuv420p")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns a file of each kind."""
    folder = tmp_path_factory.mktemp("samples")
    sound, rate_hz = soundfile.read(SPEECH)
    for ending in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(folder / f"a.{ending}", sound[:8000], rate_hz)
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    for ending in ("png", "jpg", "webp", "bmp", "tif"):
        PillowImage.fromarray(pixels).save(folder / f"a.{ending}", quality=95)
    for ending in ("mp4", "mkv", "avi", "ts"):
        film(folder / f"a.{ending}", list(range(10)))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("read", READERS)
def test_damaged_files_are_read_or_named(read: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    generator, told = np.random.default_rng(0), []
    for name, whole in samples.items():
        path = tmp_path / name
        for _ in range(12):
            content = bytearray(whole)
            for place in generator.integers(0, min(len(content), 400), 6):
                content[place] = generator.integers(256)
            path.write_bytes(content[: generator.integers(len(content))])
            try:
                READERS[read](path)
            except UserError as error:
                told.append(name in str(error))
    assert all(told)
    assert told


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["empty", "directory", "pipe", "missing", "noise", "wrong", "link in a circle"])
def test_files_that_are_not_media_are_named(kind: str, read: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link in a circle":
        path.symlink_to(path)
    elif kind != "missing":
        other = samples["a.wav" if "image" in read or read == "toy mark" else "a.webp"]
        path.write_bytes({"empty": b"", "noise": np.random.default_rng(1).bytes(20000), "wrong": other}[kind])
    with pytest.raises(UserError, match=r"x\.wav"):
        READERS[read](path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("ending", ["wav", "mp4", "m3u8", "png"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_are_not_followed(kind: str, ending: str, read: str, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(SPEECH.read_bytes())
    path = tmp_path / f"x.{ending}"
    path.write_text(PLAYLISTS[kind].format(speech="speech.wav"))
    with pytest.raises(UserError, match=rf"x\.{ending} cannot be read"):
        READERS[read](path)


def test_a_playlist_is_refused_as_an_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "x.m3u8").write_text(PLAYLISTS["live"].format(speech=SPEECH))
    with pytest.raises(UserError, match=r"or its format is none of aac, aiff, .*wav"):
        listen(tmp_path / "x.m3u8", 16000)


def test_other_formats_that_ffmpeg_reads_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w", format="wv") as container:
        stream = container.add_stream("wavpack", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(audio=0)) > 0
    with pytest.raises(UserError, match=r"a\.wav cannot be read .*or its format is none of"):
        listen(path, 16000)


@pytest.mark.parametrize(
    "name",
    ["file:x.wav", "12:30:05.wav", "http:x.wav", "concat:a|b.wav", "-.wav", "%03d.wav", "a\nb.wav", "\udcff.wav"],
)
def test_a_name_is_never_a_url(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(SPEECH.read_bytes())
    expected = listen(SPEECH, 16000).waveform
    assert np.array_equal(listen(Path(name), 16000).waveform, expected)
    assert sum(block.samples.shape[1] for block in Recording(Path(name)).blocks()) == len(expected)
    video = Path(f"{name[:-4]}.mp4")
    settings = H264(fps=None, mark=None, crf=30, preset="ultrafast", audio_rate_hz=48000, audio_bitrate_bps=64000)
    with settings.open(video, fps=25.0, size_px=64, recording=None) as writer:
        writer.write(torch.zeros(3, 64, 64, 3).byte())
    assert probe(video).num_frames == 3


@pytest.mark.parametrize(
    ("rate_hz", "channels", "message"),
    [
        (0, 1, "sampling rate of 0 Hz|cannot be read"),
        (1, 1, r"sampling rate of 1 Hz.*limits\.min_rate_hz=4000"),
        (3999, 1, "sampling rate of 3,999 Hz"),
        (768_001, 1, r"sampling rate of 768,001 Hz.*limits\.max_rate_hz=768000"),
        (4_000_000_000, 1, "sampling rate|cannot be read"),
        (16000, 0, "0 channels|cannot be read"),
        (16000, 9, r"9 channels, outside 1 to limits\.channels=8"),
        (16000, 65535, "channels|cannot be read"),
    ],
)
def test_absurd_headers_are_refused(rate_hz: int, channels: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(rate_hz=rate_hz, channels=channels))
    with pytest.raises(UserError, match=message) as told:
        listen(tmp_path / "a.wav", 16000, LIMITS)
    assert "a.wav" in str(told.value)


@pytest.mark.parametrize("promised", [2**31 - 64, 2**32 - 1])
def test_a_declared_length_is_not_trusted(promised: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(rate_hz=16000, channels=1, promised=promised))
    assert np.array_equal(listen(tmp_path / "a.wav", 16000, LIMITS).waveform, listen(SPEECH, 16000).waveform)


def test_a_short_read_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some headers declare more frames than libsndfile then finds."""
    monkeypatch.setattr(soundfile.SoundFile, "frames", property(lambda self: 2**40))
    assert len(listen(SPEECH, 16000).waveform) == 64000


@pytest.mark.parametrize("ending", ["flac", "m4a"])
def test_a_duration_is_counted_while_decoding(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac" if ending == "flac" else "aac", rate=8000, layout="mono")
        for start in range(0, 12 * 8000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert len(listen(path, 16000).waveform) > 11 * 16000
    with pytest.raises(UserError, match=rf"a\.{ending} lasts longer than limits\.hours=0\.003"):
        listen(path, 16000, Limits(**{**vars(LIMITS), "hours": 0.003}))


def webp(width: int, height: int) -> bytes:
    """Returns the smallest WebP that declares a size."""
    body = b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + bytes(9)
    chunk = b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


def png(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\x09IDAT"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.webp", webp(11000, 8000), r"11000 × 8000 pixels, over limits\.megapixels=60"),
        ("a.webp", webp(16384, 16384), "pixels, over|more than 178,956,970 pixels|cannot be read"),
        ("a.png", png(12000, 12000), r"12000 × 12000 pixels, over limits\.megapixels=60"),
        ("a.png", png(20000, 20000), "more than 178,956,970 pixels"),
        ("a.png", png(2**31 - 1, 2**31 - 1), "more than 178,956,970 pixels"),
        ("a.png", png(0, 4), "no pixels|cannot be read"),
        ("a.png", png(4000, 1), r"4000 × 1 pixels, narrower than limits\.aspect=10 : 1"),
        ("a.png", png(1, 4000), "narrower than"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "none of PNG, JPEG, WEBP, BMP, TIFF"),
        ("a.gif", b"GIF89a\x05\x00\x05\x00\x00\x00\x00", "cannot be read"),
        ("a.png", b"BLP2" + bytes(200), "none of PNG"),
    ],
)
def test_an_image_is_checked_by_its_header(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        read_image(tmp_path / name, "black", LIMITS)
    assert name in str(told.value)


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(16 * LIMITS.pixels + 1)
    with pytest.raises(UserError, match=r"a\.png has 960,000,001 bytes, too many for limits\.megapixels=60"):
        read_image(tmp_path / "a.png", "black", LIMITS)


def test_any_file_name_gives_a_video_and_its_side_files(
    tmp_path: Path, portrait: Path, speech: Callable[[float], Path]
) -> None:
    stems = ["a" * 250, "語" * 83, "line\nbreak", os.fsdecode(b"latin\xe9")]
    for folder in ("images", "audios"):
        (tmp_path / folder).mkdir()
    for stem in stems:
        shutil.copy(portrait, tmp_path / "images" / f"{stem}.png")
    shutil.copy(speech(0.1), tmp_path / "audios" / f"{'é' * 125}.wav")
    settings = ["model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu", "nfe=2", "metrics=motion"]
    data = ["data=grid", f"data.images={tmp_path / 'images'}", f"data.audios={tmp_path / 'audios'}"]
    out = tmp_path / "out"
    cfg = compose.compose_config([*settings, *data, f"output_dir={out}", "name='{id}_{image}_{nfe}'"])
    content = compose.build_job(cfg).run(Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8")))
    assert content is not None
    videos = [out / clip["video"] for clip in content["clips"]]
    assert len(set(videos)) == len(stems)
    endings = (".mp4", ".json", ".motion.safetensors", ".traces.parquet")
    assert set(videos[0].parent.iterdir()) == {video.with_suffix(ending) for video in videos for ending in endings}
    assert json.loads((out / "record.json").read_text()) == content


def test_arrays_have_the_same_limits(load: Callable[..., Pipeline]) -> None:
    pipeline, speech = load(), np.full(16000, 0.5, np.float32)
    with pytest.raises(UserError, match=r"image array has 4000 × 1 pixels, narrower than limits\.aspect=10"):
        pipeline(np.zeros((1, 4000, 3), np.uint8), speech, rate_hz=16000)
    for rate_hz in (1, -1, 10**9):
        with pytest.raises(UserError, match="audio array has a sampling rate of"):
            pipeline(np.zeros((64, 64, 3), np.uint8), speech, rate_hz=rate_hz)


@pytest.mark.parametrize("times", [[0, 1, 25 * 10**4], [0, 1, 25 * 100, 25 * 101]])
def test_a_jump_in_time_is_not_filled_with_frames(times: list[int], tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", times)
    with pytest.raises(UserError, match=r"a\.mkv (shows one frame for|lasts longer)"):
        for _ in read_frames_at(path, 25.0, LIMITS):
            pass


def test_the_duration_of_a_video_is_limited(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", list(range(0, 500, 50)))
    assert len(list(read_frames_at(path, 25.0))) == pytest.approx(452, abs=50)
    with pytest.raises(UserError, match=r"a\.mp4 lasts longer than limits\.hours=0\.001"):
        list(read_frames_at(path, 25.0, Limits(**{**vars(LIMITS), "hours": 0.001})))


def test_missing_video_metadata_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mkv", list(range(10)))
    with open_media(path, "video", "") as container:
        assert container.streams.video[0].duration is None
    assert probe(path).video_s == pytest.approx(0.4)
    timeless = SimpleNamespace(decode=lambda stream: (av.VideoFrame(64, 48, "yuv420p") for _ in range(10)))
    rateless = SimpleNamespace(average_rate=None)
    monkeypatch.setattr(reader, "open_video", lambda path, limits: nullcontext((timeless, rateless)))
    assert len(list(read_frames_at(path, 25.0))) == 10


def test_frames_are_limited_too(tmp_path: Path) -> None:
    small = Limits(**{**vars(LIMITS), "megapixels": 0.001})
    path = film(tmp_path / "a.mp4", list(range(3)))
    with pytest.raises(UserError, match=r"a\.mp4 has 64 × 48 pixels, over limits\.megapixels=0\.001"):
        list(read_frames_at(path, 25.0, small))
    with pytest.raises(UserError, match=r"a\.mp4 has 640 × 16 pixels, narrower"):
        list(read_frames_at(film(path, [0, 1], (640, 16)), 25.0, LIMITS))
    with pytest.raises(UserError, match=r"a\.mp4 has 64 × 48 pixels, over"):
        reader.pixels(av.VideoFrame(64, 48, "rgb24"), path, small)  # frames may differ in size
    with reader.open_video(film(path, [0, 1]), LIMITS) as (container, stream):
        assert stream.codec_context.options["max_pixels"] == str(LIMITS.pixels)
        stream.codec_context.options = {"max_pixels": "1000"}
        with pytest.raises(av.FFmpegError):
            list(container.decode(stream))  # before it allocates a frame larger than its header says


def test_counted_frames_equal_read_frames(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", list(range(7)))
    assert count_frames(path) == len(list(read_frames(path))) == probe(path).num_frames == 7


@pytest.mark.parametrize("name", list(vars(LIMITS)))
def test_limits_are_positive_settings(name: str) -> None:
    with pytest.raises(UserError, match=rf"limits\.{name}=0"):
        Limits(**{**vars(BOUNDS), name: 0})
    cfg = compose.compose_config([f"limits.{name}=5", "output_dir=out"])
    assert getattr(compose.build_loader(cfg).limits, name) == 5


def test_limits_do_not_change_the_signature() -> None:
    """Runs of version 0.1, which have none, keep their signature and are measured within the default limits."""
    cfg = compose.compose_config(["output_dir=out"])
    config = compose.resolved(cfg)
    former = {group: settings for group, settings in config.items() if group != "limits"}
    assert len(former) == len(config) - 1
    assert signature(former) == signature(config)
