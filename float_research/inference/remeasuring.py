"""Measuring a run again, from what it left: record, videos, motion. Nothing is sampled but converged motion."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from float_research.cache import Cache
from float_research.data.clips import TOY, ClipLoader
from float_research.errors import UserError
from float_research.files import sha256
from float_research.inference.api import Pipeline
from float_research.inference.measuring import (
    clip_depends,
    measured_by,
    motion_depends,
    of_clips,
    of_run,
    retimed,
    write_tables,
)
from float_research.inference.run_folder import RunFolder
from float_research.inference.solution import ConvergedSolution, Problem
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import Findings, FrameMetric, Metric, Need, Subject
from float_research.metrics.panel import Panel
from float_research.metrics.track import SUFFIX, MotionTrack, load_track
from float_research.tracking.record import RECORD, identity, read_record, write_json
from float_research.types import Clip, Excerpt, Image
from float_research.video.reader import read_frames, read_frames_at

T = TypeVar("T")
FRAMES_A_BATCH = 16
NEEDED = ("id", "image", "audio", "video", "image_sha256", "audio_sha256", "video_sha256", "num_frames", "face")
"""What a clip's record must say to be measured again."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A clip, and what its files were when it was made."""

    clip: Clip
    image_sha256: str
    audio_sha256: str

    def intact(self, *kinds: str) -> Clip:
        """The clip; a UserError where its image or audio, as asked for, is gone or another one now."""
        for kind in kinds:
            path = getattr(self.clip, kind)
            if not path.is_file():
                raise UserError(f"{path} does not exist")
            if sha256(path) != getattr(self, f"{kind}_sha256"):
                raise UserError(f"{path} is no longer the file of the run")
        return self.clip


