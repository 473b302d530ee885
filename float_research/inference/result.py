"""Results of the Python API: clips that can be saved, shown, measured and decoded again."""

import html
import itertools
import logging
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from float_research.cache import digest
from float_research.data.clips import ClipLoader
from float_research.errors import UserError, printable
from float_research.inference.inputs import LocalFile
from float_research.inference.measuring import of_clips, unsolvable
from float_research.inference.pipeline import EncodedPortrait, FloatPipeline, PreparedClip
from float_research.inference.solution import ConvergedSolution, Problem
from float_research.metrics.metric import Findings, MeansMetric, Metric, RunMetric
from float_research.metrics.panel import Panel
from float_research.metrics.track import SUFFIX, MotionTrack
from float_research.texts import count
from float_research.types import Cost, Image, LoadedClip, MotionWindow, Originals
from float_research.video.composite import Composer, Composite
from float_research.video.writer import H264, Recording

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_INLINE_S = 300.0
"""The longest video that a notebook shows inline, since it would be part of the notebook's file."""


@runtime_checkable
class Settings(Protocol):
    """The settings of a pipeline, which composes the parts of others from them. `name`: in one line."""

    @property
    def name(self) -> str: ...

    @property
    def batch_clips(self) -> int: ...

    @property
    def skips(self) -> bool:
        """Whether a batch goes on after a clip that fails."""

    def changed(self, parts: "Changeable", overrides: Sequence[str]) -> "Changeable":
        """Returns these parts as overrides change them, with the same weights."""

    def metrics(self, names: Sequence[str] | None) -> Sequence[Metric]:
        """Builds metrics by the names of their options; None: the configured ones."""

    def motion_depends(self) -> Mapping[str, str]:
        """Returns what converged motion depends on besides its clip."""


@dataclass(frozen=True, kw_only=True)
class Changeable:
    """The parts of a pipeline that settings may change while its weights stay."""

    core: FloatPipeline
    loader: ClipLoader
    composite: Composite
    video: H264
    overlap: bool | None
    settings: Settings


class Renderer:
    """Computes with loaded weights on `device` in `precision`. Its attributes are fixed.

    `core`: the pipeline in torch, which knows no files.
    """

    core: FloatPipeline
    loader: ClipLoader
    composite: Composite
    video: H264
    overlap: bool | None
    settings: Settings
    device: torch.device
    precision: Any

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(
            f"a pipeline's {printable(name)} cannot be set; pass settings in a call, as in pipeline(image, audio, "
            "nfe=20), or make a sibling with pipeline.using('nfe=20')"
        )

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Enters inference mode and the configured precision."""
        with torch.inference_mode(), self.precision.forward_context():
            yield

    def computed(self, items: Iterator[T]) -> Iterator[T]:
        """Yields the items, with the modes of `computing` active only while each is computed."""
        while True:
            with self.computing():
                item = next(items, None)
            if item is None:
                return
            yield item


@dataclass(frozen=True, kw_only=True, repr=False)
class DecodedClip:
    """A portrait and its motion, decoded on each request.

    `originals`: what the portrait was cut from. `window_starts`: first frames of the windows that are decoded one after
    another, as in the run that made them. `recording`: the sound, if any. `kept`: holds its file.
    """

    id: str
    motion: Float[Tensor, "t d"]
    clip: EncodedPortrait
    originals: Originals
    pipeline: Renderer
    window_starts: Sequence[int]
    recording: Recording | None
    kept: LocalFile | None

    def frames(self) -> Iterator[Image]:
        """Yields RGB frames, `(h, w, 3)` uint8, decoded lazily, and composed as `composite` says."""
        return self._pictures(self._composer())

    def save(self, path: str | Path) -> Path:
        """Writes an MP4, with the sound if there is any, atomically."""
        path, composer = Path(path), self._composer()
        if path.suffix.lower() != ".mp4":
            raise UserError(f"{printable(path, 1000)} must end in {self._formats}")
        fps = self.pipeline.core.fps
        with self.pipeline.video.open(path, fps=fps, size_px=composer.size, recording=self.recording) as writer:
            for picture in self._pictures(composer):
                writer.add(picture)
        return path

    _formats = ".mp4, the only supported format"

    def show(self) -> None:
        """Shows the video in a notebook. Raises a UserError elsewhere."""
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if shell is None or not hasattr(shell, "kernel"):
            raise UserError("show() needs a notebook; elsewhere result.save('clip.mp4') writes the video")
        from IPython.display import display  # imported by every notebook

        display(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        """The video for notebooks, as a part of the page."""
        said = f"<div><small>{html.escape(repr(self))}</small></div>"
        if len(self._shown) / self.pipeline.core.fps > MAX_INLINE_S:
            return f"{said}<div><small>longer than {MAX_INLINE_S:g} s: save it to watch it</small></div>"
        with tempfile.TemporaryDirectory() as folder:
            content = b64encode(self.save(Path(folder, "clip.mp4")).read_bytes()).decode("ascii")
        return f'<video controls src="data:video/mp4;base64,{content}"></video>{said}'

    @property
    def _shown(self) -> Float[Tensor, "u d"]:
        """The motion at the video's frame rate."""
        return self.motion

    def _facts(self) -> Iterator[str]:
        core, num_frames = self.pipeline.core, len(self._shown)
        width, height = self._composer().size
        yield repr(printable(self.id))
        yield f"{count(num_frames, 'frame')}, {num_frames / core.fps:.4g} s at {core.fps:g} fps"
        yield f"{width} × {height} px"

    def _composer(self) -> Composer:
        """Returns a composer for the frames from the first on."""
        return self.pipeline.composite.open(self.originals, self.pipeline.core.model.motion_autoencoder.image_size)

    def _pictures(self, composer: Composer) -> Iterator[Image]:
        for batch in self._batches():
            for frame in batch.cpu().numpy():
                yield composer(frame)

    def _batches(self) -> Iterator[UInt8[Tensor, "n h w 3"]]:
        starts, decode = [*self.window_starts, len(self._shown)], self.pipeline.core.decoder(self.clip)
        for start, end in itertools.pairwise(starts):
            yield from self.pipeline.computed(decode(self._shown[start:end]))


