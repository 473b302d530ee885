"""Targeted attacks on readers: small files that declare huge sizes, never end, point elsewhere, or run code."""

import os
import pickle
import struct
from functools import cache, partial
from pathlib import Path

from fuzz.bomb_files import (
    Build,
    Runs,
    array,
    bmp,
    chunk,
    data,
    elsewhere,
    headed,
    huge_video,
    jumping,
    laughing,
    long_wav,
    many_rows,
    override,
    png,
    runs,
    slow_wav,
    special,
    strided,
    tensors_header,
    tiff,
    wav,
    webp,
    zeros,
    zipped,
)
from fuzz.readers import KINDS
from fuzz.worker import Task

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP_JSON = {"lists": "[" * 100_000, "closed lists": "[" * 100_000 + "]" * 100_000, "mappings": '{"a":' * 100_000}
TEXTS = {
    **DEEP_JSON,
    "brackets": "[" * 200_000,
    "half a string": '"' + "a" * 1_000_000,
    "digits": '{"clips": [], "load_s": ' + "9" * 1_000_000 + "}",
    "keys": "{" + ",".join(f'"k{number}": {number}' for number in range(200_000)) + "}",
    "utf-16": '{"clips": []}'.encode("utf-16").decode("latin-1"),
    "nan": '{"clips": [{"metrics": {"a": NaN, "b": Infinity}}], "load_s": -Infinity, "wall_s": 1e999}',
    "half character": '{"clips": [{"id": "\\ud800", "video": "\\udfff.mp4"}], "overrides": ["a=\\ud800"]}',
    "no text": "\0" * 1_000_000,
    "long line": '{"clips": [{"id": "' + "x" * 30_000_000 + '"}]}',
}
YAMLS = {
    "anchors": LAUGHS,
    "self": "a: &a [*a]",
    "merges": "a: &a {x: 1}\n" + "".join(f"k{number}:\n  <<: *a\n" for number in range(1000)),
    "brackets": "[" * 200_000,
    "braces": "{" * 200_000,
    "dashes": "- " * 100_000,
    "questions": "? " * 100_000,
    "indented": "".join(f"{' ' * depth}a:\n" for depth in range(3000)),
    "system": "!!python/object/apply:os.system ['true']",
    "name": "a: !!python/name:os.system",
    "digits": "nfe: " + "9" * 1_000_000,
    "base 60": "nfe: " + "59:" * 100_000 + "59",
    "date": "time: 9999-99-99",
    "documents": "---\n" * 100_000,
    "keys": "\n".join(f"k{number}: {number}" for number in range(100_000)),
    "long": "a: " + "x" * 50_000_000,
    "list as key": "? [a, b]\n: 1",
    "no mapping": "- a",
    "nothing": "",
}


