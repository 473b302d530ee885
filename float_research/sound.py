"""The sound of recordings, decoded in one way for what the model hears and for what the video speaks."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import librosa
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float

from float_research.errors import UserError, named
from float_research.files import require_file
from float_research.media import BOUNDS, Limits, open_media
from float_research.types import Excerpt

REMEDY = "convert it to WAV"
BLOCK = 2**18
"""Samples that are worked on at a time."""
MAX_DROPPED = 2 / 3
"""Share of packets that may be damaged, as FFmpeg's `max_error_rate`."""
PADDED, PADDING = {"mov", "ogg"}, 2048
"""Containers that say how long a recording is, and how many samples an encoder may have appended to it."""
OGG, OGG_HEADER, OGG_PAGE, OGG_BEGINS = b"OggS", 27, 65307, 2
"""What a page begins with, the size of a header but for its table, the largest page, the bit of a first page."""
MAX_LINKS = 1000
MONO = "mono"


class Block(NamedTuple):
    """Samples that follow each other, and FFmpeg's name of what their channels are."""

    samples: Float[np.ndarray, "c s"]
    rate_hz: int
    layout: str

    @property
    def mono(self) -> Float[np.ndarray, " s"]:
        """The mean of the channels."""
        return self.samples.mean(axis=0) if len(self.samples) > 1 else self.samples[0]


@dataclass
class Tally:
    """What was met while decoding."""

    packets: int = 0
    dropped: int = 0


def count_tracks(path: Path) -> int:
    """Tracks of sound in a file; a UserError for a file without one."""
    with open_media(path, "audio", REMEDY, links(path)[0]) as container:
        if not container.streams.audio:
            raise UserError(f"{named('audio', path)} holds no audio track; give a recording of speech")
        return len(container.streams.audio)


def read_sound(path: Path, excerpt: Excerpt, limits: Limits = BOUNDS, tally: Tally | None = None) -> Iterator[Block]:
    """Blocks of what `excerpt` names, of all channels unless it names one.

    As FFmpeg does: by content, whatever the file is called; packets that cannot be decoded are left out; rate and
    channels may change on the way. Unlike FFmpeg, all links of a chained Ogg file are read, and an encoder's padding at
    the end is left out.
    """
    name, tally = named("audio", path), tally or Tally()
    blocks = merged(_checked(_within(_decoded(path, excerpt.track or 0, tally, limits), excerpt), name, limits))
    for block in blocks:
        if excerpt.channel is None:
            yield block
        else:
            number = min(excerpt.channel, len(block.samples) - 1)
            yield Block(block.samples[number : number + 1], block.rate_hz, MONO)
    if tally.dropped > MAX_DROPPED * tally.packets:
        raise UserError(f"{name} is damaged: {tally.dropped} of {tally.packets} packets cannot be decoded; {REMEDY}")


def _decoded(path: Path, track: int, tally: Tally, limits: Limits) -> Iterator[Block]:
    name = named("audio", path)
    for link in links(path):
        with open_media(path, "audio", REMEDY, link) as container:
            if track >= len(container.streams.audio):  # a link of a chain that has fewer than the first
                continue
            stream = container.streams.audio[track]
            if stream.codec_context is None:
                raise UserError(f"{name} has an unknown codec; {REMEDY}")
            limits.check_sound(name, stream.rate, stream.channels)
            yield from _unpadded(_frames(container, stream, tally), container, stream)