@dataclass(frozen=True, kw_only=True, repr=False)
class Result(DecodedClip):
    """One clip: its sampled motion latents at the model's frame rate, and its frames, decoded on each request.

    `windows`: the motion as it was sampled. `loaded`: the inputs.
    """

    clip: PreparedClip
    loaded: LoadedClip
    windows: Sequence[MotionWindow]
    cost: Cost
    declared: Cost | None
    emotion: Mapping[str, float]
    seconds: Mapping[str, float]

    _formats = f".mp4, or in {SUFFIX} for its motion"

    @property
    def candidates(self) -> list[int]:
        """The candidate chosen by the search for each window; all 0 without a search."""
        return [window.candidate for window in self.windows]

    def save(self, path: str | Path) -> Path:
        """Writes an MP4 with sound, or the motion to a name that ends in `.motion.safetensors`, atomically."""
        if Path(path).name.lower().endswith(SUFFIX):
            self.track.save(Path(path))
            return Path(path)
        return super().save(path)

    @cached_property
    def track(self) -> MotionTrack:
        """The motion as a run stores it, at the video's frame rate: what `load_motion` reads."""
        core, retiming = self.pipeline.core, self.pipeline.core.retiming(self.clip)
        windows = [retiming(window) for window in self.windows]
        return MotionTrack(
            motion=torch.cat([window.motion for window in windows]).cpu(),
            directions=core.directions.detach().cpu(),
            emotion=core.retiming(self.clip).whole(self.clip.conditions.emotion.cpu()),
            window_starts=torch.tensor(self.window_starts),
        )

    def metrics(self, names: Sequence[str] | None = None) -> dict[str, float]:
        """Returns the numbers of metrics such as `["motion", "lip_sync"]`, and logs why others are absent.

        Args:
            names: options of the group `metrics`; None: those of the pipeline's settings
        """
        found = self.findings(names)
        reasons: dict[str, list[str]] = {}
        for name, reason in found.absent.items():
            reasons.setdefault(reason, []).append(name)
        for reason, absent in reasons.items():
            log.warning("not measured: %s: %s", printable(", ".join(absent), 1000), printable(reason, 1000))
        return dict(found.metrics)

    def findings(self, names: Sequence[str] | None = None) -> Findings:
        """Returns the numbers of metrics, the reasons for absent ones, and values for each frame in `traces`."""
        core, metrics = self.pipeline.core, self.pipeline.settings.metrics(names)
        metrics = [metric for metric in metrics if not isinstance(metric, MeansMetric)]
        if several := [metric.names[0] for metric in metrics if isinstance(metric, RunMetric)]:
            raise UserError(f"{several[0]} compares all videos of a run, not one clip; measure a run's folder by it")
        subject = replace(
            self.clip.subject,
            num_frames=self.clip.num_video_frames,
            fps=core.fps,
            solution=ConvergedSolution(
                cache=self.pipeline.loader.cache,
                depends=self._depends() if any("SOLUTION" in {n.name for n in m.needs} for m in metrics) else {},
                pose=lambda: Problem(sampler=core.sampler, fmt=core.model.fmt, conditions=self.clip.conditions),
                candidates=lambda: self.candidates,
                solving=nullcontext,
            ),
            missing=unsolvable(core.fps, core.model.fps, edited=bool(core.edits.edits)),
        )
        with self.pipeline.computing():
            panel = Panel(of_clips(metrics), subject)
            if panel.wants_frames:
                for batch in self._batches():
                    panel.see(batch.cpu().numpy())
            return panel.finish(self.track)

    @property
    def _shown(self) -> Float[Tensor, "u d"]:
        return self.pipeline.core.retiming(self.clip).whole(self.motion)

    def _depends(self) -> dict[str, Any]:
        """What converged motion depends on: the contents of the inputs, since they may not be files."""
        clip = self.loaded
        inputs = {"image": digest({"pixels": clip.image}), "audio": digest({"samples": clip.waveform})}
        return {**self.pipeline.settings.motion_depends(), "id": self.id, **clip.clip.own, **inputs}

    def _facts(self) -> Iterator[str]:
        yield from super()._facts()
        yield count(self.cost.evaluations, "evaluation")
