"""Measures a finished run again from its record, videos and motion. Only converged motion is sampled again."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
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
    composed,
    digests,
    measured_by,
    motion_depends,
    of_clips,
    of_run,
    unsolvable,
    write_tables,
)
from float_research.inference.run_folder import RunFolder
from float_research.inference.solution import ConvergedSolution, Problem
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import Findings, FrameMetric, Metric, Need, Subject
from float_research.metrics.panel import Panel
from float_research.metrics.track import SUFFIX, MotionTrack, load_track
from float_research.texts import count
from float_research.tracking.record import RECORD, RunIdentity, identity, read_record, write_json
from float_research.types import Clip, Excerpt, Image
from float_research.video.reader import read_frames, read_frames_at

T = TypeVar("T")
FRAMES_A_BATCH = 16
NEEDED = ("id", "image", "audio", "video", "image_sha256", "audio_sha256", "video_sha256", "num_frames", "face")
"""Entries of a clip's record without which it cannot be measured."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A clip, and the hashes that its files had when the video was rendered."""

    clip: Clip
    image_sha256: str
    audio_sha256: str

    def intact(self, *kinds: str) -> Clip:
        """Returns the clip. Raises a UserError if its image or audio, as asked for, is missing or has changed."""
        for kind in kinds:
            path = getattr(self.clip, kind)
            if not path.is_file():
                raise UserError(f"{path} does not exist")
            if sha256(path) != getattr(self, f"{kind}_sha256"):
                raise UserError(f"{path} is no longer the file of the run")
        return self.clip


@dataclass(frozen=True, kw_only=True)
class Remeasuring:
    """A finished run, and metrics to measure it by.

    `load` returns the run's pipeline and `fingerprint` the current hash of its weights; only converged motion needs
    them. A new finding, a number or the reason why there is none, replaces an older one of the same name.
    """

    folder: Path
    config: Mapping[str, Any]
    metrics: Sequence[Metric]
    loader: ClipLoader
    cache: Cache
    fingerprint: Callable[[], str]
    load: Callable[[], Pipeline]

    def run(self) -> dict[str, Any]:
        """Measures, writes the findings to the records, and returns the run's record.

        Raises:
            UserError: the record is missing or damaged.
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
        self._update(content, of_run(self.metrics, content["clips"], [video for video in videos if video.is_file()]))
        write_json(path, content)
        return content

    def _measure(self, record: dict[str, Any], video: Path, checkpoint_hash: str) -> None:
        """Measures a clip and adds the findings to its record."""
        missing = self._missing(record, video)
        track = found_or_said(missing, Need.MOTION, lambda: motion_of(record, video.with_suffix(SUFFIX)))
        subject = self._subject(record, missing, checkpoint_hash)
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

    def _missing(self, record: Mapping[str, Any], video: Path) -> dict[Need, str]:
        """Returns what metrics cannot have because the video, the code or the frame rate differ, and why."""
        missing = unsolvable(self._fps, self.loader.fps, edited=bool(self.config.get("motion")))
        if not video.is_file():
            missing[Need.FRAMES] = f"{video} does not exist"
        elif sha256(video) != record["video_sha256"]:
            missing[Need.FRAMES] = f"{video} is no longer the video of the run"
        elif reason := composed(record):
            missing[Need.FRAMES] = reason
        if not self._identity.same_code(str(record.get("run"))):
            missing.setdefault(Need.SOLUTION, "the code is no longer that of the run; run it again")
        return missing

    def _subject(self, record: Mapping[str, Any], missing: dict[Need, str], checkpoint_hash: str) -> Subject:
        """Returns what metrics may know of a clip. Adds inputs that cannot be read to `missing`."""
        clip = recorded_clip(record)
        inputs = Inputs(clip=clip, image_sha256=record["image_sha256"], audio_sha256=record["audio_sha256"])
        speech = found_or_said(missing, Need.AUDIO, lambda: self.loader.speech(inputs.intact("audio")))
        portrait = found_or_said(missing, Need.PORTRAIT, lambda: self.loader.portrait(inputs.intact("image")))
        depends = {
            **motion_depends(self.config, checkpoint_hash),
            **clip_depends(clip, inputs.image_sha256, inputs.audio_sha256),
        }
        return Subject(
            id=clip.id,
            num_frames=record["num_frames"],
            fps=self._fps,
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
                solving=nullcontext,
            ),
            read=read_frames_at,
            missing=missing,
        )

    @property
    def _fps(self) -> float:
        """The frame rate of the run's videos."""
        return (self.config.get("video") or {}).get("fps") or self.loader.fps

    @cached_property
    def _identity(self) -> RunIdentity:
        """The current code's identity of the run, without weights."""
        return identity(self.config, "")

    @cached_property
    def _measured_by(self) -> Mapping[str, str]:
        return measured_by(self.config, self.metrics)

    def _update(self, record: dict[str, Any], found: Findings) -> None:
        """Adds findings to a record. They replace older ones of the same name."""
        names = found.metrics.keys() | found.absent.keys()
        said = digests(found, self._measured_by)
        news: dict[str, Mapping[str, Any]] = {"metrics": found.metrics, "absent": found.absent, "measured_by": said}
        for kind, new in news.items():
            kept = {name: value for name, value in record.get(kind, {}).items() if name not in names}
            record[kind] = {**kept, **new}

    def _pose(self, inputs: Inputs, checkpoint_hash: str) -> Problem:
        """Returns the clip as the run sampled it. Raises a UserError if its inputs or weights have changed."""
        if self.fingerprint() != checkpoint_hash:
            raise UserError("the weights are no longer those of the run; run it again")
        pipeline, clip = self._pipeline, inputs.intact("image", "audio")
        with pipeline.computing():
            ready = pipeline.core.prepare(pipeline.loader(clip), Stopwatch(pipeline.device))
        return Problem(sampler=pipeline.core.sampler, fmt=pipeline.core.model.fmt, conditions=ready.conditions)

    @cached_property
    def _pipeline(self) -> Pipeline:
        return self.load()


def recorded_clip(record: Mapping[str, Any]) -> Clip:
    """Returns the clip of a record. Records of older versions have fewer entries."""
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
        base_id=record.get("base_id"),
    )


def motion_of(record: Mapping[str, Any], path: Path) -> MotionTrack:
    """Returns the motion of a clip. Raises a UserError if the file has changed; version 0.1 recorded no hash."""
    track = load_track(path)
    if record.get("motion_sha256") not in (None, sha256(path)):
        raise UserError(f"{path} is no longer the motion of the run")
    if len(track.motion) != record["num_frames"]:
        raise UserError(f"{path} has {count(len(track.motion), 'frame')}, and its clip {record['num_frames']}")
    return track


def found_or_said(missing: dict[Need, str], need: Need, find: Callable[[], T]) -> T | None:
    """Returns what `find` returns, or None for a UserError, whose message goes to `missing`."""
    try:
        return find()
    except UserError as error:
        missing[need] = str(error)
        return None


def batches(frames: Iterator[Image]) -> Iterator[np.ndarray]:
    """Yields frames in batches."""
    while batch := list(itertools.islice(frames, FRAMES_A_BATCH)):
        yield np.stack(batch)
