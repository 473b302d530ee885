"""A run from built parts to its record: plan, load, predict, report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from float_research.cache import Cache
from float_research.data.clips import TOY, ClipDataModule, ClipLoader, ClipSource, Once, of_image
from float_research.data.seeds import seeded
from float_research.devices import use
from float_research.errors import SKIP, UserError, printable
from float_research.inference.failures import Failures
from float_research.inference.live import LiveProgress
from float_research.inference.measuring import Measures, digests, measured_by, motion_depends, of_run, told_absent
from float_research.inference.module import FloatInference
from float_research.inference.naming import Naming
from float_research.inference.pipeline import PipelineParts
from float_research.inference.plan import PlannedClip, clip_table, estimate_memory_mb, plan_clips, plan_tables
from float_research.inference.progress import ProgressBars, run_line
from float_research.inference.resuming import Before, made_before, unmeasured
from float_research.inference.reuse import keep, loaded_model
from float_research.inference.run_folder import CLIP, RunFolder
from float_research.inference.trainers import check_processes, check_processes_in_sweep, silence_lightning
from float_research.metrics.metric import Metric
from float_research.models.checkpoint import Checkpoint
from float_research.models.float_model import FloatModel
from float_research.printing import Table, say
from float_research.program import command
from float_research.texts import count
from float_research.tracking import record
from float_research.tracking.code import git_state, uncommitted, write_code
from float_research.tracking.logger import BegunRun, EndedRun, LiveLogger, RunLogger, tell
from float_research.tracking.record import RunIdentity
from float_research.tracking.runs import read_config
from float_research.types import Clip, FailedClip
from float_research.video.composite import Composite
from float_research.video.writer import H264

PHOTO_IN_TOY_WORLD = (
    "{image} is no toy portrait, and the demo weights have seen nothing else: expect a smeared, drifting face. "
    "Make toy portraits with {command}, or get the official weights (docs/howto/official.md)."
)
OTHER_RATE = (
    "model.fps={fps:g}: these weights know {trained:g} frames a second, so the face moves at another speed; "
    "video.fps={fps:g} changes the video's rate alone."
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """All parts of one run, for which its launcher started `num_tasks` processes.

    `seeds`: every clip is rendered once for each; without them, once. The resolved `config`, the `overrides` that led
    to it and the name of its `sweep` are for the record.
    """

    build_model: Callable[[], FloatModel]
    checkpoint: Checkpoint
    source: ClipSource
    loader: ClipLoader
    cache: Cache
    parts: PipelineParts
    composite: Composite
    video: H264
    metrics: Sequence[Metric]
    build_trainer: Callable[[], lightning.Trainer]
    seeds: Sequence[int] | None
    batch_clips: int
    overlap: bool | None
    naming: Naming
    folder: RunFolder
    on_error: str | None
    dry_run: bool
    resume: bool | str
    loggers: Sequence[RunLogger]
    overrides: Sequence[str]
    num_tasks: int
    sweep: str | None
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.parts.search.check(self.loader.image_size)

    def run(self, console: Console) -> dict[str, Any] | None:
        """Renders the videos, writes the record and returns it; returns None in all processes but the first.

        A dry run prints its plan, and only returns which clips `failed`.
        """
        if not self.dry_run:
            self.checkpoint.files()
        clips, warn = self.source.clips(), self._warn(console)
        if self.seeds is not None:
            clips = list(seeded(clips, self.seeds))
        failures = Failures(num_clips=len(clips), skip=(self.on_error or self.source.on_error) == SKIP)
        planned = self._plan(clips, failures, warn)
        if self.dry_run:
            self._print_plan(planned, console)
            for line in failures.lines():
                warn(line)
            return {"failed": failures.record()}
        self.folder.require_own()
        run = record.identity(self.config, self.checkpoint.fingerprint())
        before = made_before(planned, run) if self.resume else Before(same=(), other=())
        for line in before.told(self.resume):
            warn(line)
        kept = before.kept(self.resume)
        if len(kept) == len(clips):
            finished = self.folder.finished(run, [item.clip.id for item in planned])
            if finished is not None:
                if not record.has_settings(self.folder.path):
                    record.write_config(self.folder.path, self.config)
                self._report_finished(finished, len(before.other), console)
                return finished
        return self._render(planned, kept, failures, run, console)

    def _warn(self, console: Console) -> Callable[[str], None]:
        return rank_zero_only(partial(say, console, style="bold yellow", once=self.sweep))

    def _plan(self, clips: Sequence[Clip], failures: Failures, warn: Callable[[str], None]) -> list[PlannedClip]:
        """Plans the clips, and prints what is unusual about the folders, the recordings and the frame rate."""
        parts = self.parts
        planned = plan_clips(
            clips, self.loader, parts.sampler, parts.search, self.naming, folder=self.folder, failures=failures
        )
        failures.require_some(warn)
        notes = [*self.source.notes(), *parts.sampler.notes(), *(note for item in planned for note in item.notes)]
        notes += [note for file in parts.edits.drivers for note in parts.driving(Path(file), self.loader.fps).notes()]
        if self.checkpoint.fps not in (None, self.loader.fps):
            notes.append(OTHER_RATE.format(fps=self.loader.fps, trained=self.checkpoint.fps))
        for note in dict.fromkeys(notes):
            warn(note)
        if len({item.video for item in planned}) < len(planned):
            raise UserError(f"name={self.naming.pattern!r} gives two clips the same file name; let it use {{id}}")
        return planned

    def _print_plan(self, planned: list[PlannedClip], console: Console) -> None:
        with torch.device("meta"):
            model = self.build_model()
        longest = max(item.num_frames for item in planned)
        side_by_side = self.batch_clips * self.parts.search.candidates_at_once
        memory = estimate_memory_mb(model, self.parts.sampler, self.parts.decoding, side_by_side, longest)
        for table in plan_tables(planned, memory, self.folder):
            console.print(table)
        say(console, f"everything goes to {self.folder.path}; nothing was written")

    def _report_finished(self, content: dict[str, Any], num_other_code: int, console: Console) -> None:
        """Reports a finished run, and completes what its folder lacks."""
        say(console, f"finished before: {self.folder.record_path}")
        if read_config(self.folder.path) is None:
            record.write_config(self.folder.path, self.config)
        if content.get("other_code") != num_other_code:
            content["other_code"] = num_other_code
            record.write_json(self.folder.record_path, content)
        self._report_unmeasured(content, console)

    def _render(
        self,
        planned: Sequence[PlannedClip],
        kept: Sequence[PlannedClip],
        failures: Failures,
        run: RunIdentity,
        console: Console,
    ) -> dict[str, Any] | None:
        """Renders the clips that are not kept, writes the record and informs the loggers."""
        started, start_time = time.perf_counter(), datetime.now(UTC)
        silence_lightning()
        trainer = self.build_trainer()
        use(trainer.strategy.root_device)
        planned = self._with_faces(planned, failures, self._warn(console))
        check_processes(trainer, len(planned))
        if self.sweep is not None:
            check_processes_in_sweep(trainer, self.config["trainer"]["strategy"], num_tasks=self.num_tasks)
        missing = missing_clips(planned, kept, trainer.world_size)
        num_kept = len(planned) - len(missing)
        data = ClipDataModule([item.clip for item in missing], self.loader, self.batch_clips, skip=failures.skip)
        content = None
        try:
            with self.folder.reserved():
                self.folder.prepare([item.video for item in missing])
                code = uncommitted(self.config)
                self._begin(console)
                loaded = self._predict(data, run, trainer, console) if missing else {}
                if trainer.is_global_zero:
                    planned = self._without_failures(planned, failures, self._warn(console))
                    content = self._record(planned, run, trainer.strategy.root_device)
                    self._measure_run(content)
                    content |= {
                        "started": start_time.isoformat(timespec="seconds"),
                        "load_s": 0.0,
                        "model_reused": False,
                        **loaded,
                        "clips_kept": num_kept,
                        "failed": failures.record(),
                        "wall_s": time.perf_counter() - started,
                    }
                    write_code(self.folder.path, code)
                    record.write_json(self.folder.record_path, content)
                    self.cache.trim()
                    self._report(content, failures, console)
        except Exception as error:
            self._track(None, " ".join(str(error).split()), console)
            raise
        if content is not None:
            self._track(content, None, console)
        return content

    def _with_faces(
        self, planned: Sequence[PlannedClip], failures: Failures, warn: Callable[[str], None]
    ) -> list[PlannedClip]:
        """Detects all faces before weights load, and warns of portraits that a toy model cannot animate.

        Returns the clips with a face that can be composed; the others go to `failures`.
        """
        once = Once()

        def found_face(clip: Clip) -> Mapping[str, Any]:
            _, face = self.loader.portrait(clip)
            if self.parts.edits.dubs:
                for note in self.loader.followed(clip, self.loader.fps).notes():
                    warn(note)
            with of_image(clip.image):
                self.composite.check(face)
            return face

        def face(clip: Clip) -> Mapping[str, Any]:
            return once((clip.image, clip.crop, clip.face), lambda: found_face(clip))

        faces = failures.sift([item.clip for item in planned], face)
        for image in dict.fromkeys(clip.image for clip, face in faces if face["detector"] != TOY):
            if self.checkpoint.toy:
                warn(PHOTO_IN_TOY_WORLD.format(image=printable(image, 1000), command=command("make_portraits")))
        failures.require_some(warn)
        found = {clip.id for clip, _ in faces}
        return [item for item in planned if item.clip.id in found]

    def _predict(
        self, data: ClipDataModule, run: RunIdentity, trainer: lightning.Trainer, console: Console
    ) -> dict[str, Any]:
        """Loads the model and renders the videos of `data`. Returns the record's entries about loading."""
        loading = time.perf_counter()
        model, reused = loaded_model(self.build_model, self.checkpoint, self.config)
        kept = keep(self.cache, self.checkpoint, self.config, trainer.strategy.root_device)
        pipeline = self.parts.pipeline(model, kept)
        load_s = time.perf_counter() - loading
        rank_zero_only(record.write_config)(self.folder.path, self.config)
        measures = Measures(
            metrics=self.metrics,
            motion_depends=motion_depends(self.config, self.checkpoint.fingerprint()),
            measured_by=self._measured_by,
            cache=self.cache,
        )
        with ProgressBars(len(data.dataset), console, lines=self.sweep is None) as progress:
            module = FloatInference(
                pipeline=pipeline,
                measures=measures,
                composite=self.composite,
                video=self.video,
                folder=self.folder,
                naming=self.naming,
                run=str(run),
                observer=LiveProgress(progress, self._live()) if self._live() else progress,
                overlap=self.overlap,
            )
            trainer.predict(module, data, return_predictions=False)
        return {"load_s": load_s, "model_reused": reused}

    @cached_property
    def _measured_by(self) -> Mapping[str, str]:
        """What each number of the metrics depends on. Computed once, since it reads their weights."""
        return measured_by(self.config, self.metrics)

    def _without_failures(
        self, planned: Sequence[PlannedClip], failures: Failures, warn: Callable[[str], None]
    ) -> list[PlannedClip]:
        """Returns the clips with a video. Those that a process could not load go to `failures`."""
        made = []
        for item in planned:
            reason = self.folder.take_failure(item.video)
            if reason is None:
                made.append(item)
            else:
                failures.clips.append(FailedClip(clip=item.clip, reason=reason))
        failures.require_some(warn)
        return made

    def _record(self, planned: Sequence[PlannedClip], run: RunIdentity, device: torch.device) -> dict[str, Any]:
        clips = record.read_clips([item.video.with_suffix(CLIP) for item in planned])
        if len(clips) != len(planned):
            missing = sorted({item.clip.id for item in planned} - {clip["id"] for clip in clips})
            raise UserError(
                f"made only {len(clips)} of {count(len(planned), 'clip')} (missing: {', '.join(missing)}); "
                "run with trainer.devices=1"
            )
        return {
            "signature": run.signature,
            "sources": run.sources,
            "other_code": sum(clip["run"] != str(run) for clip in clips),
            "overrides": list(self.overrides),
            "seed": self.parts.sampler.seed if self.seeds is None else None,
            "seeds": self.seeds,
            "suite": self.source.suite(),
            "solver_order": self.parts.sampler.solver.order,
            "git": git_state(),
            "versions": record.versions(),
            "checkpoint": {
                "trained": self.checkpoint.trained,
                "toy": self.checkpoint.toy,
                "notice": self.checkpoint.notice,
                "hash": run.checkpoint,
            },
            "device": record.device_name(device),
            "peak_memory_mb": record.peak_memory_mb(device),
            "totals": record.totals(clips),
            "clips": clips,
        }

    def _measure_run(self, content: dict[str, Any]) -> None:
        """Adds the metrics of all videos together, and the time they take."""
        started = time.perf_counter()
        clips = content["clips"]
        found = of_run(self.metrics, clips, [self.folder.path / clip["video"] for clip in clips])
        content["metrics"], content["absent"] = found.metrics, found.absent
        content["measured_by"] = digests(found, self._measured_by)
        content["totals"]["seconds"]["metrics"] += time.perf_counter() - started

    def _report(self, content: Mapping[str, Any], failures: Failures, console: Console) -> None:
        """Prints the table of clips, or a line for a run of a sweep, what is missing, and the paths of the results."""
        if self.sweep is None:
            console.print(summary(content))
        else:
            numbers = [number.name for metric in self.metrics for number in metric.numbers if number.headline]
            say(console, run_line(self.folder.path, self.overrides, content, numbers))
        for line in told_absent(content):
            say(console, line, once=self.sweep)
        self._report_unmeasured(content, console)
        for line in [*failures.lines(), *([self.checkpoint.notice] if self.checkpoint.notice else [])]:
            self._warn(console)(line)
        if self.sweep is not None:
            return
        videos = [self.folder.path / clip["video"] for clip in content["clips"]]
        say(console, f"video: {videos[0]}" if len(videos) == 1 else f"videos: {videos[0].parent}")
        say(console, f"record: {self.folder.record_path}")

    def _report_unmeasured(self, content: Mapping[str, Any], console: Console) -> None:
        """Prints which numbers the kept clips lack, or have from other code or weights of a metric."""
        if names := unmeasured(content, self.metrics, self._measured_by):
            how = f"{command('measure')} {self.folder.path} measures them"
            say(console, f"not measured then, or by other code or weights: {', '.join(names)}; {how}")

    def _live(self) -> list[LiveLogger]:
        return [logger for logger in self.loggers if isinstance(logger, LiveLogger)]

    @rank_zero_only
    def _begin(self, console: Console) -> None:
        """Opens the run in loggers that follow it."""
        run = BegunRun(folder=self.folder.path, config=self.config, overrides=self.overrides, sweep=self.sweep)
        for said in tell(self._live(), lambda logger: logger.begin(run)):
            say(console, said, once=self.sweep)

    @rank_zero_only
    def _track(self, content: Mapping[str, Any] | None, error: str | None, console: Console) -> None:
        """Informs the loggers how the run ended."""
        run = EndedRun(
            folder=self.folder.path,
            config=self.config,
            overrides=self.overrides,
            sweep=self.sweep,
            sheet=self.folder.sheet,
            record=content,
            error=error,
        )
        for said in tell(self.loggers, lambda logger: logger.run(run)):
            say(console, said, once=self.sweep)


def missing_clips(planned: Sequence[PlannedClip], kept: Sequence[PlannedClip], num_processes: int) -> list[PlannedClip]:
    """Returns the clips to render. If there are any, each process needs one, so fewer are kept."""
    kept = [item for item in kept if item in planned]
    if len(kept) < len(planned):
        kept = kept[: len(planned) - num_processes]
    return [item for item in planned if item not in kept]


def summary(content: Mapping[str, Any]) -> Table:
    """Returns a table of a run's clips: what each took, measured and declared."""
    rows = []
    for clip in content["clips"]:
        cost, declared = clip["measured"], clip["declared"]
        evaluations = str(cost["evaluations"])
        if declared is not None and declared != cost:
            evaluations += f" (declared {declared['evaluations']})"
        rate = clip["num_frames"] / clip["made_s"]
        counts = (str(clip["num_frames"]), str(clip["num_windows"]), evaluations, str(cost["branches"]))
        rows.append([clip["id"], *counts, f"{rate:.1f}", clip["video"]])
    return clip_table(["frames", "windows", "evaluations", "branches", "frames/s"], rows, "made")
