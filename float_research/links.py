"""Finds recordings that are concatenated in one file: chained Ogg files and joined MP3 files."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from float_research.errors import UserError, named

OGG, OGG_HEADER, OGG_PAGE, OGG_BEGINS = b"OggS", 27, 65307, 2
"""Page signature, size of a header without its table, largest page, flag of a stream's first page."""
ID3, ID3_HEADER = b"ID3", 10
MP3_TAG = re.compile(b"ID3|Xing|Info")
MP3_HEADER, MP3_SIDE, LAYER_III = 4, {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}, 1
"""Bytes of a frame's header and of its side information by (MPEG 1, mono), which precede a tag."""
CHUNK = 2**20
MAX_LINKS = 1000


def links(path: Path, kind: str) -> list[range]:
    """Returns the byte ranges of the recordings in a file of FFmpeg's format `kind`, and of bytes before the first."""
    found = {"ogg": _ogg, "mp3": _mp3}.get(kind)
    if found is None:
        return []
    with path.open("rb") as file:
        starts = list(found(file))
        end = file.seek(0, os.SEEK_END)
    if len(starts) > MAX_LINKS:
        raise UserError(f"{named('audio', path)} contains {len(starts):,} concatenated recordings; give one")
    return [range(*link) for link in pairwise(sorted({0, *starts, end}))]


def _ogg(file: BinaryIO) -> Iterator[int]:
    """Yields the positions where streams begin after pages of other streams (RFC 3533)."""
    position, began = 0, False
    while (page := _next_page(file, position)) is not None:
        header = file.read(OGG_HEADER)
        if len(header) < OGG_HEADER:
            return
        begins = bool(header[5] & OGG_BEGINS)
        if begins and not began:
            yield page
        began = begins
        position = page + OGG_HEADER + header[-1] + sum(file.read(header[-1]))


def _next_page(file: BinaryIO, position: int) -> int | None:
    """Seeks to the next page from `position` on and returns its position; None after the last."""
    file.seek(position)
    while content := file.read(OGG_PAGE):
        found = content.find(OGG)
        if found >= 0:
            return file.seek(position + found)
        if len(content) < OGG_PAGE:
            return None
        position = file.seek(position + len(content) - len(OGG) + 1)
    return None


def _mp3(file: BinaryIO) -> Iterator[int]:
    """Yields the positions of frames with a Xing or LAME tag, which gives the padding, or of the ID3 tag before them.

    FFmpeg looks for a tag at the start of the file only.
    """
    room = MP3_HEADER + max(MP3_SIDE.values()) + ID3_HEADER
    before, position, notes = b"", 0, dict[int, int]()
    while content := file.read(CHUNK):
        window, first = before + content, position - len(before)
        for tag in MP3_TAG.finditer(window):
            header = window[tag.start() : tag.start() + ID3_HEADER]
            if tag[0] == ID3 and len(header) == ID3_HEADER:
                size = sum((byte & 0x7F) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))
                notes[first + tag.end() - len(ID3) + ID3_HEADER + size] = first + tag.start()
            for side in set(MP3_SIDE.values()):
                start = tag.start() - MP3_HEADER - side
                if start >= 0 and _is_frame(window[start : start + MP3_HEADER], side):
                    yield notes.get(first + start, first + start)
        before, position = window[-room:], position + len(content)


def _is_frame(header: bytes, side: int) -> bool:
    """Returns whether these bytes are the header of an MPEG layer III frame with that much side information."""
    synchronised = header[0] == 0xFF and header[1] >= 0xE0 and (header[1] >> 1) & 3 == LAYER_III
    return synchronised and MP3_SIDE[(header[1] >> 3) & 3 == 3, header[3] >> 6 == 3] == side
