"""A run from built parts to its record: plan, load, predict, sum up."""

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from rich.console import Console

from float_research.cache import Cache
from float_research.conditioning.emotion import EmotionSource
from float_research.data.clips import SKIP, TOY, ClipDataModule, ClipLoader, ClipSource, Once
from float_research.errors import UserError, printable
from float_research.files import sweep_parts
from float_research.folders import occupied, require_own
from float_research.inference.best_of import Search
from float_research.inference.failures import Failures
from float_research.inference.measuring import MEASURED, Measures, measured_by, motion_depends, of_run, told_absent
from float_research.inference.module import FAILED, FloatInference, Naming
from float_research.inference.pipeline import FloatPipeline
from float_research.inference.plan import PlannedClip, clip_table, estimate_memory_mb, plan_clips, plan_tables
from float_research.inference.progress import ProgressBars
from float_research.inference.resuming import Before, made_before, unmeasured
from float_research.inference.reuse import keep, loaded_model
from float_research.inference.sheets import sheet
from float_research.metrics.metric import Metric
from float_research.models.checkpoint import Checkpoint
from float_research.models.decoding import Decoding
from float_research.models.float_model import FloatModel
from float_research.models.vector_field import Evaluation
from float_research.printing import Table, say
from float_research.program import command
from float_research.sampling.sampler import Sampler
from float_research.texts import read_mapping
from float_research.tracking import record
from float_research.tracking.code import PATCH, git_state, uncommitted, write_code
from float_research.tracking.record import Identity
from float_research.tracking.runs import read_config
from float_research.tracking.tracker import TrackedRun, Tracker, tell
from float_research.types import Clip, FailedClip
from float_research.video.writer import H264

