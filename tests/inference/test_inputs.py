"""Inputs of the Python API: every form of an image and of sound, and addresses, from a server of this machine."""

import gc
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as PillowImage

from float_research.data.examples import example
from float_research.errors import UserError
from float_research.inference.api import Pipeline
from float_research.inference.inputs import pair, read_frames, read_portrait

FILES: dict[str, bytes] = {}


class Server(BaseHTTPRequestHandler):
    """Serves `FILES`, and answers badly where the path says so."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        if name.startswith("to/"):
            self.send_response(302)
            self.send_header("Location", name.removeprefix("to/").replace("_", ":"))
            self.end_headers()
        elif name == "slow":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
        elif name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")
        elif name in FILES:
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(FILES[name])
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def address(portrait: Path, speech: Callable[[float], Path]) -> Iterator[str]:
    FILES.update({"me.png": portrait.read_bytes(), "hello.wav": speech(0.4).read_bytes(), "large": bytes(2_000_001)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def pipeline(load: Callable[..., Pipeline]) -> Pipeline:
    return load("nfe=2")


def test_every_form_is_the_same_clip(
    pipeline: Pipeline, address: str, portrait: Path, speech: Callable[[float], Path]
) -> None:
    path = speech(0.4)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    expected = pipeline(str(portrait), str(path))
    opened = PillowImage.open(portrait)
    images = [portrait, portrait.read_bytes(), bytearray(portrait.read_bytes()), opened, f"{address}/me.png"]
    sounds = [path, path.read_bytes(), (samples, rate_hz), (torch.from_numpy(samples), rate_hz), f"{address}/hello.wav"]
    for image in images:
        assert torch.equal(pipeline(image, path).motion, expected.motion), type(image)
    for sound in sounds:
        torch.testing.assert_close(pipeline(portrait, sound).motion, expected.motion, atol=2e-4, rtol=1e-3)
    assert torch.equal(pipeline(f"{address}/to/{address.replace(':', '_')}/me.png", path).motion, expected.motion)


def test_a_toy_portrait_is_known_without_its_file(pipeline: Pipeline, load: Callable[..., Pipeline]) -> None:
    """Detectors do not recognise its face; an array has lost the mark."""
    detecting = load("face=mtcnn").loader
    opened = PillowImage.open(example("portrait"))
    for image in (opened, Path(example("portrait")).read_bytes()):
        still = read_portrait(detecting, image)
        crop, facts = still.crop, still.face
        assert facts["detector"] == "toy"
        assert np.array_equal(crop, read_portrait(pipeline.loader, example("portrait")).crop)


def test_a_pil_image_is_turned_and_blended(pipeline: Pipeline) -> None:
    image = PillowImage.new("RGBA", (40, 20), (255, 0, 0, 0))
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    image.save(content, "PNG", exif=exif)
    (frame,) = read_frames([PillowImage.open(content)], pipeline.loader)
    assert frame.shape == (40, 20, 3)
    assert frame.max() == 0, "black shows through"


def test_temporary_files_live_as_long_as_the_result(
    pipeline: Pipeline, portrait: Path, speech: Callable[[float], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = pipeline(portrait.read_bytes(), speech(0.4).read_bytes())
    gc.collect()
    assert len(list(tmp_path.glob("float-research-*"))) == 2, "the recording, and the whole picture"
    result.save(tmp_path / "out.mp4")
    del result
    gc.collect()
    assert not list(tmp_path.glob("float-research-*"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "{}/none.png?key=secret",
            r"image http://127\.0\.0\.1:\d+/none\.png cannot be downloaded \(the server",
        ),
        ("{}/large", r"large exceeds limits\.download_mb=1; give a smaller file"),
        ("{}/slow", r"slow takes longer than limits\.download_s=0\.3; check the address"),
        ("{}/cut", r"cut (is incomplete: 999 bytes|cannot be downloaded)"),
        ("{}/to/ftp_//127.0.0.1/a.png", r"redirects to ftp://127\.0\.0\.1/a\.png, which is no http"),
        ("{}/to/file_///etc/passwd", r"cannot be downloaded \(the server answers 302\)"),
        ("{}/hello.wav", r"image http://127\.0\.0\.1:\d+/hello\.wav cannot be read \(it is none of PNG"),
        ("http://127.0.0.1:1/a.png", r"image http://127\.0\.0\.1:1/a\.png cannot be downloaded"),
        ("ftp://127.0.0.1/a.png", r"image ftp://127\.0\.0\.1/a\.png is no http:// or https:// address"),
        ("file:///etc/passwd", "image file:///etc/passwd is no http"),
        ("http://me:secret@127.0.0.1:port/a.png", r"image http://127\.0\.0\.1:port/a\.png is not a valid address"),
        ("http://127.0.0.1/a\n.png", r"a\\n\.png is not a valid address"),
    ],
)
def test_an_address_that_cannot_be_used(place: str, message: str, pipeline: Pipeline, address: str) -> None:
    limits = replace(pipeline.loader.limits, download_mb=1, download_s=0.3)
    with pytest.raises(UserError, match=message) as error:
        read_portrait(replace(pipeline.loader, limits=limits), place.format(address))
    assert "secret" not in str(error.value)
    assert "float-research-" not in str(error.value), "not the temporary file's name"


SAMPLES = np.full(16000, 0.1, np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, SAMPLES, None), r"samples need their rate: give \(samples, rate\), or rate_hz=16000"),
        ((None, (SAMPLES, 16000), 16000), "give the rate twice"),
        ((None, None, 16000), "a file has its own rate: leave rate_hz out"),
        ((None, b"RIFF", None), "audio of 4 bytes cannot be read"),
        ((b"", None, None), "image of 0 bytes"),
        (("nothing.png", None, None), r"image nothing\.png does not exist"),
        ((PillowImage.new("RGB", (1, 400)), None, None), r"the image has 1 × 400 pixels, narrower than limits\.aspect"),
    ],
)
def test_inputs_that_cannot_be_used(
    given: tuple[Any, Any, int | None], message: str, pipeline: Pipeline, portrait: Path
) -> None:
    image, audio, rate_hz = given
    with pytest.raises(UserError, match=message):
        pipeline(portrait if image is None else image, example("speech") if audio is None else audio, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("audio", "kinds"),
    [((16000, SAMPLES), "int, ndarray"), ((SAMPLES, 16000.0), "ndarray, float"), ((SAMPLES,), "ndarray"), ((), "")],
)
def test_a_pair_that_is_none(audio: Any, kinds: str) -> None:
    with pytest.raises(UserError, match=rf"is \(samples, rate\), an array and a whole number, not \({kinds}\)"):
        pair(audio, None)
