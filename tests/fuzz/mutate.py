"""Seeded damage to files: bits, blocks, numbers, splices, values of JSON, YAML and CSV, headers."""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import yaml

MAX_BYTES = 2_000_000
NUMBERS = (0, 1, -1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63)
WORDS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**63, 2**64, 10**400, -(10**30), 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "nan", "1e999", "0", "-1", "null", "true", "~", "..", "."),
    *("../../outside/x.mp4", "/etc/passwd", "/dev/zero", "../" * 50 + "x", "a/b", "x\0y", "a" * 5000, "é" * 300),
    *("\ud800", "\x1b[31mred\x07", "a\nb\rc\td", "\u202eabc", "${oc.env:HOME}", "${now:%Y}", "{0.__class__}", "%s%n"),
    *("<script>alert(1)</script>", "numpy.testing.runstring", "https://127.0.0.1:9/x", "file:///etc/passwd", "*", "&a"),
    *([], {}, [1, 2, 3], {"a": 1}, [[]], {"_target_": "os.system", "command": "true"}, [None], ["a", 1, {"b": []}]),
)
"""Unexpected values."""
Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def mutated(seed: int, kind: str, number: int, samples: Sequence[bytes], text: str | None) -> bytes:
    """Returns the reproducible damaged case `number` of a kind, from its `samples`. `text` is its language, if any."""
    chance = random.Random(f"{seed} {kind} {number}")
    content = chance.choice(samples)
    changes: list[Change] = list(BINARY)
    if text and chance.random() < 0.75:
        changes = [TEXT[text]]
    elif content[:2] == b"PK" and chance.random() < 0.5:
        changes = [zip_part]
    elif content[:4] == b"\x89PNG" and chance.random() < 0.5:
        changes = [png_chunk]
    elif kind in HEADED and chance.random() < 0.5:
        changes = [safetensors_header]
    for _ in range(1 if len(changes) == 1 else chance.choice((1, 1, 1, 2, 3, 8))):
        content = chance.choice(changes)(content, samples, chance)
    return content[:MAX_BYTES]


def place(content: bytes | bytearray, chance: random.Random) -> int:
    """Returns a random offset, often in the first or last bytes, which hold the structure."""
    size = max(len(content), 1)
    where = chance.random()
    if where < 0.45:
        return chance.randrange(min(size, 256))
    return size - 1 - chance.randrange(min(size, 256)) if where < 0.65 else chance.randrange(size)


