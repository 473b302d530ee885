"""Frames as they are made: the first come before the last are sampled."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

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

    With `overlap`, while these frames are being used, the next are decoded and the next chunk is sampled; None is on a
    GPU with streams alone. To be closed, so that nothing goes on after an exception.
    """
    device = sampling.device
    overlap = has_streams(device) if overlap is None else overlap

    def chunks() -> Generator[MotionChunk]:
        yield from sampling.each("sample", pipeline.motion(clips))

    def decoded() -> Generator[Decoded]:
        made = ahead(chunks(), at_most=1, device=device) if overlap else chunks()
        with closing(made):
            for chunk in made:
                frames = pipeline.frames(clips[chunk.index], chunk.motion)
                for batch in decoding[chunk.index].each("decode", (batch.cpu() for batch in frames)):
                    yield Decoded(chunk, batch)

    return ahead(decoded(), at_most=BATCHES, device=device) if overlap else decoded()
