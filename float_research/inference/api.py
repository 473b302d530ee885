"""The Python API, for scripts and notebooks."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.data.clips import ClipLoader
from float_research.data.image import to_tensor
from float_research.data.originals import Still
from float_research.errors import UserError, printable
from float_research.files import present
from float_research.inference.failures import Failures
from float_research.inference.inputs import (
    AudioInput,
    Bytes,
    FramesInput,
    GivenClip,
    ImageInput,
    LocalFile,
    MotionInput,
    framed,
    read_audio,
    read_clip,
    read_frames,
    read_motion,
    read_portrait,
)
from float_research.inference.items import CALL, Item, arguments, failed
from float_research.inference.pipeline import EncodedPortrait, FloatPipeline, PreparedClip
from float_research.inference.result import Changeable, DecodedClip, Renderer, Result, Settings
from float_research.inference.retiming import Retiming
from float_research.inference.session import CONTEXT_S, LOOK_AHEAD_S, LiveSession
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream
from float_research.metrics.track import MotionTrack, load_track
from float_research.motion.edit import Edit
from float_research.motion.edits import Edits, Rest
from float_research.types import Cost, FailedClip, Image, MotionWindow
from float_research.video.composite import Composite
from float_research.video.writer import H264

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""
ENCODED_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A clip of a batch, ready to be sampled by its pipeline."""

    pipeline: "Pipeline"
    given: GivenClip
    clip: PreparedClip
    watch: Stopwatch

    def result(self, windows: Sequence[MotionWindow], shared_s: Mapping[str, float]) -> Result:
        """Returns the result of sampled windows. `shared_s`: the clip's share of the seconds of sampling."""
        loaded = self.given.loaded
        return Result(
            id=loaded.clip.id,
            motion=torch.cat([window.motion for window in windows]),
            clip=self.clip,
            window_starts=shown_starts(self.pipeline.core.retiming(self.clip), windows),
            originals=self.pipeline.core.originals(loaded.originals, loaded.video),
            loaded=loaded,
            pipeline=self.pipeline,
            recording=self.given.recording,
            kept=self.given.kept,
            windows=windows,
            cost=sum((window.cost for window in windows), Cost()),
            declared=self.pipeline.core.declared_cost(loaded.num_frames),
            emotion=self.clip.emotion,
            seconds={**self.watch.seconds, **shared_s},
        )


