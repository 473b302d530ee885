"""Live sessions: speech in blocks as it comes, frames out."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from float_research.conditioning.emotion import Label
from float_research.data.image import to_tensor
from float_research.errors import UserError, printable
from float_research.files import composed
from float_research.inference.best_of import NoSearch
from float_research.inference.encoding import ClipEncoder
from float_research.inference.hearing import Hearing
from float_research.inference.inputs import ImageInput, as_waveform, read_portrait
from float_research.inference.pipeline import encoded_portrait
from float_research.inference.result import Renderer
from float_research.inference.retiming import Retiming
from float_research.inference.stopwatch import Stopwatch
from float_research.sampling.sampler import OpenClip
from float_research.sound import require_finite
from float_research.types import Cost, Image, MotionWindow

LOOK_AHEAD_S, CONTEXT_S = 1.0, 8.0
"""Speech that the encoders hear behind a window and before it, unless others are chosen."""


class LiveFrame(NamedTuple):
    """An RGB frame, `(h, w, 3)` uint8, and the motion latent that it was decoded from."""

    image: Image
    motion: Float[Tensor, " d"]


class LiveSession:
    """Turns speech into frames while it is spoken. `Pipeline.live` opens one; as a context, it is closed at the end.

    A window is sampled once its speech and the look-ahead have come. What is computed for it depends on nothing later,
    and the noise on its number, so frames do not depend on the sizes of the blocks. Silence is speech like any other.

    `num_frames`: frames so far. `heard_s`: seconds of sound so far. `seconds`: of each phase. `cost`: of sampling.
    """

    def __init__(
        self,
        pipeline: Renderer,
        image: ImageInput,
        *,
        rate_hz: int,
        look_ahead_s: float,
        context_s: float,
        emotion: str | None,
        id: str,
    ) -> None:
        core, model = pipeline.core, pipeline.core.model
        if not isinstance(core.search, NoSearch):
            raise UserError(
                f"search {type(core.search).__name__} compares whole clips or windows of them, which are not known "
                "while they are spoken; use search=none"
            )
        if core.edits.edits:
            raise UserError("edits of motion are not applied in a live session; use motion=none")
        if not pipeline.composite.whole:
            raise UserError("a live session yields the network's frames; use composite=none")
        if not isinstance(rate_hz, int | np.integer) or isinstance(rate_hz, bool):
            raise UserError(f"rate_hz={printable(rate_hz)} must be a whole number of samples per second, such as 16000")
        pipeline.loader.limits.check_sound("live sound", int(rate_hz), channels=1)
        previous_s = core.sampler.chunking.previous_frames / model.fps
        for name, value, least_s in (("look_ahead_s", look_ahead_s, 0.0), ("context_s", context_s, previous_s)):
            if not isinstance(value, int | float) or not least_s <= value < math.inf:
                raise UserError(f"{name}={printable(value)} must be {least_s:g} or more seconds")
        self.pipeline, self.rate_hz = pipeline, int(rate_hz)
        self.num_frames, self.num_samples, self.cost = 0, 0, Cost()
        self.closed = self._dropped = False
        self._watch = Stopwatch(pipeline.device)
        self._hearing = Hearing(
            model,
            core.emotion if emotion is None else Label(label=emotion, emotions=model.emotions),
            self.rate_hz,
            context_frames=math.ceil(context_s * model.fps),
            ahead_frames=math.ceil(look_ahead_s * model.fps),
        )
        crop = read_portrait(pipeline.loader, image).crop
        with pipeline.computing():
            with self._watch.phase("encode_image"):
                encoded = ClipEncoder(model=model, kept=core.kept).image(to_tensor(crop, pipeline.loader.image_size))
            self._portrait = encoded_portrait(encoded)
            network = core.vector_field(model.fmt)
        self._clip = OpenClip(core.sampler, network, id=composed(id), reference=encoded["reference"][0], seed=None)
        self._retiming = Retiming(num_frames=math.inf, num_video_frames=math.inf, step=model.fps / core.fps)
        self._frames: Iterator[LiveFrame] = iter(())

    def feed(self, samples: Any) -> Iterator[LiveFrame]:
        """Takes a block of samples of one channel, an array or a tensor, and yields the frames that it completes.

        Frames are computed while they are asked for; what is left of them comes with the next block.
        """
        self._require_open()
        if not isinstance(samples, np.ndarray | Tensor):
            raise UserError(f"a block of samples cannot be a {type(samples).__name__}; give an array or a tensor")
        block = as_waveform(samples)
        require_finite(block, "a block of samples")
        self.num_samples += len(block)
        self._hearing.buffer.add(block)
        return self._ready()

    def finish(self) -> Iterator[LiveFrame]:
        """Ends the speech, and yields the frames that are left. The session takes no more blocks."""
        self._require_open()
        self.closed = True
        buffer = self._hearing.buffer
        buffer.end()
        num_frames = self._hearing.num_frames
        assert num_frames is not None
        model, fps = self.pipeline.core.model, self.pipeline.core.fps
        num_video_frames = math.ceil(buffer.num_samples * fps / model.sampling_rate_hz)
        self._retiming.num_frames, self._retiming.num_video_frames = num_frames, num_video_frames
        return self._ready()

    def close(self) -> None:
        """Ends the session; what it has not computed yet is dropped."""
        self.closed = self._dropped = True
        self._frames = iter(())

    @property
    def heard_s(self) -> float:
        return self.num_samples / self.rate_hz

    @property
    def seconds(self) -> dict[str, float]:
        return dict(self._watch.seconds)

    def __enter__(self) -> "LiveSession":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _require_open(self) -> None:
        if self.closed:
            raise UserError("the live session has ended; open another with pipeline.live")

    def _ready(self) -> Iterator[LiveFrame]:
        """Yields the frames that can be computed. Several such iterators share the work."""
        while True:
            frame = next(self._frames, None)
            if frame is not None:
                self.num_frames += 1
                yield frame
            elif (window := self._sample()) is not None:
                self._frames = self._decode(window)
            else:
                return

    def _sample(self) -> MotionWindow | None:
        """Samples the next window, once it can be."""
        hearing, clip = self._hearing, self._clip
        num_frames = hearing.num_frames
        left = hearing.has(clip.end) if num_frames is None else num_frames > 0 and not clip.covers(num_frames)
        if self._dropped or not left:
            return None
        with self.pipeline.computing():
            with self._watch.phase("encode_audio"):
                heard = hearing.encode(clip.start, clip.end)
            with self._watch.phase("sample"):
                window = clip.advance(heard.audio, heard.emotion, first=heard.first, num_frames=num_frames)
        hearing.forget(clip.start)
        self.cost += window.cost
        return window

    def _decode(self, window: MotionWindow) -> Iterator[LiveFrame]:
        """Decodes the frames of a window, at the video's frame rate."""
        motion = self._retiming(window).motion
        if not len(motion):  # no frame of a slower video falls into this window
            return
        batches = (batch.cpu() for batch in self.pipeline.core.frames(self._portrait, motion))
        latents = iter(motion.cpu())
        for batch in self.pipeline.computed(self._watch.each("decode", batches)):
            yield from map(LiveFrame, batch.numpy(), latents)