def bits(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(chance.choice((1, 1, 1, 4, 32))):
        changed[place(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def set_bytes(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(chance.choice((1, 1, 4, 16))):
        changed[place(changed, chance)] = chance.choice((0, 255, 127, 128, chance.randrange(256)))
    return bytes(changed)


def integer(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Replaces a number where a header may have one."""
    width = chance.choice((1, 2, 4, 4, 8))
    at = place(content, chance) // width * width if chance.random() < 0.7 else place(content, chance)
    value = chance.choice((*NUMBERS, len(content), len(content) + 1)) % (1 << 8 * width)
    return content[:at] + value.to_bytes(width, chance.choice(("little", "big"))) + content[at + width :]


def block(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Deletes, doubles, moves or zeroes a block, or fills it with noise."""
    at = place(content, chance)
    end = min(at + chance.choice((1, 2, 4, 8, 64, 512, 4096)), len(content))
    part = content[at:end]
    new = chance.choice(
        (b"", part * 2, part * chance.randrange(2, 50), bytes(len(part)), b"\xff" * len(part), chance.randbytes(16))
    )
    return content[:at] + new + content[end:]


def truncated(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)] if chance.random() < 0.8 else content[place(content, chance) :]


def spliced(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Joins the beginning of one file and the end of another, or of the same at another offset."""
    other = chance.choice(samples)
    return content[: place(content, chance)] + other[place(other, chance) :]


def grown(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    return content + chance.choice((b"\0", chance.randbytes(64), content, chance.choice(samples), bytes(100_000)))


BINARY: tuple[Change, ...] = (bits, bits, set_bytes, integer, integer, block, block, truncated, spliced, grown)
HEADED = frozenset({"safetensors", "motion", "cache"})


def zip_part(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Damages one part of a zip file, with correct checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except (OSError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError):
        return bits(content, samples, chance)
    name = chance.choice([part for part in parts if part.endswith((".pkl", ".py"))] or list(parts))
    if chance.random() < 0.3:
        name = chance.choice(list(parts))
    parts[name] = chance.choice(BINARY)(parts[name], samples, chance)
    if chance.random() < 0.1:
        del parts[chance.choice(list(parts))]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for part, value in parts.items():
            archive.writestr(part, value[:MAX_BYTES])
    return written.getvalue()


def png_chunk(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Damages one chunk of a PNG file, with correct checksums."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return bits(content, samples, chance)
    number = chance.randrange(len(chunks))
    name, body = chunks[number]
    chunks[number] = (name, chance.choice((bits, integer, block, truncated))(body, samples, chance))
    if chance.random() < 0.2:
        chunks.insert(chance.randrange(len(chunks)), chance.choice(chunks))
    said = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return content[:8] + b"".join(said)


def safetensors_header(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Damages the header of a safetensors file, with the correct length."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = changed_json(content[8:end], samples, chance)
    return len(header).to_bytes(8, "little") + header + content[end:]


def changed_json(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Changes values of JSON, or of one line in JSON lines."""
    lines = content.decode(errors="replace").splitlines() if b"\n{" in content else [content.decode(errors="replace")]
    number = chance.randrange(len(lines)) if lines else 0
    try:
        tree = changed(json.loads(lines[number]), chance)
        lines[number] = json.dumps(tree, ensure_ascii=chance.random() < 0.5)
    except (ValueError, IndexError, RecursionError):
        return bits(content, samples, chance)
    if chance.random() < 0.03:
        depth = chance.choice((100, 2000, 100_000))
        lines[number] = "[" * depth + "]" * depth
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def changed_yaml(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return text_noise(content, samples, chance)
    try:
        tree = changed(yaml.safe_load(content), chance)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (ValueError, yaml.YAMLError, RecursionError):
        return bits(content, samples, chance)


def changed_csv(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    rows = [line.split(",") for line in content.decode(errors="replace").splitlines()]
    for _ in range(chance.choice((1, 1, 2, 5))):
        row = chance.choice(rows)
        cell = str(chance.choice(WORDS))
        chance.choice((lambda row, cell: row.append(cell), lambda row, cell: row.insert(0, cell), put_cell))(row, cell)
    if chance.random() < 0.2:
        rows.append(chance.choice(rows))
    said = "\n".join(",".join(row) for row in rows)
    return (
        text_noise(said.encode("utf-8", "surrogatepass"), samples, chance)
        if chance.random() < 0.3
        else said.encode("utf-8", "surrogatepass")
    )


def put_cell(row: list[str], cell: str) -> None:
    if row:
        row[len(cell) % len(row)] = cell


def text_noise(content: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Inserts characters with special meaning at random places."""
    signs = (
        b"\0",
        b'"',
        b"'",
        b"\r",
        b"&a ",
        b"*a",
        b"!!python/object:os.system",
        b"---\n",
        b"\t",
        b"\xff\xfe",
        b"\xed\xa0\x80",
    )
    sign = chance.choice(
        (*signs, b"[" * 2000, b"- " * 500, b"? " * 50, b"<<: *a\n", b"%TAG ! x\n", b"\xef\xbb\xbf", b"=" * 200_000)
    )
    at = chance.randrange(len(content) + 1)
    return content[:at] + sign + content[at:]


TEXT: dict[str, Change] = {"json": changed_json, "yaml": changed_yaml, "csv": changed_csv}


def changed(tree: Any, chance: random.Random) -> Any:
    """Replaces, drops, renames or wraps some values of a tree of plain values."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        tree = _changed_once(tree, chance, depth=0)
    return tree


def _changed_once(node: Any, chance: random.Random, depth: int) -> Any:
    if isinstance(node, dict) and node and chance.random() < 0.9:
        name = chance.choice(list(node))
        way = chance.random()
        rest = {key: value for key, value in node.items() if key != name}
        if way < 0.1:
            return rest
        if way < 0.15:
            return {**rest, str(chance.choice(WORDS))[:200]: node[name]}
        return {**node, name: _changed_once(node[name], chance, depth + 1)}
    if isinstance(node, list) and node and chance.random() < 0.8:
        at = chance.randrange(len(node))
        if chance.random() < 0.15:
            return [*node[:at], *node[at + 1 :]]
        return [*node[:at], _changed_once(node[at], chance, depth + 1), *node[at + 1 :]]
    return chance.choice((chance.choice(WORDS), chance.choice(WORDS), [node], {"a": node}, str(node), [node] * 100))
