"""Streaming: the first frames are decoded before the last are sampled."""

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
from float_research.types import MotionWindow

BATCHES = 2
"""Batches of frames to prefetch; of motion, one window is prefetched."""


class Decoded(NamedTuple):
    """Frames on the CPU, and their window of motion."""

    window: MotionWindow
    frames: UInt8[Tensor, "n h w 3"]


def stream(
    pipeline: FloatPipeline,
    clips: Sequence[PreparedClip],
    *,
    overlap: bool | None,
    sampling: Stopwatch,
    decoding: Sequence[Stopwatch],
) -> Generator[Decoded]:
    """Samples clips in one batch and decodes them window by window. `decoding`: one stopwatch per clip.

    With `search.per=clip`, sampling finishes before the first frame is decoded; with `per=window` it streams.

    `overlap` decodes the next frames and samples the next window while the caller uses the current ones; None enables
    it only on a GPU with streams. Close the generator, so that no thread keeps running after an exception.
    """
    device = sampling.device
    retimings = [pipeline.retiming(clip) for clip in clips]
    decoders = [pipeline.decoder(clip) for clip in clips]
    overlap = has_streams(device) if overlap is None else overlap

    def windows() -> Generator[MotionWindow]:
        yield from sampling.each("sample", pipeline.motion(clips, sampling))

    def decoded() -> Generator[Decoded]:
        sampling_windows = ahead(windows(), at_most=1, device=device) if overlap else windows()
        with closing(sampling_windows):
            for sampled in sampling_windows:
                window = retimings[sampled.index](sampled)
                frames = decoders[window.index](window.motion) if len(window.motion) else iter(())
                for batch in decoding[window.index].each("decode", (batch.cpu() for batch in frames)):
                    yield Decoded(window, batch)
                if not len(window.motion):  # no frame of a slower video falls into this window
                    yield Decoded(window, torch.empty(0, 0, 0, 3, dtype=torch.uint8))

    return ahead(decoded(), at_most=BATCHES, device=device) if overlap else decoded()
