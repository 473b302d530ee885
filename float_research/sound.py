"""Decodes the sound of recordings, for both the model's input and the video's sound track."""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Float

from float_research.errors import UserError, named
from float_research.links import links
from float_research.media import BOUNDS, Limits, open_media
from float_research.texts import count
from float_research.types import Excerpt, Waveform

REMEDY = "give another, or export it again as WAV"
BLOCK = 2**18
"""Samples processed at a time."""
MAX_DROPPED = 2 / 3
"""Tolerated share of damaged packets, as FFmpeg's `max_error_rate`."""
MISSING_S = 0.1
"""Smallest difference to the declared duration that is reported; codecs differ by less."""
PADDED, PADDING = {"mov", "ogg"}, 2048
"""Containers that declare the duration, and the most samples an encoder may have appended to it."""
MONO = "mono"


class SoundBlock(NamedTuple):
    """Consecutive samples, their rate and FFmpeg's name of their channel layout."""

    samples: Float[np.ndarray, "c s"]
    rate_hz: int
    layout: str

    @property
    def mono(self) -> Float[np.ndarray, " s"]:
        """The mean of the channels."""
        return self.samples.mean(axis=0) if len(self.samples) > 1 else self.samples[0]


@dataclass
class Tally:
    """Counts from decoding. `missing_s`: how much shorter the sound is than the container declares."""

    tracks: int = 0
    channels: int = 0
    packets: int = 0
    dropped: int = 0
    missing_s: float = 0.0


def read_sound(
    path: Path, excerpt: Excerpt, limits: Limits = BOUNDS, tally: Tally | None = None
) -> Iterator[SoundBlock]:
    """Yields the blocks of an excerpt, with all channels unless it selects one.

    As in FFmpeg, the format is detected by content, undecodable packets are skipped, and rate and channels may change
    within a file. Unlike FFmpeg, it reads all links of a chained file and removes the encoder's padding at the end.
    """
    name, tally = named("audio", path), tally or Tally()
    for block in _check(_cut(_decode(path, excerpt.track or 0, tally, limits), excerpt), name, limits):
        num_channels, number = len(block.samples), excerpt.channel
        if number is not None and not tally.channels and not 0 <= number < num_channels:
            raise UserError(
                f"data.channel={number}: {name} has {count(num_channels, 'channel')}, and indices start at 0"
            )
        tally.channels = max(tally.channels, num_channels)
        if number is None:
            yield block
        else:
            number = min(number, num_channels - 1)
            yield SoundBlock(block.samples[number : number + 1], block.rate_hz, MONO)
    if tally.dropped > MAX_DROPPED * tally.packets:
        raise UserError(f"{name} is damaged: {tally.dropped} of {tally.packets} packets cannot be decoded; {REMEDY}")


def _decode(path: Path, track: int, tally: Tally, limits: Limits) -> Iterator[SoundBlock]:
    name = named("audio", path)
    for container in _links(path):
        num_tracks = len(container.streams.audio)
        if not tally.tracks:
            tally.tracks = num_tracks
            if not num_tracks:
                raise UserError(f"{name} has no audio track; give a recording of speech")
            if not 0 <= track < num_tracks:
                raise UserError(f"data.track={track}: {name} has {num_tracks} audio tracks, and indices start at 0")
        if track >= num_tracks:  # a link with fewer tracks than the first
            continue
        stream = container.streams.audio[track]
        if stream.codec_context is None:
            raise UserError(f"{name} has an unknown codec; {REMEDY}")
        limits.check_sound(name, stream.rate, stream.channels)
        yield from _trim(merge(_frames(container, stream, tally)), container, stream, tally)


def _links(path: Path) -> Iterator[InputContainer]:
    """Opens the chained recordings of a file, one after the other."""
    with open_media(path, "audio", REMEDY) as container:
        kind = container.format.name
        parts = links(path, kind)
        if len(parts) < 2:
            yield container
            return
    for part in parts:
        with ExitStack() as stack:
            try:
                container = stack.enter_context(open_media(path, "audio", REMEDY, part))
            except UserError:  # bytes before the first recording, such as junk
                continue
            if container.format.name == kind:
                yield container


