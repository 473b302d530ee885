"""Frames as they are made: the first come before the last are sampled."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from float_research.devices import has_streams
from float_research.inference.ahead import ahead
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.types import MotionChunk

BATCHES = 2
"""Of frames that wait to be taken; of chunks of motion, one waits to be decoded."""


class Decoded(NamedTuple):
    """Frames on the CPU, and the chunk of motion that they are from."""

    chunk: MotionChunk
    frames: UInt8[Tensor, "n h w 3"]


def stream(
    pipeline: FloatPipeline,
    clips: Sequence[PreparedClip],
    *,
    overlap: bool | None,
    sampling: Stopwatch,
    decoding: Sequence[Stopwatch],
) -> Generator[Decoded]:
    """Samples clips side by side and decodes them, chunk by chunk. `decoding`: a stopwatch for each clip.

    A search for the best whole clip needs all of it before the first frame; one per window goes on window by window.

    With `overlap`, while these frames are being used, the next are decoded and the next chunk is sampled; None is on a
    GPU with streams alone. To be closed, so that nothing goes on after an exception.
    """
    device = sampling.device
    retimings = [pipeline.retiming(clip) for clip in clips]
    overlap = has_streams(device) if overlap is None else overlap

    def chunks() -> Generator[MotionChunk]:
        yield from sampling.each("sample", pipeline.motion(clips, sampling))

    def decoded() -> Generator[Decoded]:
        made = ahead(chunks(), at_most=1, device=device) if overlap else chunks()
        with closing(made):
            for sampled in made:
                chunk, clip = retimings[sampled.index](sampled), clips[sampled.index]
                frames = pipeline.frames(clip, chunk.motion) if len(chunk.motion) else iter(())
                for batch in decoding[chunk.index].each("decode", (batch.cpu() for batch in frames)):
                    yield Decoded(chunk, batch)
                if not len(chunk.motion):  # between two frames of a slower video
                    yield Decoded(chunk, torch.empty(0, 0, 0, 3, dtype=torch.uint8))

    return ahead(decoded(), at_most=BATCHES, device=device) if overlap else decoded()
