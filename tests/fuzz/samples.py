"""A small valid file of every kind that the package reads, written by the package or by its libraries."""

import json
import shutil
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from fuzz.processes import Ended, script

RATE_HZ, SECONDS = 16000, 0.5
TINY = ("model=tiny", "checkpoint=random", "face=none", "trainer.accelerator=cpu")
TRAINING = (
    *("stage=autoencoder", "model=tiny", "stage.batch_size=2", "trainer.max_steps=6", "trainer.val_check_interval=3"),
    *("checkpoint_every=2", "num_validation=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
)
MEDIA, SWEEP, TRAINED, CORPUS, CACHE, SHOT = "media", "sweep", "trained", "corpus", "cache", "shot"
"""Folders of samples."""
GOOD, BAD = "0", "1"
"""Runs of the sample sweep: one is damaged, the other must be unaffected."""


def make(folder: Path) -> Path:
    """Writes all samples to a folder, which it returns."""
    media = folder / MEDIA
    media.mkdir(parents=True)
    make_sounds(media)
    make_images(media)
    make_tensors(media)
    make_runs(folder)
    make_corpus(folder / CORPUS)
    (media / "clips.csv").write_text(
        "image,audio,id,emotion\na.png,a.wav,one,happy\na.jpg,a.flac,two,\n", encoding="utf-8"
    )
    return folder


def tone() -> np.ndarray:
    """Returns a tone."""
    t = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 220 * t) * np.hanning(len(t))).astype(np.float32)


def make_sounds(folder: Path) -> None:
    """Writes sound in every format, and videos with it."""
    samples = tone()
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(folder / name, samples, RATE_HZ)
    soundfile.write(folder / "float.wav", np.stack([samples, samples], 1), 44100, subtype="FLOAT")
    for name, codec, rate_hz in (
        ("a.mp3", "libmp3lame", 16000),
        ("a.m4a", "aac", 16000),
        ("a.aac", "aac", 16000),
        ("a.webm", "libopus", 48000),
        ("a.opus", "libopus", 48000),
    ):
        encode(folder / name, codec, rate_hz, video=None)
    for name, video, codec in (
        ("v.mp4", "mpeg4", "aac"),
        ("v.mkv", "mpeg4", "aac"),
        ("v.avi", "mpeg4", "libmp3lame"),
        ("v.mov", "mjpeg", "pcm_s16le"),
    ):
        encode(folder / name, codec, 16000, video=video)


def encode(path: Path, codec: str, rate_hz: int, video: str | None) -> None:
    """Writes a file with the tone and optionally a few frames."""
    import av

    samples = np.resize(tone(), int(rate_hz * SECONDS))
    with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None) as container:
        if video:
            shown = container.add_stream(video, rate=25)
            shown.width = shown.height = 48
            shown.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        sound = container.add_stream(codec, rate=rate_hz, layout="mono")
        for number in range(12 if video else 0):
            pixels = np.full((48, 48, 3), 20 * number, np.uint8)
            pixels[number : number + 20, 10:30, 0] = 200
            container.mux(shown.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if video:
            container.mux(shown.encode(None))
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def make_images(folder: Path) -> None:
    """Writes one image in every format; the PNG is marked as a toy portrait, the JPEG has an EXIF orientation."""
    from float_research.types import TOY_MARK

    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    image, turned = PillowImage.fromarray(pixels).convert("RGB"), PillowImage.Exif()
    turned[274] = 6
    mark = PngImagePlugin.PngInfo()
    mark.add_text(*TOY_MARK)
    mark.add_itxt("note", "é" * 50, zip=True)
    image.save(folder / "a.png", pnginfo=mark)
    PillowImage.fromarray(pixels).save(folder / "rgba.png")
    image.convert("P").save(folder / "p.png", transparency=3)
    image.save(folder / "a.jpg", exif=turned)
    image.save(folder / "progressive.jpg", progressive=True)
    image.save(folder / "a.webp", exif=turned)
    image.save(folder / "lossless.webp", lossless=True)
    image.save(folder / "a.bmp")
    image.convert("P").save(folder / "p.bmp")
    image.save(folder / "a.tif")
    image.save(folder / "packed.tif", compression="tiff_deflate")
    image.save(folder / "jpeg.tif", compression="jpeg")


def make_tensors(folder: Path) -> None:
    """Writes a small network's weights in each layout, and the network itself."""
    from safetensors.torch import save_file

    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    state = {name: value.detach() for name, value in network.state_dict().items()}
    save_file(state, folder / "a.safetensors", metadata={"facts": "{}"})
    torch.save(state, folder / "a.pth")
    torch.save(state, folder / "a.bin", _use_new_zipfile_serialization=False)
    scripted = torch.jit.trace(network.eval(), torch.zeros(2, 4), check_trace=False)
    torch.jit.save(scripted, str(folder / "a.pt"))


def make_runs(folder: Path) -> None:
    """Writes a sweep of two good runs and a failed one, a training, and the cache that they filled."""
    from float_research.tracking.record import write_failure

    work = folder / "work"
    audio = folder / MEDIA / "a.wav"
    sweep = ["-m", *TINY, "nfe=2,3", f"data.audio={audio}", f"hydra.sweep.dir={folder / SWEEP}"]
    must(script("infer", sweep, work), "infer")
    (folder / SWEEP / "2").mkdir()
    write_failure(folder / SWEEP / "2", "nfe=0", "nfe=0 is too small")
    must(script("train", [*TRAINING, f"hydra.run.dir={folder / TRAINED}"], work), "train")
    shutil.move(work / "cache", folder / CACHE)
    make_shot(folder)


def must(ended: Ended, name: str) -> None:
    """Raises if a script that writes samples fails."""
    assert ended.code == 0, f"{name} made no samples: {ended}"


def make_shot(folder: Path) -> None:
    """Writes a training's prepared video."""
    import cv2

    shot, offsets = folder / SHOT, [0]
    shot.mkdir()
    with (shot / "frames.bin").open("wb") as file:
        for number in range(12):
            frame = np.full((48, 48, 3), 20 * number, np.uint8)
            offsets.append(offsets[-1] + file.write(cv2.imencode(".jpg", frame)[1].tobytes()))
    np.save(shot / "offsets.npy", np.array(offsets))
    np.save(shot / "speech.npy", np.resize(tone(), 12 * RATE_HZ // 25))


def make_corpus(folder: Path) -> None:
    """Writes two utterances in the format of `scripts/make_speech.py`."""
    folder.mkdir()
    lines = []
    for number in range(2):
        file = f"{number:06d}.flac"
        soundfile.write(folder / file, tone(), RATE_HZ, subtype="PCM_16")
        about = {"id": f"{number:06d}", "split": "train", "file": file, "voice": "v", "emotion": "happy", "text": "hi"}
        phones = [("SIL", 0.0, 0.1, 0), ("AA", 0.1, 0.2, 1), ("SIL", 0.2, SECONDS, 0)]
        lines.append(json.dumps({**about, "num_samples": len(tone()), "phones": phones}))
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sound_of(seconds: float, path: Path) -> Path:
    """Writes a recording of a given duration."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "NONE"))
        file.writeframes((np.resize(tone(), int(seconds * RATE_HZ)) * 32767).astype("<i2").tobytes())
    return path