def _images() -> dict[str, tuple[str, Build]]:
    flat = {f"png {w}x{h}": ("png", png(w, h)) for w, h in ((4000, 1), (1, 4000), (60000, 1), (1, 60000), (9000, 9000))}
    claimed = {
        f"png claims {side}": ("png", png(side, side, bits=8, real=False)) for side in (9400, 13300, 30000, 2**31 - 1)
    }
    found = {f"face in {w}x{h}": ("portrait found", png(w, h, bits=8)) for w, h in ((4000, 1), (1, 4000), (12000, 8))}
    text = b"Comment\0\0" + zeros(100)
    chunks = {
        "png text": chunk(b"zTXt", text),
        "png texts": b"".join(chunk(b"zTXt", b"k%d\0\0" % number + zeros(1)) for number in range(100)),
        "png itxt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros(100)),
        "png profile": chunk(b"iCCP", b"p\0\0" + zeros(100)),
        "png frames": chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        "png exif": chunk(b"eXIf", tiff([(274, 3, 2**32 - 1, 6)], 8)),
    }
    dims = [(256, 4, 1, 30000), (257, 4, 1, 30000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    return {
        **flat,
        **claimed,
        **found,
        **{name: ("png", png(8, 8, part, bits=8)) for name, part in chunks.items()},
        **{
            f"webp {w}x{h}": ("webp", data(webp(w, h)))
            for w, h in ((16383, 5400), (9400, 9400), (16383, 16383), (16383, 1))
        },
        "bmp 2^31": ("bmp", data(bmp(2**31 - 1, 2**31 - 1, 8, 0))),
        "bmp -2^31": ("bmp", data(bmp(-(2**31), -(2**31), 24, 0))),
        "bmp packed": ("bmp", data(bmp(9000, 9000, 8, 1))),
        "tiff 30000": ("tif", data(tiff(dims, 0))),
        "tiff loop": ("tif", data(tiff(dims, 8))),
        "tiff exif loop": ("tif", data(tiff([(34665, 4, 1, 8), *dims], 8))),
        "jpg 65535": ("jpg", data(b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\1\3\x11\1\xff\xd9")),
        "eps": ("png", data("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n")),
        "gif": ("png", data(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;")),
        "svg": ("png", data('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')),
        "fits": (
            "png",
            data(b"SIMPLE  =                    T".ljust(80) + b"NAXIS   =                    2".ljust(2800)),
        ),
        "xpm": ("png", data('/* XPM */\n"99999 99999 1 1",\n"a c #fff",\n')),
    }


def _sounds() -> dict[str, tuple[str, Build]]:
    rates = (0, 1, 2, 7, 100, 10**6, 10**8, 2**31, 2**32 - 1)
    lists = {
        "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSOUND\n#EXT-X-ENDLIST\n",
        "live m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSOUND\n",
        "m3u8 of itself": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSELF\n",
        "m3u8 http": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.wav\n#EXT-X-ENDLIST\n",
        "ffconcat": "ffconcat version 1.0\nfile 'SOUND'\n",
        "ffconcat of itself": "ffconcat version 1.0\nfile 'SELF'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>SOUND</BaseURL></MPD>',
        "ffmetadata": ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/0\nSTART=0\nEND=1\n",
        "subtitles": "WEBVTT\n\n00:00.000 --> 99:59:59.999\nx\n",
    }
    streaminfo = bytes.fromhex("1000100000000000000000010000") + b"\xff" * 4 + bytes(16)
    return {
        **{f"wav of {rate} Hz": ("wav", wav(rate)) for rate in rates},
        "wav of a day at 1 Hz": ("wav", slow_wav),
        "wav without channels": ("wav", wav(16000, channels=0)),
        "wav of 65535 channels": ("wav", wav(16000, channels=65535)),
        "wav of 0 bits": ("wav", wav(16000, bits=0)),
        "wav of 65535 bits": ("wav", wav(16000, bits=65535)),
        "wav of blocks of 0": ("wav", wav(16000, align=0)),
        "wav claims 4 GB": ("wav", wav(16000, claims=2**32 - 1)),
        "wav of 33 hours": ("wav", partial(long_wav, seconds=120_000)),
        "flac claims 2^36": ("flac", data(b"fLaC\x80\0\0\x22" + streaminfo)),
        "mp3 claims a tag": ("mp3", data(b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1000))),
        "mp3 of headers": ("mp3", data(b"\xff\xfb\x90\xc4" * 50_000)),
        "aac of headers": ("aac", data(b"\xff\xf1\x50\x80\x01\x1f\xfc" * 50_000)),
        "ogg of pages": ("ogg", data((b"OggS\0\2" + bytes(20) + b"\0") * 30_000)),
        **{
            f"{name} as {ending}": (ending, elsewhere(text))
            for name, text in lists.items()
            for ending in ("wav", "mp3")
        },
    }


def _videos() -> dict[str, tuple[str, Build]]:
    box = struct.pack(">I", 8) + b"moov"
    for _ in range(2000):
        box = struct.pack(">I", len(box) + 8) + b"moov" + box
    return {
        "mp4 of boxes": ("mp4", data(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + box)),
        "mp4 claims 2^63": (
            "mp4",
            data(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + b"\0\0\0\1moov" + b"\x7f" + b"\xff" * 7),
        ),
        "mkv claims 2^56": ("mkv", data(b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + bytes(1000))),
        "mkv without end": (
            "mkv",
            data(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * 50_000),
        ),
        "avi of chunks": ("avi", data(b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl" + b"JUNK\0\0\0\0" * 50_000)),
        "video jumps a day": ("mkv", partial(jumping, seconds=86_400)),
        "prepared jumps a year": ("video prepared", partial(jumping, seconds=31_536_000)),
        "video of 7900 px": ("mkv", partial(huge_video, side=7900)),
        "prepared of 7900 px": ("video prepared", partial(huge_video, side=7900)),
        "video m3u8": ("mp4", elsewhere("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nSOUND\n")),
        "video ffconcat": ("mkv", elsewhere("ffconcat version 1.0\nfile 'SOUND'\n")),
    }


def _tensors() -> dict[str, tuple[str, Build]]:
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    pickles = {
        "laughs": laughing(60),
        "a long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "a string": b"\x80\x02X\xff\xff\xff\x7f.",
        "marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
        "lists": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
        "nothing": b"",
        "no dict": pickle.dumps([1, 2, 3], 2),
        "numbers": pickle.dumps({1: 2}, 2),
    }
    return {
        **{f"header of {length}": ("safetensors", headed(b"{}", length)) for length in (2**63, 2**64 - 1, 10**8, 3, 0)},
        "header of 100 MB": ("safetensors", headed(b"{}" + b" " * 10**8)),
        "header of brackets": ("safetensors", headed(b'{"a":' * 100_000)),
        "a million tensors": (
            "safetensors",
            tensors_header({f"t{n}": {**one, "shape": [0], "data_offsets": [0, 0]} for n in range(50_000)}, b""),
        ),
        "2^40 numbers": ("safetensors", tensors_header({"a": {**one, "shape": [2**40]}})),
        "2^63 numbers": ("safetensors", tensors_header({"a": {**one, "shape": [2**62, 4]}})),
        "empty 2^62": ("safetensors", tensors_header({"a": {**one, "shape": [2**62, 0], "data_offsets": [0, 0]}}, b"")),
        "overlap": ("safetensors", tensors_header({"a": one, "b": one})),
        "unknown kind": ("safetensors", tensors_header({"a": {**one, "dtype": "Q9"}})),
        "motion of nothing": ("motion", tensors_header({})),
        "motion of scalars": (
            "motion",
            tensors_header(
                {
                    name: {"dtype": "F32", "shape": [], "data_offsets": [4 * n, 4 * n + 4]}
                    for n, name in enumerate(("motion", "directions", "emotion", "window_starts"))
                },
                bytes(16),
            ),
        ),
        "pth packed": ("pth", zipped({"data.pkl": bytes(400_000_000), "version": b"3\n"}, packed=True)),
        "pth packed part": (
            "pth",
            zipped({"data.pkl": b"}.", "version": b"3\n", "data/0": bytes(400_000_000)}, packed=True),
        ),
        "pth of parts": ("pth", zipped({"data.pkl": b"}.", **{f"data/{n}": b"" for n in range(30_000)}}, packed=False)),
        "pth runs": ("pth", partial(runs, zip_file=True)),
        "bin runs": ("bin", partial(runs, zip_file=False)),
        "pth strided": ("pth", strided),
        **{
            f"pth of {name}": ("pth", zipped({"data.pkl": c, "version": b"3\n"}, packed=False))
            for name, c in pickles.items()
        },
        **{f"bin of {name}": ("bin", data(content)) for name, content in pickles.items()},
        "torchscript packed": ("torchscript", zipped({"data.pkl": bytes(300_000_000), "version": b"3\n"}, packed=True)),
        "array of 2^40": ("shot offsets.npy", array("(1099511627776,)")),
        "array of -1": ("shot offsets.npy", array("(-1,)")),
        "array of objects": ("shot speech.npy", array("(1,)", "|O", pickle.dumps(Runs(os.system, "true")))),
        "array of brackets": ("shot speech.npy", array("(" * 20_000)),
        "offsets far out": ("shot offsets.npy", array("(3,)", content=struct.pack("<3q", 0, 2**62, 2**63 - 1))),
        "offsets backwards": ("shot offsets.npy", array("(3,)", content=struct.pack("<3q", 900, 3, -5))),
    }


def _tables() -> dict[str, tuple[str, Build]]:
    return {
        "table of 2^34 rows": ("traces", partial(many_rows, doublings=11, rows=2**23)),
        "table of 30 M rows": ("traces", partial(many_rows, doublings=0, rows=30_000_000)),
        "table of 20,000 columns": ("traces", partial(many_rows, doublings=0, rows=1, columns=20_000)),
        "table of brackets": ("traces", data(b"PAR1" + b"\x1c" * 100_000 + struct.pack("<I", 100_000) + b"PAR1")),
        "table claims a footer": ("traces", data(b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1")),
        "csv of a field": ("manifest", data("image,audio\n" + "x" * 10_000_000 + ",b\n")),
        "csv open quote": ("manifest", data('image,audio\n"' + "x,\n" * 1_000_000)),
        "csv of columns": ("manifest", data("image,audio" + ",x" * 1_000_000)),
        "csv twice": ("manifest", data("image,audio,image\na.png,a.wav,b.png\n")),
        "csv of nulls": ("manifest", data("image,audio\n\0,\0\n")),
        "csv utf-16": ("manifest", data("image,audio\na.png,a.wav\n".encode("utf-16"))),
        "csv of lines": ("manifest", data("image,audio\n" + "a.png,a.wav\n" * 300_000)),
        "csv without end": ("manifest", data("\n" * 10_000_000)),
    }


def _texts() -> dict[str, tuple[str, Build]]:
    kinds = ("record", "record measured", "clip record", "corpus")
    mini = ("sweep", "failure")
    return {
        **{f"{kind} of {name}": (kind, data(text)) for kind in kinds for name, text in TEXTS.items()},
        **{f"{kind} of {name}": (kind, data(text)) for kind in mini for name, text in list(TEXTS.items())[:6]},
        **{
            f"{kind} of {name}": (kind, data(text))
            for kind in ("config", "config built")
            for name, text in YAMLS.items()
        },
        **{f"override of {name}": ("record", override(text)) for name, text in YAMLS.items() if len(text) < 500_000},
    }


SPECIAL = ("fifo", "folder", "loop", "sparse", "socket", "/dev/zero", "/dev/full", "/proc/self/mem", "nowhere")
SPECIAL_KINDS = (
    *("wav", "mp3", "png", "mp4", "safetensors", "pth", "torchscript", "manifest", "corpus", "utterance", "motion"),
    *("traces", "record", "config", "clip record", "sweep", "failure", "record measured", "config built", "cache"),
    *("shot offsets.npy", "shot frames.bin"),
)


def _special() -> dict[str, tuple[str, Build]]:
    return {
        f"{kind} is {what}": (kind, partial(special, kind=what))
        for kind in SPECIAL_KINDS
        for what in SPECIAL
        if not (what == "nowhere" and kind in ("record", "record measured", "config built", "clip record"))
    }


GROUPS = {
    "images": cache(_images),
    "sounds": cache(_sounds),
    "videos": cache(_videos),
    "tensors": cache(_tensors),
    "tables": cache(_tables),
    "texts": cache(_texts),
    "special": cache(_special),
}


def bombs() -> dict[str, Task]:
    """Returns all bombs by name."""
    found = [(group, name, kind) for group, make in GROUPS.items() for name, (kind, _) in make().items()]
    unknown = {kind for _, _, kind in found} - set(KINDS)
    assert not unknown, f"no such kinds: {unknown}"
    return {
        name: Task(kind=kind, number=number, seed=0, build=partial(build, group, name))
        for number, (group, name, kind) in enumerate(found)
    }


def build(group: str, name: str, path: Path) -> None:
    """Writes the bomb of this name."""
    GROUPS[group]()[name][1](path)