def _frames(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[SoundBlock]:
    """Decodes the packets of a track, one frame at a time."""
    for packet in _packets(container, stream, tally):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            tally.dropped += packet.size > 0
            continue
        for frame in frames:
            yield SoundBlock(as_float(frame), frame.sample_rate, frame.layout.name)


def _packets(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[av.Packet]:
    """Yields and counts the packets of a track, up to damage of the container."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.InvalidDataError, av.PatchWelcomeError, av.ArgumentError):  # this ends the generator
            tally.packets, tally.dropped = tally.packets + 1, tally.dropped + 1
            continue
        if packet is None:
            return
        tally.packets += packet.size > 0  # the last one is empty, and flushes the decoder
        yield packet


def as_float(frame: av.AudioFrame) -> Float[np.ndarray, "c s"]:
    """Converts samples of any format to float32; integer formats to [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is rejected as such
        return samples.astype(np.float32, copy=False)


def _trim(
    blocks: Iterator[SoundBlock], container: InputContainer, stream: AudioStream, tally: Tally
) -> Iterator[SoundBlock]:
    """Removes the padding of the encoder's last packet, if the container declares a duration."""
    if not PADDED & set(container.format.name.split(",")) or not stream.duration or not stream.time_base:
        yield from blocks
        return
    left, held = float(stream.duration * stream.time_base), list[SoundBlock]()
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
    tally.missing_s += 0 if math.isinf(left) or left < MISSING_S else left


def _cut(blocks: Iterator[SoundBlock], excerpt: Excerpt) -> Iterator[SoundBlock]:
    """Cuts the blocks to the excerpt."""
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


def _check(blocks: Iterator[SoundBlock], name: str, limits: Limits) -> Iterator[SoundBlock]:
    """Passes the blocks on. Raises a UserError if they exceed the limits or are not finite."""
    seconds = 0.0
    for block in blocks:
        num_channels, num_samples = block.samples.shape
        limits.check_sound(name, block.rate_hz, num_channels)
        seconds += num_samples / block.rate_hz
        limits.check_duration(name, seconds)
        require_finite(block.samples, name)
        yield block


def require_finite(samples: np.ndarray, name: str) -> None:
    """Raises a UserError for NaN or infinite samples, which resampling would spread. `name` begins the message."""
    if samples.size and not np.isfinite([samples.min(), samples.max()]).all():
        raise UserError(f"{name} contains NaN or infinite samples; export it again")


def mono_blocks(waveform: Waveform, rate_hz: int) -> Iterator[SoundBlock]:
    """Yields a waveform as blocks of float32 mono sound."""
    for part in parts(waveform):
        yield SoundBlock(np.asarray(part[None], dtype=np.float32), rate_hz, MONO)


def parts(waveform: Waveform) -> Iterator[Waveform]:
    """Splits a waveform into parts of `BLOCK` samples."""
    for start in range(0, len(waveform), BLOCK):
        yield waveform[start : start + BLOCK]


def merge(blocks: Iterable[SoundBlock]) -> Iterator[SoundBlock]:
    """Merges consecutive blocks of the same kind to `BLOCK` samples or slightly more."""
    parts, num_samples = list[SoundBlock](), 0
    for block in blocks:
        alike = parts and block[1:] == parts[0][1:] and len(block.samples) == len(parts[0].samples)
        if parts and (num_samples >= BLOCK or not alike):
            yield _join(parts)
            parts, num_samples = [], 0
        parts.append(block)
        num_samples += block.samples.shape[1]
    if parts:
        yield _join(parts)


def _join(parts: list[SoundBlock]) -> SoundBlock:
    return parts[0]._replace(samples=np.concatenate([part.samples for part in parts], axis=1))


def resample_blocks(blocks: Iterable[SoundBlock], target_hz: int) -> Iterator[Float[np.ndarray, "c s"]]:
    """Resamples each stretch of constant rate with soxr_hq, librosa's default.

    All blocks must have the same number of channels.
    """
    for rate_hz, stretch in groupby(blocks, key=lambda block: block.rate_hz):
        if rate_hz == target_hz:
            yield from (block.samples for block in stretch)
            continue
        first = next(stretch)
        resampler = Resampler(rate_hz, target_hz, len(first.samples))
        for block in chain([first], stretch):
            yield resampler(block.samples)
        yield resampler.end()


class Resampler:
    """Resamples consecutive blocks with soxr_hq, librosa's default. The result does not depend on the blocks' sizes."""

    def __init__(self, rate_hz: int, target_hz: int, num_channels: int) -> None:
        self.rate_hz, self.target_hz, self.num_channels = rate_hz, target_hz, num_channels
        self.stream = soxr.ResampleStream(rate_hz, target_hz, num_channels, dtype="float32", quality="HQ")
        self.num_read = self.num_made = 0

    def __call__(self, samples: Float[np.ndarray, "c s"]) -> Float[np.ndarray, "c _"]:
        """Returns the samples that are finished by this block."""
        made = np.atleast_2d(self.stream.resample_chunk(_for_soxr(samples)).T)
        self.num_read, self.num_made = self.num_read + samples.shape[1], self.num_made + made.shape[1]
        return made

    def end(self) -> Float[np.ndarray, "c _"]:
        """Returns the last samples, up to `ceil(samples · target / rate)` in all, as librosa's fix_length."""
        rest = self.stream.resample_chunk(_for_soxr(np.zeros((self.num_channels, 0), np.float32)), last=True)
        wanted = math.ceil(self.num_read * self.target_hz / self.rate_hz) - self.num_made
        ending = np.atleast_2d(rest.T)[:, :wanted]
        return np.pad(ending, ((0, 0), (0, wanted - ending.shape[1])))


def _for_soxr(samples: Float[np.ndarray, "c s"]) -> np.ndarray:
    """Returns samples with channels last; one-dimensional for mono."""
    return np.ascontiguousarray(samples[0] if len(samples) == 1 else samples.T)
