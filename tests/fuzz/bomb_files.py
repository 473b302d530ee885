"""Files that declare or expand to huge sizes, never end, point elsewhere, or are programs."""

import io
import json
import os
import pickle
import socket
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

Build = Callable[[Path], object]
SPARSE_BYTES = 100 * 10**9


def data(content: bytes | str) -> Build:
    """Writes a file with this content."""
    return partial(_write, content=content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


def _write(path: Path, *, content: bytes) -> None:
    path.write_bytes(content)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *more: bytes, bits: int = 1, real: bool = True) -> Build:
    """Writes an image of zeros, compressed about 1,000 to 1."""
    return partial(_png, width=width, height=height, more=more, bits=bits, real=real)


def _png(path: Path, *, width: int, height: int, more: tuple[bytes, ...], bits: int, real: bool) -> None:
    packer, row = zlib.compressobj(9), bytes(1 + (width * bits + 7) // 8 if real else 1000)
    pixels = b"".join(packer.compress(row) for _ in range(height if real else 1)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def zeros(megabytes: int) -> bytes:
    """Returns that many megabytes of zeros, compressed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(10**6)) for _ in range(megabytes)) + packer.flush()


def webp(width: int, height: int) -> bytes:
    """Returns 34 bytes that declare an image."""
    body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + b"\x88\x88\x08\x00\x00\x00\x00\x00\x00"
    body = body[:14]
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def bmp(width: int, height: int, bits: int, compression: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 1, 1, 2, 0)
    return b"BM" + struct.pack("<IHHI", 200, 0, 0, 62) + head + bytes(8) + b"\xff\0" * 60


def tiff(tags: list[tuple[int, int, int, int]], following: int) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + bytes(100)


def slow_wav(path: Path) -> None:
    """Writes 170 kB that declare a day of sound."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 1, 0, "NONE", "NONE"))
        file.writeframes((1000 * np.sin(np.arange(86_400))).astype("<i2").tobytes())


def add_sound(container: Any) -> None:
    """Adds a second of sound to a video that has its other streams."""
    import av

    stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
    samples = (1000 * np.sin(np.arange(16000))).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 16000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def wav(
    rate_hz: int, *, channels: int = 1, bits: int = 16, align: int | None = None, claims: int | None = None
) -> Build:
    size = 8000 if claims is None else claims
    align = channels * bits // 8 % 65536 if align is None else align
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align, bits)
    sound = (1000 * np.sin(np.arange(4000))).astype("<i2").tobytes()
    said = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size & 0xFFFFFFFF) + sound
    return data(b"RIFF" + struct.pack("<I", (len(said) if claims is None else claims) & 0xFFFFFFFF) + said)


def long_wav(path: Path, *, seconds: int) -> None:
    """Writes hours of silence as a sparse file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "NONE"))
        file.writeframes(b"\x10\x00" * 1000)
    size = seconds * 32000
    with path.open("r+b") as file:
        file.truncate(44 + size)
        file.seek(4)
        file.write(struct.pack("<I", 36 + size))
        file.seek(40)
        file.write(struct.pack("<I", size))


def jumping(path: Path, *, seconds: int) -> None:
    """Writes a video whose last frame comes much later."""
    import av

    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuvj420p"
        add_sound(container)
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 48, 3), 4 * number, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                if number == 29:
                    packet.pts = packet.dts = packet.pts + int(seconds / packet.time_base)
                container.mux(packet)
        container.mux(stream.encode(None))


def huge_video(path: Path, *, side: int) -> None:
    """Writes a video with few bytes and many pixels."""
    import av

    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        add_sound(container)
        frame = av.VideoFrame(side, side, stream.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(12):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def elsewhere(text: str) -> Build:
    """Writes a playlist that names another file, or itself."""
    return partial(_elsewhere, text=text)


def _elsewhere(path: Path, *, text: str) -> None:
    sound = path.parent / "other.wav"
    wav(16000)(sound)
    path.write_text(text.replace("SOUND", str(sound)).replace("SELF", str(path)))


def special(path: Path, *, kind: str) -> None:
    """Creates something other than a finite regular file."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.with_name("other"))
        path.with_name("other").symlink_to(path)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(SPARSE_BYTES)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.getcwd()
            os.chdir(path.parent)
            bound.bind(path.name[-90:])
            os.chdir(here)
    else:
        path.symlink_to(kind)


def headed(header: bytes, length: int | None = None, content: bytes = b"") -> Build:
    """Writes a safetensors file."""
    return data((len(header) if length is None else length).to_bytes(8, "little") + header + content)


def tensors_header(entries: dict[str, Any], content: bytes = bytes(64)) -> Build:
    return headed(json.dumps(entries).encode(), content=content)


def zipped(parts: dict[str, bytes], *, packed: bool) -> Build:
    return partial(_zipped, parts=parts, packed=packed)


def _zipped(path: Path, *, parts: dict[str, bytes], packed: bool) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)


class Runs:
    """An object that runs code when unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._told = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._told


def runs(path: Path, *, zip_file: bool) -> None:
    """Writes a pickle that runs code, which writes where it must not."""
    told = {"weight": Runs(os.system, f"echo x > {path.parent.parent}/outside/notes.txt")}
    torch.save(told, path, _use_new_zipfile_serialization=zip_file)


def laughing(depth: int) -> bytes:
    """Returns a short pickle whose fully expanded value has 2^depth parts."""
    value: Any = ("ha",)
    for _ in range(depth):
        value = (value, value)
    return pickle.dumps({"a": value}, 2)


def strided(path: Path) -> None:
    """Writes a tensor of 2^40 numbers that share one element."""
    torch.save({"weight": torch.zeros(1).expand(2**40)}, path)


def many_rows(path: Path, *, doublings: int, rows: int, columns: int = 1) -> None:
    """Writes a table whose footer refers to the same rows many times."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({f"c{number}": np.zeros(rows, np.int8) for number in range(columns)})
    parquet.write_table(table, path)
    if not doublings:
        return
    footer = parquet.read_metadata(path)
    for _ in range(doublings):
        footer.append_row_groups(parquet.read_metadata(_footer_of(footer)))
    content = path.read_bytes()
    body = content[: -8 - int.from_bytes(content[-8:-4], "little")]
    path.write_bytes(body + _footer_of(footer).getvalue()[4:])


def _footer_of(metadata: Any) -> io.BytesIO:
    written = io.BytesIO()
    metadata.write_metadata_file(written)
    written.seek(0)
    return written


def array(shape: str, kind: str = "<i8", content: bytes = b"") -> Build:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return data(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content)


def override(value: str) -> Build:
    """Writes a record whose overrides are the bomb."""
    return data(json.dumps({"overrides": [f"nfe={value}"], "clips": [{"id": "a", "video": "videos/a.mp4"}]}))