@dataclass(frozen=True, kw_only=True)
class Remeasuring:
    """A finished run and new metrics for it.

    `load` gives the run's pipeline and `fingerprint` names its weights of today; only converged motion asks for them.
    A new finding takes the place of an older one of the same name, be it a number or the reason why there is none.
    """

    folder: Path
    config: Mapping[str, Any]
    metrics: Sequence[Metric]
    loader: ClipLoader
    cache: Cache
    fingerprint: Callable[[], str]
    load: Callable[[], Pipeline]

    def run(self) -> dict[str, Any]:
        """Measures, writes the findings into the records, and returns the run's.

        Raises:
            UserError: there is no record, or it is damaged.
        """
        path = self.folder / RECORD
        content = read_record(path)
        checkpoint_hash = str((content.get("checkpoint") or {}).get("hash"))
        for clip in content["clips"]:
            if lacking := [name for name in NEEDED if clip.get(name) is None]:
                raise UserError(f"{path} says no {lacking[0]} of a clip; make the run again")
        videos = [RunFolder(self.folder).recorded_video(clip["video"]) for clip in content["clips"]]
        for clip, video in zip(content["clips"], videos, strict=True):
            try:
                self._measure(clip, video, checkpoint_hash)
            except UserError as error:
                names = [name for metric in of_clips(self.metrics) for name in metric.names]
                self._update(clip, Findings(absent=dict.fromkeys(names, str(error))))
            write_json(video.with_suffix(".json"), clip)
        self._update(content, of_run(self.metrics, [video for video in videos if video.is_file()]))
        write_json(path, content)
        return content

    def _measure(self, record: dict[str, Any], video: Path, checkpoint_hash: str) -> None:
        clip = recorded_clip(record)
        inputs = Inputs(clip=clip, image_sha256=record["image_sha256"], audio_sha256=record["audio_sha256"])
        fps = (self.config.get("video") or {}).get("fps") or self.loader.fps
        missing = retimed(fps, self.loader.fps)
        track = found_or_said(missing, Need.MOTION, lambda: motion_of(record, video.with_suffix(SUFFIX)))
        speech = found_or_said(missing, Need.AUDIO, lambda: self.loader.speech(inputs.intact("audio")))
        portrait = found_or_said(missing, Need.PORTRAIT, lambda: self.loader.portrait(inputs.intact("image")))
        if not video.is_file():
            missing[Need.FRAMES] = f"{video} does not exist"
        elif sha256(video) != record["video_sha256"]:
            missing[Need.FRAMES] = f"{video} is no longer the video of the run"
        if str(record.get("run")).split()[2:] != [self._sources]:
            missing.setdefault(Need.SOLUTION, "the code is no longer that of the run; run it again")
        depends = {
            **motion_depends(self.config, checkpoint_hash),
            **clip_depends(clip, inputs.image_sha256, inputs.audio_sha256),
        }
        subject = Subject(
            id=clip.id,
            num_frames=record["num_frames"],
            fps=fps,
            toy=(record["face"] or {}).get("detector") == TOY,
            emotions=self.loader.emotions,
            portrait=portrait[0] if portrait else None,
            waveform=speech[0].waveform if speech else None,
            sampling_rate_hz=self.loader.sampling_rate_hz,
            solution=ConvergedSolution(
                cache=self.cache,
                depends=depends,
                pose=partial(self._pose, inputs, checkpoint_hash),
                candidates=lambda: (record.get("search") or {}).get("candidates", ()),
            ),
            read=read_frames_at,
            missing=missing,
        )
        panel = Panel(of_clips(self.metrics), subject)
        if panel.wants_frames:
            for images in batches(read_frames(video)):
                panel.see(images)
        found = panel.finish(track)
        self._update(record, found)
        seen = {name for metric in self.metrics if isinstance(metric, FrameMetric) for name in metric.names}
        record["from_video"] = sorted({*record.get("from_video", []), *(seen & found.metrics.keys())})
        for kind, name in write_tables(video, found, subject.fps).items():
            record[kind] = str(Path(record["video"]).with_name(name))

    @cached_property
    def _sources(self) -> str:
        """The code of today, which a clip's record names in the third word of its run."""
        return identity(self.config, "").sources

    @cached_property
    def _measured_by(self) -> Mapping[str, str]:
        return measured_by(self.config, self.metrics)

    def _update(self, record: dict[str, Any], found: Findings) -> None:
        """Puts findings into a record in place of older ones."""
        by = self._measured_by
        names = found.metrics.keys() | found.absent.keys()
        said = {name: by[name] for name in by.keys() & names}
        news: dict[str, Mapping[str, Any]] = {"metrics": found.metrics, "absent": found.absent, "measured_by": said}
        for kind, new in news.items():
            kept = {name: value for name, value in record.get(kind, {}).items() if name not in names}
            record[kind] = {**kept, **new}

    def _pose(self, inputs: Inputs, checkpoint_hash: str) -> Problem:
        """The clip as the run sampled it; a UserError where its inputs or weights are no longer what they were."""
        if self.fingerprint() != checkpoint_hash:
            raise UserError("the weights are no longer those of the run; run it again")
        pipeline, clip = self._pipeline, inputs.intact("image", "audio")
        with pipeline.computing():
            ready = pipeline.parts.prepare(pipeline.loader(clip), Stopwatch(pipeline.device))
        return Problem(sampler=pipeline.parts.sampler, fmt=pipeline.parts.model.fmt, conditions=ready.conditions)

    @cached_property
    def _pipeline(self) -> Pipeline:
        return self.load()


def recorded_clip(record: Mapping[str, Any]) -> Clip:
    """The clip that a record tells of. Records of older versions say less of it."""
    excerpt, crop = record.get("excerpt") or {}, record.get("crop")
    return Clip(
        id=record["id"],
        image=Path(record["image"]),
        audio=Path(record["audio"]),
        emotion=record.get("label"),
        excerpt=Excerpt(**{name: excerpt[name] for name in Excerpt.__annotations__ if name in excerpt}),
        seed=record.get("seed"),
        crop=tuple(crop) if crop else None,
        face=record.get("face_index"),
    )


def motion_of(record: Mapping[str, Any], path: Path) -> MotionTrack:
    """The motion of a clip; a UserError where it is not what the run left. Version 0.1 did not say what it left."""
    track = load_track(path)
    if record.get("motion_sha256") not in (None, sha256(path)):
        raise UserError(f"{path} is no longer the motion of the run")
    if len(track.motion) != record["num_frames"]:
        raise UserError(f"{path} has {len(track.motion)} frames, and its clip {record['num_frames']}")
    return track


def found_or_said(missing: dict[Need, str], need: Need, find: Callable[[], T]) -> T | None:
    """What `find` finds, or None and its reason in `missing`."""
    try:
        return find()
    except UserError as error:
        missing[need] = str(error)
        return None


def batches(frames: Iterator[Image]) -> Iterator[np.ndarray]:
    """A few frames at a time."""
    while batch := list(itertools.islice(frames, FRAMES_A_BATCH)):
        yield np.stack(batch)
