"""Measures videos that no run of ours made, and records them like the clips of a run."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from float_research.data.audio import Heard
from float_research.data.clips import TOY, ClipLoader
from float_research.data.footage import Footage, suffix_of
from float_research.errors import UserError, printable
from float_research.files import inside, sha256, sweep_parts, whole
from float_research.folders import require_own
from float_research.inference.failures import Failures
from float_research.inference.measuring import digests, measured_by, of_clips, of_run, write_tables
from float_research.inference.remeasuring import batches, found_or_said
from float_research.inference.run_folder import CLIP, LOCK, OF_CLIP, VIDEOS
from float_research.inference.trainers import reserved
from float_research.metrics.metric import FrameMetric, Metric, Need, Subject
from float_research.metrics.panel import Panel
from float_research.tracking.record import RECORD, read_record, versions, write_config, write_json
from float_research.tracking.runs import OURS, SOURCE, parse_overrides, source_of
from float_research.types import FailedClip, Waveform
from float_research.video.reader import Timing, read_frames_at, read_timing, sound_from_s

ELSEWHERE = "no run of ours made the video"
MAX_NAME = 80


@dataclass(frozen=True, kw_only=True)
class OutsideVideos:
    """Videos of another program, named `source`, and metrics to measure them by.

    `fps`: the rate at which frames are measured; None for that of each video. `config`: the settings, for the record.
    """

    source: str
    footage: Sequence[Footage]
    folder: Path
    metrics: Sequence[Metric]
    loader: ClipLoader
    fps: float | None
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_source(self.source)
        for footage in self.footage:
            if footage.video.resolve().is_relative_to(self.folder.resolve()):
                raise UserError(
                    f"{printable(footage.video, 1000)} is inside --output={printable(self.folder, 1000)}, whose files "
                    "are replaced; choose another folder"
                )

    def run(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """Measures all videos, copies them to the folder and writes its records; returns that of the whole.

        Raises:
            UserError: the folder holds other files, or no video can be measured.
        """
        require_own(self.folder, "--output", is_outside)
        failures, records = Failures(num_clips=len(self.footage), skip=True), list[dict[str, Any]]()
        with reserved(self.folder, LOCK, what="run"):
            self._prepare()
            started = datetime.now(UTC).isoformat(timespec="seconds")
            for number, footage in enumerate(self.footage, 1):
                tell(f"{number}/{len(self.footage)} {printable(footage.video, 1000)}: measuring")
                try:
                    records.append(self._measure(footage))
                except UserError as error:
                    failures.add(FailedClip(clip=footage.clip(), reason=str(error)))
            failures.require_some(tell)
            for line in failures.lines():
                tell(line)
            found = of_run(self.metrics, records, [self.folder / record["video"] for record in records])
            content = {
                "source": self.source,
                "overrides": [f"{SOURCE}={self.source}"],
                "started": started,
                "versions": versions(),
                "checkpoint": {"hash": None, "trained": None, "toy": None, "notice": notice(self.source)},
                "totals": {"clips": len(records), "frames": sum(record["num_frames"] for record in records)},
                "metrics": found.metrics,
                "absent": found.absent,
                "measured_by": digests(found, self._measured_by),
                "clips": records,
                "failed": failures.record(),
            }
            write_json(self.folder / RECORD, content)
        return content

    @cached_property
    def _measured_by(self) -> Mapping[str, str]:
        return measured_by(self.config, self.metrics)

    def _prepare(self) -> None:
        """Creates the folder, and removes the files of an earlier measurement there."""
        videos = self.folder / VIDEOS
        if videos.is_symlink():
            raise UserError(f"{printable(videos, 1000)} is a link; choose another --output")
        videos.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, videos):
            sweep_parts(folder)
        write_config(self.folder, self.config)
        with suppress(UserError):  # a record that is missing or damaged names no files
            for clip in read_record(self.folder / RECORD)["clips"]:
                video = inside(videos, Path(str(clip.get("video"))).name)
                for path in (video, *(video.with_suffix(suffix) for suffix in OF_CLIP)):
                    path.unlink(missing_ok=True)
        (self.folder / RECORD).unlink(missing_ok=True)

    def _measure(self, footage: Footage) -> dict[str, Any]:
        """Measures a video and copies it to the folder; returns its record. Raises a UserError for a damaged one."""
        timing = read_timing(footage.video, self.fps, self.loader.limits)
        missing = dict.fromkeys((Need.MOTION, Need.SOLUTION), ELSEWHERE)
        heard = found_or_said(missing, Need.AUDIO, lambda: self._sound(footage, timing))
        portrait = found_or_said(missing, Need.PORTRAIT, lambda: self._portrait(footage, timing))
        crop, face = portrait or (None, {})
        subject = Subject(
            id=footage.id,
            num_frames=timing.num_frames,
            fps=timing.fps,
            toy=face.get("detector") == TOY,
            emotions=self.loader.emotions,
            portrait=crop,
            waveform=heard.waveform if heard else None,
            sampling_rate_hz=self.loader.sampling_rate_hz,
            solution=None,
            read=read_frames_at,
            missing=missing,
        )
        panel = Panel(of_clips(self.metrics), subject)
        if panel.wants_frames:
            for images in batches(read_frames_at(footage.video, timing.fps, self.loader.limits)):
                panel.see(images)
        found = panel.finish(None)
        video = self.folder / VIDEOS / f"{footage.id}{suffix_of(footage.video)}"
        with whole(video) as part:
            shutil.copyfile(footage.video, part)
        seen = {name for metric in self.metrics if isinstance(metric, FrameMetric) for name in metric.names}
        clip = footage.clip()
        record = {
            "id": footage.id,
            "video": f"{VIDEOS}/{video.name}",
            "file": str(footage.video),
            "image": str(clip.image),
            "audio": str(clip.audio),
            "video_sha256": sha256(video),
            "image_sha256": sha256(footage.image) if portrait and footage.image else None,
            "audio_sha256": sha256(footage.audio) if heard and footage.audio else None,
            **clip.own,
            "excerpt": asdict(heard.excerpt if heard else footage.excerpt),
            "num_frames": timing.num_frames,
            "fps": timing.fps,
            "constant_fps": timing.constant,
            "width": timing.width,
            "height": timing.height,
            "face": face,
            "sound": heard.facts if heard else None,
            "metrics": found.metrics,
            "absent": found.absent,
            "measured_by": digests(found, self._measured_by),
            "from_video": sorted(seen & found.metrics.keys()),
            "traces": None,
            "flow": None,
            **{kind: f"{VIDEOS}/{name}" for kind, name in write_tables(video, found, timing.fps).items()},
        }
        write_json(video.with_suffix(CLIP), record)
        return record

    def _sound(self, footage: Footage, timing: Timing) -> Heard:
        """Returns the recording, or the video's own sound from its first frame on."""
        if reason := dict(footage.lacks).get("audio"):
            raise UserError(reason)
        heard, _ = self.loader.speech(footage.clip())
        if footage.audio is not None:
            return heard
        late_s = sound_from_s(footage.video, heard.excerpt.track or 0) - timing.first_s
        if abs(late_s) > timing.num_frames / timing.fps:
            raise UserError(f"its sound begins {abs(late_s):.1f} s away from its first frame; give --audio")
        return replace(heard, waveform=shifted(heard.waveform, round(late_s * self.loader.sampling_rate_hz)))

    def _portrait(self, footage: Footage, timing: Timing) -> tuple[np.ndarray, Mapping[str, Any]]:
        """Returns the portrait, cropped as for a model whose frames are as large as the video's."""
        if reason := dict(footage.lacks).get("image"):
            raise UserError(reason)
        if footage.image is None:
            raise UserError("none was given (--portrait)")
        return replace(self.loader, image_size=min(timing.width, timing.height)).portrait(footage.clip())