def _frames(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[Block]:
    """What the packets of a track hold, a frame at a time."""
    for packet in _packets(container, stream, tally):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            tally.dropped += packet.size > 0
            continue
        for frame in frames:
            yield Block(as_float(frame), frame.sample_rate, frame.layout.name)


def _packets(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[av.Packet]:
    """The packets of a track, up to where the container makes no more sense; counted."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.InvalidDataError, av.PatchWelcomeError, av.ArgumentError):  # which ends the generator
            tally.packets, tally.dropped = tally.packets + 1, tally.dropped + 1
            continue
        if packet is None:
            return
        tally.packets += packet.size > 0  # the last has no content, and asks for what the decoder holds back
        yield packet


def as_float(frame: av.AudioFrame) -> Float[np.ndarray, "c s"]:
    """Samples of any format, in [-1, 1] where it is one of whole numbers."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # float64 beyond float32: infinite, and refused as such
        return samples.astype(np.float32, copy=False)


def _unpadded(blocks: Iterator[Block], container: InputContainer, stream: AudioStream) -> Iterator[Block]:
    """The blocks without the padding that an encoder appended to fill its last packet, where the container tells."""
    if not PADDED & set(container.format.name.split(",")) or not stream.duration or not stream.time_base:
        yield from blocks
        return
    left, held = float(stream.duration * stream.time_base), list[Block]()
    for block in blocks:
        num = len(block.samples[0])
        within = num if held else min(num, max(0, round(left * block.rate_hz)))
        left -= within / block.rate_hz
        if within:
            yield block._replace(samples=block.samples[:, :within])
        if within < num:
            held.append(block._replace(samples=block.samples[:, within:]))
        if sum(part.samples.shape[1] for part in held) > PADDING:  # the declared duration is wrong
            yield from held
            held, left = [], math.inf


def _within(blocks: Iterator[Block], excerpt: Excerpt) -> Iterator[Block]:
    """The samples from the excerpt's beginning to its end."""
    end_s, from_s = math.inf if excerpt.end_s is None else excerpt.end_s, 0.0
    for block in blocks:
        num, rate_hz = block.samples.shape[1], block.rate_hz
        if from_s >= end_s:
            return
        first = max(0, round((excerpt.start_s - from_s) * rate_hz))
        last = num if math.isinf(end_s) else min(num, round((end_s - from_s) * rate_hz))
        if first < last:
            yield block._replace(samples=block.samples[:, first:last])
        from_s += num / rate_hz


def _checked(blocks: Iterator[Block], name: str, limits: Limits) -> Iterator[Block]:
    """The blocks, where they keep to the limits and are numbers: else a UserError."""
    seconds = 0.0
    for block in blocks:
        num_channels, num_samples = block.samples.shape
        limits.check_sound(name, block.rate_hz, num_channels)
        seconds += num_samples / block.rate_hz
        limits.check_duration(name, seconds)
        if num_samples and not np.isfinite([block.samples.min(), block.samples.max()]).all():
            raise UserError(f"{name} holds NaN or infinite samples; export it again")
        yield block


def merged(blocks: Iterable[Block]) -> Iterator[Block]:
    """Neighbours of the same kind as one, of `BLOCK` samples or a little more."""
    parts: list[Block] = []
    for block in blocks:
        if parts and (block[1:] != parts[0][1:] or len(block.samples) != len(parts[0].samples)):
            yield _joined(parts)
            parts = []
        parts.append(block)
        if sum(part.samples.shape[1] for part in parts) >= BLOCK:
            yield _joined(parts)
            parts = []
    if parts:
        yield _joined(parts)


def _joined(parts: list[Block]) -> Block:
    return parts[0]._replace(samples=np.concatenate([part.samples for part in parts], axis=1))


def resampled(blocks: Iterable[Block], target_hz: int) -> Iterator[Float[np.ndarray, "c s"]]:
    """Samples at another rate: what librosa's default, soxr_hq, makes of each stretch of one rate.

    All blocks have to have the same number of channels.
    """
    for rate_hz, stretch in groupby(blocks, key=lambda block: block.rate_hz):
        if rate_hz == target_hz:
            yield from (block.samples for block in stretch)
            continue
        first = next(stretch)
        stream = soxr.ResampleStream(rate_hz, target_hz, len(first.samples), dtype="float32", quality="HQ")
        num_read = num_made = 0
        for block in chain([first], stretch):
            made = stream.resample_chunk(_for_soxr(block.samples))
            num_read, num_made = num_read + block.samples.shape[1], num_made + len(made)
            yield np.atleast_2d(made.T)
        rest = stream.resample_chunk(_for_soxr(first.samples[:, :0]), last=True)
        rest = librosa.util.fix_length(rest, size=math.ceil(num_read * target_hz / rate_hz) - num_made, axis=0)
        yield np.atleast_2d(rest.T)


def _for_soxr(samples: Float[np.ndarray, "c s"]) -> np.ndarray:
    """Channels last, and none for one."""
    return np.ascontiguousarray(samples[0] if len(samples) == 1 else samples.T)


def links(path: Path) -> list[range | None]:
    """The bytes of each link of a chained Ogg file; [None], the whole, for any other file.

    A link begins where streams begin after pages of others: RFC 3533.
    """
    with require_file(path, "audio", "give the path of a recording").open("rb") as file:
        if file.read(len(OGG)) != OGG:
            return [None]
        starts, began = list[int](), False
        position = 0
        while (page := _next_page(file, position)) is not None:
            header = file.read(OGG_HEADER)
            if len(header) < OGG_HEADER:
                break
            begins = bool(header[5] & OGG_BEGINS)
            if begins and not began:
                starts.append(page)
            began = begins
            position = page + OGG_HEADER + header[-1] + sum(file.read(header[-1]))
        end = file.seek(0, os.SEEK_END)
    if len(starts) > MAX_LINKS:
        raise UserError(f"{named('audio', path)} is a chain of {len(starts):,} Ogg files; {REMEDY}")
    return [range(*link) for link in pairwise([*starts, end])] if len(starts) > 1 else [None]


def _next_page(file: BinaryIO, position: int) -> int | None:
    """Where the next page of an Ogg file begins, from `position` on, with the file there; None after the last."""
    while content := (file.seek(position), file.read(OGG_PAGE))[1]:
        found = content.find(OGG)
        if found >= 0:
            file.seek(position + found)
            return position + found
        if len(content) < OGG_PAGE:
            return None
        position += len(content) - len(OGG) + 1
    return None