LOCK = ".run.lock"
"""In the folder of a run that is at work."""
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

    `config`, resolved, the `overrides` that led to it and its `sweep` are for the record.
    """

    build_model: Callable[[], FloatModel]
    checkpoint: Checkpoint
    source: ClipSource
    loader: ClipLoader
    cache: Cache
    sampler: Sampler
    search: Search
    vector_field: Evaluation
    emotion: EmotionSource
    decoding: Decoding
    video: H264
    metrics: Sequence[Metric]
    build_trainer: Callable[[], lightning.Trainer]
    batch_clips: int
    overlap: bool | None
    naming: Naming
    output_dir: Path
    on_error: str | None
    dry_run: bool
    resume: bool | str
    trackers: Sequence[Tracker]
    overrides: Sequence[str]
    num_tasks: int
    sweep: str | None
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.search.check(self.loader.image_size)

    def run(self, console: Console) -> dict[str, Any] | None:
        """Makes the videos and the record, and returns the record; None in all processes but the first.

        A dry run prints its plan, and returns what a record would say of the clips that `failed`.
        """
        if not self.dry_run:
            self.checkpoint.files()
        clips = self.source.clips()
        tell = rank_zero_only(partial(say, console, style="bold yellow", once=self.sweep))
        failures = Failures(num_clips=len(clips), skip=(self.on_error or self.source.on_error) == SKIP)
        planned = plan_clips(
            clips, self.loader, self.sampler, self.search, self.naming, folder=self.output_dir, failures=failures
        )
        failures.require_some(tell)
        for note in self._notes(planned):
            tell(note)
        doubled = {item.video for item in planned}
        if len(doubled) < len(planned):
            raise UserError(f"name={self.naming.pattern!r} gives two clips the same file name; let it use {{id}}")
        if self.dry_run:
            self._print_plan(planned, console)
            for line in failures.lines():
                tell(line)
            return {"failed": failures.record()}
        require_own(self.output_dir, "output_dir", record.is_run)
        run = record.identity(self.config, self.checkpoint.fingerprint())
        before = made_before(planned, run) if self.resume else Before(same=(), other=())
        for line in before.told(self.resume):
            tell(line)
        kept = before.kept(self.resume)
        if len(kept) == len(clips) and (finished := self._finished(planned, run)) is not None:
            say(console, f"finished before: {self.output_dir / record.RECORD}")
            if read_config(self.output_dir) is None:
                record.write_config(self.output_dir, self.config)
            if finished.get("other_code") != len(before.other):
                finished["other_code"] = len(before.other)
                record.write_json(self.output_dir / record.RECORD, finished)
            self._tell_unmeasured(finished, console)
            return finished
        started, start_time = time.perf_counter(), datetime.now(UTC)
        planned = self._with_faces(planned, failures, tell)
        failures.require_some(tell)
        kept = [item for item in kept if item in planned]
        silence_lightning()
        trainer = self.build_trainer()
        self._check_processes(trainer, len(planned))
        if len(kept) < len(planned):
            kept = kept[: len(planned) - trainer.world_size]  # for each process has to have one
        missing = [item for item in planned if item not in kept]
        data = ClipDataModule([item.clip for item in missing], self.loader, self.batch_clips, skip=failures.skip)
        first = getattr(rank_zero_only, "rank", 0) == 0
        alone = partial(occupied, self.output_dir, LOCK, "output_dir", what="run") if first else nullcontext
        try:
            with alone():
                self._prepare_folder(missing)
                content = self._make(
                    planned, failures, data, run, trainer, console=console, started=started, start_time=start_time
                )
        except Exception as error:
            self._tell(None, " ".join(str(error).split()), console)
            raise
        if content is not None:
            self._tell(content, None, console)
        return content

    def _notes(self, planned: Sequence[PlannedClip]) -> list[str]:
        """What is unusual about the folders, the recordings and the frame rate."""
        notes = [*self.source.notes(), *(note for item in planned for note in item.notes)]
        if self.checkpoint.fps not in (None, self.loader.fps):
            notes.append(OTHER_RATE.format(fps=self.loader.fps, trained=self.checkpoint.fps))
        return list(dict.fromkeys(notes))

    def _make(
        self,
        planned: list[PlannedClip],
        failures: Failures,
        data: ClipDataModule,
        run: Identity,
        trainer: lightning.Trainer,
        *,
        console: Console,
        started: float,
        start_time: datetime,
    ) -> dict[str, Any] | None:
        """Makes the missing videos and the record; None in all processes but the first."""
        num_kept, code = len(planned) - len(data.dataset), uncommitted(self.config)
        loaded = self._make_videos(data, run, trainer, console) if len(data.dataset) else {}
        if not trainer.is_global_zero:
            return None
        planned = read_failures(planned, failures)
        tell = partial(say, console, style="bold yellow", once=self.sweep)
        failures.require_some(tell)
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
        write_code(self.output_dir, code)
        record.write_json(self.output_dir / record.RECORD, content)
        self.cache.trim()
        console.print(self._summary(content))
        for line in told_absent(content):
            say(console, line, once=self.sweep)
        self._tell_unmeasured(content, console)
        for line in failures.lines():
            tell(line)
        if self.checkpoint.notice:
            tell(self.checkpoint.notice)
        videos = [self.output_dir / clip["video"] for clip in content["clips"]]
        say(console, f"video: {videos[0]}" if len(videos) == 1 else f"videos: {videos[0].parent}")
        say(console, f"record: {self.output_dir / record.RECORD}")
        return content

    def _make_videos(
        self, data: ClipDataModule, run: Identity, trainer: lightning.Trainer, console: Console
    ) -> dict[str, Any]:
        """Loads the model and makes the videos of `data`. Returns what the record says of the loading."""
        loading = time.perf_counter()
        model, reused = loaded_model(self.build_model, self.checkpoint, self.config)
        pipeline = FloatPipeline(
            model=model,
            sampler=self.sampler,
            vector_field=self.vector_field,
            emotion=self.emotion,
            decoding=self.decoding,
            search=self.search,
            video_fps=self.video.fps,
            kept=keep(self.cache, self.checkpoint, self.config, trainer.strategy.root_device),
        )
        load_s = time.perf_counter() - loading
        rank_zero_only(record.write_config)(self.output_dir, self.config)
        depends = motion_depends(self.config, self.checkpoint.fingerprint())
        by = measured_by(self.config, self.metrics)
        measures = Measures(metrics=self.metrics, motion_depends=depends, measured_by=by, cache=self.cache)
        with ProgressBars(len(data.dataset), console) as progress:
            module = FloatInference(
                pipeline=pipeline,
                measures=measures,
                video=self.video,
                folder=self.output_dir,
                naming=self.naming,
                run=str(run),
                observer=progress,
                overlap=self.overlap,
            )
            trainer.predict(module, data, return_predictions=False)
        return {"load_s": load_s, "model_reused": reused}

    def _measure_run(self, content: dict[str, Any]) -> None:
        """Adds what can be said of all videos together, and the time it takes."""
        started = time.perf_counter()
        found = of_run(self.metrics, [self.output_dir / clip["video"] for clip in content["clips"]])
        content["metrics"], content["absent"] = found.metrics, found.absent
        by = measured_by(self.config, self.metrics)
        content["measured_by"] = {name: by[name] for name in by.keys() & (found.metrics.keys() | found.absent.keys())}
        content["totals"]["seconds"]["metrics"] += time.perf_counter() - started

    def _tell_unmeasured(self, content: Mapping[str, Any], console: Console) -> None:
        """Says what kept clips lack that other metrics, or other code of theirs, would find."""
        if names := unmeasured(content, self.metrics, measured_by(self.config, self.metrics)):
            how = f"{command('measure')} {self.output_dir} measures them"
            say(console, f"not measured then, or by other code or weights: {', '.join(names)}; {how}")

    def _finished(self, planned: Sequence[PlannedClip], run: Identity) -> dict[str, Any] | None:
        """The record that a run of these settings and weights left earlier, of these clips."""
        try:
            content = record.read_record(self.output_dir / record.RECORD)
            same = run.but_for_code(f"{content['signature']} {content['checkpoint']['hash']}")
            ids = [clip["id"] for clip in content["clips"]]
        except (UserError, KeyError, TypeError):
            return None
        return content if same and not content.get("failed") and ids == [item.clip.id for item in planned] else None

    def _check_processes(self, trainer: lightning.Trainer, num_clips: int) -> None:
        """Raises a UserError for processes that would have no clip, make all clips, or replay a sweep."""
        if trainer.world_size > num_clips:
            raise UserError(
                f"trainer.devices={trainer.num_devices} are more processes than clips ({num_clips}); use fewer devices"
            )
        if self.sweep is None:
            return
        strategy, named = trainer.strategy, f"trainer.strategy={self.config['trainer']['strategy']}"
        environment = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
        by_cluster = environment is not None and environment.creates_processes_externally
        if isinstance(strategy.launcher, _SubprocessScriptLauncher) and not by_cluster:
            raise UserError(
                f"{named} cannot run in a sweep: each further process would replay the sweep; "
                "use trainer.strategy=ddp_spawn, run the settings one by one, or let SLURM start the processes "
                f"(hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node={trainer.num_devices})"
            )
        wanted = trainer.num_devices * trainer.num_nodes if by_cluster else 1
        if self.num_tasks != wanted:
            raise UserError(
                f"hydra.launcher.tasks_per_node × nodes is {self.num_tasks}, but {named} on trainer.devices="
                f"{trainer.num_devices} wants {wanted}: clips would be made twice, or on fewer devices"
            )

    def _with_faces(
        self, planned: Sequence[PlannedClip], failures: Failures, tell: Callable[[str], None]
    ) -> list[PlannedClip]:
        """Finds every face before weights load, and tells which portraits a toy model cannot know.

        Returns the clips whose face is found; others go to `failures`.
        """
        once = Once()

        def face(clip: Clip) -> Mapping[str, Any]:
            return once((clip.image, clip.crop, clip.face), lambda: self.loader.portrait(clip)[1])

        faces = failures.sift([item.clip for item in planned], face)
        for image in dict.fromkeys(clip.image for clip, face in faces if face["detector"] != TOY):
            if self.checkpoint.toy:
                tell(PHOTO_IN_TOY_WORLD.format(image=printable(image, 1000), command=command("make_portraits")))
        found = {clip.id for clip, _ in faces}
        return [item for item in planned if item.clip.id in found]

    @rank_zero_only
    def _tell(self, content: Mapping[str, Any] | None, error: str | None, console: Console) -> None:
        """Lets the trackers know how the run ended."""
        run = TrackedRun(
            folder=self.output_dir,
            config=self.config,
            overrides=self.overrides,
            sweep=self.sweep,
            sheet=partial(sheet, self.output_dir),
            record=content,
            error=error,
        )
        for said in tell(self.trackers, lambda tracker: tracker.run(run)):
            say(console, said, once=self.sweep)

    def _print_plan(self, planned: list[PlannedClip], console: Console) -> None:
        with torch.device("meta"):
            model = self.build_model()
        longest = max(item.num_frames for item in planned)
        side_by_side = self.batch_clips * self.search.candidates_at_once
        memory = estimate_memory_mb(model, self.sampler, self.decoding, side_by_side, longest)
        for table in plan_tables(planned, memory, self.output_dir):
            console.print(table)
        say(console, f"everything goes to {self.output_dir}; nothing was written")

    @rank_zero_only
    def _prepare_folder(self, missing: list[PlannedClip]) -> None:
        """Makes the folder, and clears it of what a former run said of the clips to make and left half-written."""
        videos = self.output_dir / "videos"
        videos.mkdir(parents=True, exist_ok=True)
        for folder in (self.output_dir, videos):
            sweep_parts(folder)
        for name in (record.RECORD, record.FAILURE, PATCH):
            (self.output_dir / name).unlink(missing_ok=True)
        for item in missing:
            for suffix in (".json", FAILED, *MEASURED):
                item.video.with_suffix(suffix).unlink(missing_ok=True)

    def _record(self, planned: list[PlannedClip], run: Identity, device: torch.device) -> dict[str, Any]:
        clips = record.read_clips([item.video.with_suffix(".json") for item in planned])
        if len(clips) != len(planned):
            missing = sorted({item.clip.id for item in planned} - {clip["id"] for clip in clips})
            raise UserError(
                f"only {len(clips)} of {len(planned)} clips were made (missing: {', '.join(missing)}); "
                "run with trainer.devices=1"
            )
        return {
            "signature": run.signature,
            "sources": run.sources,
            "other_code": sum(clip["run"] != str(run) for clip in clips),
            "overrides": list(self.overrides),
            "seed": self.sampler.seed,
            "solver_order": self.sampler.solver.order,
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

    def _summary(self, content: Mapping[str, Any]) -> Table:
        rows = []
        for clip in content["clips"]:
            cost, declared = clip["measured"], clip["declared"]
            evaluations = str(cost["evaluations"])
            if declared is not None and declared != cost:
                evaluations += f" (declared {declared['evaluations']})"
            rate = clip["num_frames"] / clip["made_s"]
            counts = (str(clip["num_frames"]), str(clip["num_chunks"]), evaluations, str(cost["rows"]))
            rows.append([clip["id"], *counts, f"{rate:.1f}", clip["video"]])
        return clip_table(["frames", "chunks", "evaluations", "rows", "frames/s"], rows, "made")


def read_failures(planned: Sequence[PlannedClip], failures: Failures) -> list[PlannedClip]:
    """The clips that no process had to leave out as it loaded them. What was left in place of the others is read."""
    made = []
    for item in planned:
        place = item.video.with_suffix(FAILED)
        if place.is_file():
            reason = str(read_mapping(place).get("reason"))
            failures.clips.append(FailedClip(clip=item.clip, reason=reason))
            place.unlink()
        else:
            made.append(item)
    return made


def silence_lightning() -> None:
    """Drops Lightning's tips, its device report, and its advice on workers and SLURM, which a run does not need."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