def shifted(waveform: Waveform, num_samples: int) -> Waveform:
    """Returns a waveform that begins later, after silence, or earlier, without its first samples."""
    return np.pad(waveform, (num_samples, 0)) if num_samples > 0 else waveform[-num_samples:]


def check_source(name: str) -> None:
    """Raises a UserError for a name that a comparison could not choose by `source=NAME`."""
    read = next(parse_overrides([f"{SOURCE}={name}"]))[1]
    if read != name or not name.isprintable() or len(name) > MAX_NAME or set(name) & set(",=<>&\"'") or name == OURS:
        raise UserError(
            f"name={printable(name)} cannot name a source of videos; give a word other than {OURS}, such as "
            "name=official"
        )


def notice(source: str) -> str:
    """Returns what the page shows with the frames of such videos."""
    return f"{source}: from outside, no run of ours made these videos"


def is_outside(folder: Path) -> bool:
    """Returns whether a folder holds such measurements, finished or not."""
    return source_of(folder) is not None


def told_rates(content: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line about the rates of the videos, if a reader should know."""
    rates = sorted({clip["fps"] for clip in content["clips"]})
    if len(rates) > 1:
        said = ", ".join(f"{rate:g}" for rate in rates)
        yield f"measured at {said} frames/s, which numbers per frame, such as flicker, depend on; see video.fps=25"
    if uneven := [clip["id"] for clip in content["clips"] if not clip["constant_fps"]]:
        yield f"shown at a constant rate, which its frames do not have: {printable(', '.join(uneven), 1000)}"