class Pipeline(Renderer):
    """FLOAT with loaded weights and fixed settings. Call it with an image and speech.

    A call may change settings for itself; `using` returns a pipeline with others and the same weights.
    """

    def __init__(
        self,
        *,
        core: FloatPipeline,
        loader: ClipLoader,
        composite: Composite,
        video: H264,
        device: torch.device,
        precision: Any,
        overlap: bool | None,
        settings: Settings,
    ) -> None:
        core = replace(core, model=precision.convert_module(core.model).to(device))
        parts = Changeable(
            core=core, loader=loader, composite=composite, video=video, overlap=overlap, settings=settings
        )
        vars(self).update(vars(parts), device=device, precision=precision)

    def __repr__(self) -> str:
        return f"Pipeline({self.settings.name}, on {self.device})"

    def __call__(
        self,
        image: ImageInput,
        audio: AudioInput,
        *,
        rate_hz: int | None = None,
        emotion: str | None = None,
        id: str = "clip",
        progress: Progress | None = None,
        **settings: Any,
    ) -> Result:
        """Samples the motion of a clip.

        Args:
            image: a path, an http(s) address, a file's bytes, a PIL image, an RGB array `(h, w, 3)` uint8, or a tensor
                `(3, h, w)`, uint8 or in [0, 1]
            audio: a path, an http(s) address, a file's bytes, `(samples, rate)`, or samples of one channel
            rate_hz: rate of samples
            emotion: a label that replaces the configured emotion source
            id: names the clip; selects the noise if it depends on the clip
            progress: called with the frames sampled so far and those of the clip
            settings: others for this call, as in `nfe=20, seed=3, solver="midpoint"`
        """
        pipeline = self.using(**settings)
        asked = pipeline._ask(image, audio, rate_hz=rate_hz, emotion=emotion, id=id)
        return pipeline._sample([asked], progress)[0]

    def batch(self, items: Iterable[Item], *, progress: Progress | None = None, **settings: Any) -> "Iterator[Made]":
        """Yields a result for each item, in order; `batch_clips` of them are sampled together.

        An item that cannot be used is a FailedClip with its `reason` and costs no other its result, unless
        `on_error=stop`. Raises a UserError if all fail.

        Args:
            items: `(image, audio)` pairs, or dictionaries of the arguments of a call, settings included
            progress: called with the clips done so far and all clips
            settings: others for this batch, as in `nfe=20, batch_clips=8`
        """
        wanted = [arguments(item, number) for number, item in enumerate(items)]
        return self.using(**settings)._batch(wanted, progress)

    def stream(
        self,
        image: ImageInput,
        audio: AudioInput,
        *,
        rate_hz: int | None = None,
        emotion: str | None = None,
        id: str = "clip",
        **settings: Any,
    ) -> Iterator[Image]:
        """Yields RGB frames as they are decoded, before the last ones are sampled; as `Result.frames` yields them."""
        pipeline = self.using(**settings)
        asked = pipeline._ask(image, audio, rate_hz=rate_hz, emotion=emotion, id=id)
        with pipeline.computing():
            decoded = stream(
                pipeline.core, [asked.clip], overlap=self.overlap, sampling=asked.watch, decoding=[asked.watch]
            )
        given = asked.given.loaded
        originals = pipeline.core.originals(given.originals, given.video)
        composer = pipeline.composite.open(originals, self.core.model.motion_autoencoder.image_size)
        with closing(decoded):
            for _, frames in pipeline.computed(decoded):
                yield from map(composer, frames.numpy())

    def live(
        self,
        image: ImageInput,
        *,
        rate_hz: int,
        look_ahead_s: float = LOOK_AHEAD_S,
        context_s: float = CONTEXT_S,
        emotion: str | None = None,
        id: str = "clip",
        **settings: Any,
    ) -> LiveSession:
        """Opens a session that turns speech into frames while it comes, in blocks of samples of any size.

        Args:
            image: as in a call
            rate_hz: rate of the samples, which are of one channel
            look_ahead_s: speech behind a window that is waited for before the window is sampled
            context_s: speech before a window that the speech encoders hear too
            emotion: a label that replaces the configured emotion source
            id: selects the noise, as in a call
            settings: others for this session, as in `nfe=20, seed=3`
        """
        return LiveSession(
            self.using(**settings),
            image,
            rate_hz=rate_hz,
            look_ahead_s=look_ahead_s,
            context_s=context_s,
            emotion=emotion,
            id=id,
        )

    def using(self, *overrides: str, **settings: Any) -> "Pipeline":
        """Returns a pipeline with other settings and the same weights, caches and device memory.

        Settings are written as on the command line: `pipeline.using("solver=midpoint", "guidance.audio.scale=3")`. A
        newly chosen option has its own values, not those set before in its group.

        Raises:
            UserError: a setting is unknown, has no effect here, or would need other weights.
        """
        given = [*overrides, *(f"{name}={written(name, value)}" for name, value in settings.items())]
        return self._with(self.settings.changed(self._parts, given)) if given else self

    def with_core(self, core: FloatPipeline) -> "Pipeline":
        """Returns a pipeline with another core, for experiments with parts that no setting describes."""
        return self._with(replace(self._parts, core=core))

    def decode(
        self, image: ImageInput, motion: MotionInput, audio: AudioInput | None = None, *, rate_hz: int | None = None
    ) -> DecodedClip:
        """Renders given motion with a portrait, which may be another than it was sampled for.

        Args:
            image: as in a call
            motion: latents `(frames, d)`, a frame of the video for each, or a motion file; it is not edited, see `edit`
            audio: the sound of the video, as in a call; None: none
            rate_hz: rate of samples
        """
        if isinstance(motion, str | PathLike):
            motion = load_track(Path(present(fspath(motion))))
        latents = read_motion(motion, self.core.directions.T)
        still = read_portrait(self.loader, image)
        self.composite.check(still.face)
        recording, kept = (None, None) if audio is None else read_audio(self.loader, audio, rate_hz)[1:]
        portrait = self._encoded(still)
        with self.computing():
            originals = self.core.originals(still, still.video)
        starts = motion.window_starts.tolist() if isinstance(motion, MotionTrack) else [0]
        return DecodedClip(
            id="decoded",
            motion=latents,
            clip=replace(portrait, video=self.core.dubbed(still.video)),
            originals=originals,
            pipeline=self,
            window_starts=starts,
            recording=recording,
            kept=kept,
        )

    def edit(self, motion: MotionInput, *edits: Edit, image: ImageInput | None = None) -> Float[Tensor, "t d"]:
        """Returns edited motion.

        Args:
            motion: latents `(frames, d)`, a frame of the video for each, or a motion file
            edits: parts of the group `motion`, in order; none: those of the pipeline's settings
            image: the portrait that edits return to; None: the first frame of the motion
        """
        latents = read_motion(motion, self.core.directions.T)
        rest = self.core.rest(latents[:1], self.core.fps) if image is None else rest_of(self, image)
        chosen = Edits(edits=dict(enumerate(edits))) if edits else self.core.edits
        with self.computing():
            return chosen(latents, rest)[0]

    def portrait(self, image: ImageInput) -> EncodedPortrait:
        """Encodes a portrait alone."""
        return self._encoded(read_portrait(self.loader, image))

    def _encoded(self, still: Still) -> EncodedPortrait:
        with self.computing():
            return self.core.portrait(to_tensor(still.crop, self.loader.image_size))

    def encode_motion(self, frames: FramesInput, *, crop: bool = True) -> Float[Tensor, "t d"]:
        """Returns the motion latents of frames, by the encoder of the motion autoencoder.

        Args:
            frames: a video by path, address or bytes, read at the model's frame rate; an array `(n, h, w, 3)` uint8, a
                tensor `(n, 3, h, w)`, or images
            crop: crops all frames by the face of the first, and a video by that of the first of each shot; otherwise
                they are square and framed as portraits are
        """
        if crop and isinstance(frames, str | PathLike | Bytes):
            file = LocalFile(frames, "video", self.loader.limits)
            with file.reading() as path, self.computing():
                return self.core.encode_motion(self.loader.driving(path, self.loader.fps))
        autoencoder, found = self.core.model.motion_autoencoder, list[Tensor]()
        like = autoencoder.dec.direction.weight
        inputs = framed(read_frames(frames, self.loader), self.loader, crop=crop)
        while batch := list(islice(inputs, ENCODED_AT_ONCE)):
            with self.computing():
                identity, _ = autoencoder.encode(torch.stack(batch).to(like.device, like.dtype))
                found.append(autoencoder.reference_motion(identity))
        if not found:
            raise UserError("there are no frames to encode; give at least one")
        return torch.cat(found)

    @property
    def _parts(self) -> Changeable:
        return Changeable(**{field.name: getattr(self, field.name) for field in fields(Changeable)})

    def _with(self, parts: Changeable) -> "Pipeline":
        sibling = object.__new__(Pipeline)
        vars(sibling).update(vars(self), **vars(parts))
        return sibling

    def _ask(
        self,
        image: ImageInput,
        audio: AudioInput,
        *,
        rate_hz: int | None = None,
        emotion: str | None = None,
        id: str = "clip",
    ) -> Asked:
        """Reads and prepares a clip."""
        given = read_clip(self.loader, image, audio, rate_hz=rate_hz, emotion=emotion, id=id)
        self.composite.check(given.loaded.face)
        watch = Stopwatch(self.device)
        with self.computing():
            return Asked(pipeline=self, given=given, clip=self.core.prepare(given.loaded, watch), watch=watch)

    def _sample(self, asked: Sequence[Asked], progress: Progress | None = None) -> list[Result]:
        """Samples clips together. Each has its share of the seconds, by its frames."""
        shared, windows = Stopwatch(self.device), [list[MotionWindow]() for _ in asked]
        total = sum(one.given.loaded.num_frames for one in asked)
        with self.computing():
            sampled = shared.each("sample", self.core.motion([one.clip for one in asked], shared))
        for window in self.computed(sampled):
            windows[window.index].append(window)
            if progress is not None:
                progress(sum(len(window.motion) for parts in windows for window in parts), total)
        results = []
        for one, parts in zip(asked, windows, strict=True):
            share = one.given.loaded.num_frames / total
            results.append(one.result(parts, {phase: seconds * share for phase, seconds in shared.seconds.items()}))
        return results

    def _batch(self, items: Sequence[dict[str, Any]], progress: Progress | None) -> "Iterator[Made]":
        """Yields the results of a batch's items, sampling consecutive ones together that have the same settings."""
        failures, done = Failures(num_clips=len(items), skip=self.settings.skips), 0
        siblings: dict[str, Pipeline] = {}
        held: list[Asked | FailedClip] = []

        def finished() -> "Iterator[Made]":
            nonlocal done
            for made in self._sampled(held):
                if isinstance(made, FailedClip):
                    failures.add(made)
                done += 1
                if progress is not None:
                    progress(done, len(items))
                yield made
            held.clear()

        for number, item in enumerate(items):
            settings = {name: value for name, value in item.items() if name not in CALL}
            try:
                key = repr(settings)
                sibling = siblings[key] if key in siblings else siblings.setdefault(key, self.using(**settings))
                asked = sibling._ask(**{name: value for name, value in item.items() if name in CALL})
            except UserError as error:
                held.append(failed({"id": f"item {number}", **item}, error))
                continue
            together = [one for one in held if isinstance(one, Asked)]
            if together and (together[0].pipeline is not sibling or len(together) == sibling.settings.batch_clips):
                yield from finished()
            held.append(asked)
        yield from finished()
        failures.require_some(log.warning)

    def _sampled(self, held: Sequence[Asked | FailedClip]) -> "Iterator[Made]":
        """Samples clips together, and replaces them by their results. If that fails, samples each alone."""
        together = [one for one in held if isinstance(one, Asked)]
        try:
            results: Iterator[Made] = iter(together[0].pipeline._sample(together) if together else [])
        except UserError as error:
            if len(together) > 1:
                results = (made for one in together for made in self._sampled([one]))
            else:
                results = iter([failed({"id": together[0].given.loaded.clip.id}, error)])
        for one in held:
            yield next(results) if isinstance(one, Asked) else one


Made = Result | FailedClip


def shown_starts(retiming: Retiming, windows: Sequence[MotionWindow]) -> list[int]:
    """Returns the first frames of sampled windows, at the video's frame rate."""
    shown = [retiming(window) for window in windows]
    return [window.start for window in shown if len(window.motion)]


def written(name: str, value: Any) -> str:
    """Returns a setting's value as written in an override."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | str | Path):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(written(name, part) for part in value)}]"
    raise UserError(f"{printable(name)} cannot be a {type(value).__name__}; give a number, a text, a list or None")


def rest_of(pipeline: Pipeline, image: ImageInput) -> Rest:
    """Returns what edits need to know of a portrait, which is read once."""
    still = read_portrait(pipeline.loader, image)
    return pipeline.core.rest(pipeline._encoded(still).reference, pipeline.core.fps, still.video)
