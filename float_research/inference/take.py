"""Rendering of one clip: video, motion, metrics and record."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from float_research.files import sha256
from float_research.inference.measuring import Measures, digests, write_tables
from float_research.inference.pipeline import ENCODING, FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.track import SUFFIX, MotionTrack
from float_research.types import ClipResult, Cost, LoadedClip, MotionWindow
from float_research.video.composite import Composer
from float_research.video.writer import VideoWriter


class Take(contextlib.AbstractContextManager["Take"]):
    """Prepares a clip, then writes its windows and frames. An exception leaves no video behind.

    `alike`: a prepared clip that differs only in its seed, whose encodings are used. `composer`: makes what the video
    shows; metrics see the network's frames.
    """

    def __init__(
        self,
        clip: LoadedClip,
        *,
        pipeline: FloatPipeline,
        measures: Measures,
        composer: Composer,
        open_video: Callable[[], VideoWriter],
        device: torch.device,
        alike: PreparedClip | None,
    ) -> None:
        self.clip, self.pipeline, self.measures, self.watch = clip, pipeline, measures, Stopwatch(device)
        self.composer = composer
        if alike is None:
            self.ready = pipeline.prepare(clip, self.watch)
        else:
            self.ready = alike.reseeded(clip.clip)
            self.watch.seconds.update(dict.fromkeys(ENCODING, 0.0))
        windows: list[MotionWindow] = []
        with self.watch.phase("metrics"):  # which must not refer to this object: the circle would keep the encoder
            self.panel = measures.panel(
                clip, self.ready, pipeline, lambda: [window.candidate for window in windows], self.watch
            )
        self.num_windows = pipeline.sampler.num_windows(clip.num_frames)
        self.windows = windows
        self.writer = open_video()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.__exit__(kind, error, trace)

    @property
    def id(self) -> str:
        return self.clip.clip.id

    def write(self, window: MotionWindow, frames: UInt8[Tensor, "n h w 3"]) -> None:
        """Encodes the frames of a window and passes them to the metrics."""
        if not self.windows or self.windows[-1] is not window:
            self.windows.append(window)
        if not len(frames):
            return
        with self.watch.phase("write"):
            for frame in frames.numpy():
                self.writer.add(self.composer(frame))
        if self.panel.wants_frames:
            with self.watch.phase("metrics"):
                self.panel.see(frames.numpy())

    def close(self) -> None:
        """Finishes the video, saves the motion and computes the metrics."""
        track = MotionTrack(
            motion=torch.cat([window.motion for window in self.windows]).cpu(),
            directions=self.pipeline.directions.cpu(),
            emotion=self.pipeline.retiming(self.ready).whole(self.ready.conditions.emotion.cpu()),
            window_starts=torch.tensor([window.start for window in self.windows if len(window.motion)]),
        )
        with self.watch.phase("write"):
            self.writer.close()
            self.motion = self.writer.path.with_suffix(SUFFIX)
            track.save(self.motion)
        with self.watch.phase("metrics"):
            self.found = self.panel.finish(track)
            self.measured_by = digests(self.found, self.measures.measured_by)
            self.tables = write_tables(self.writer.path, self.found, self.pipeline.fps)

    def result(self, folder: Path, run: str, *, shared_s: Mapping[str, float], made_s: float) -> ClipResult:
        """Returns the clip's record entry. `shared_s`: its share of the seconds of phases shared by the batch."""
        clip, place = self.clip.clip, self.writer.path.parent.relative_to(folder)
        tables = {kind: str(place / name) for kind, name in self.tables.items()}
        return ClipResult(
            id=clip.id,
            run=run,
            video=str(self.writer.path.relative_to(folder)),
            video_sha256=sha256(self.writer.path),
            motion_sha256=sha256(self.motion),
            image=str(clip.image),
            audio=str(clip.audio),
            image_sha256=sha256(clip.image),
            audio_sha256=sha256(clip.audio),
            **clip.own,
            num_frames=self.writer.num_frames,
            num_windows=self.num_windows,
            declared=self.pipeline.declared_cost(self.clip.num_frames),
            measured=sum((window.cost for window in self.windows), Cost()),
            emotion=self.ready.emotion,
            face=self.clip.face,
            composite=self.composer.facts,
            sound=self.clip.sound,
            seconds={**self.clip.seconds, **self.watch.seconds, **shared_s},
            made_s=sum(self.clip.seconds.values()) + made_s,
            reused=self.ready.reused,
            search=search_record(self.windows),
            edits=self.pipeline.edits.record([window.edited for window in self.windows if window.edited is not None]),
            metrics=self.found.metrics,
            absent=self.found.absent,
            measured_by=self.measured_by,
            from_video=[],
            traces=tables.get("traces"),
            flow=tables.get("flow"),
        )


def search_record(windows: Sequence[MotionWindow]) -> dict[str, Any] | None:
    """Returns the candidate of each window and the scores of each choice, or None without a search."""
    scores = [list(window.scores) for window in windows if window.scores]
    return {"candidates": [window.candidate for window in windows], "scores": scores} if scores else None
