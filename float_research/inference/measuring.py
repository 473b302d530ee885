"""Metrics of a run: their inputs from its clips, and the files and records of their results."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from float_research.cache import Cache, digest
from float_research.errors import UserError, printable
from float_research.files import sha256, whole
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.solution import ConvergedSolution, Problem
from float_research.inference.stopwatch import Stopwatch
from float_research.metrics.metric import ClipMetric, Findings, MeansMetric, Metric, Need, RunMetric
from float_research.metrics.panel import Panel, reported
from float_research.metrics.track import SUFFIX
from float_research.sources import code, parts
from float_research.tables import read_table
from float_research.tracking.logger import mean_metrics
from float_research.tracking.record import APPROXIMATION, identity
from float_research.types import Clip, LoadedClip
from float_research.video.reader import read_frames

log = logging.getLogger(__name__)
TRACES, FLOW = "traces", "flow"
MEASURED = (SUFFIX, f".{TRACES}.parquet", f".{FLOW}.parquet")
"""Suffixes of the files that metrics write beside a video."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The metrics of a run, and the dependencies of its converged motion and of each number."""

    metrics: Sequence[Metric]
    motion_depends: Mapping[str, str]
    measured_by: Mapping[str, str]
    cache: Cache

    def panel(
        self,
        loaded: LoadedClip,
        ready: PreparedClip,
        pipeline: FloatPipeline,
        candidates: Callable[[], Sequence[int]],
        watch: Stopwatch,
    ) -> Panel:
        """Returns the metrics panel of a clip. `candidates`: of its windows, known after sampling.

        `watch` times a converged solution apart from the metrics.
        """
        problem = Problem(sampler=pipeline.sampler, fmt=pipeline.model.fmt, conditions=ready.conditions)
        clip = loaded.clip
        depends = {**self.motion_depends, **clip_depends(clip, sha256(clip.image), sha256(clip.audio))}
        subject = replace(
            ready.subject,
            num_frames=ready.num_video_frames,
            fps=pipeline.fps,
            solution=ConvergedSolution(
                cache=self.cache,
                depends=depends,
                pose=lambda: problem,
                candidates=candidates,
                solving=partial(watch.phase, "converge", within="metrics"),
            ),
            missing=unsolvable(pipeline.fps, pipeline.model.fps, edited=bool(pipeline.edits.edits)),
        )
        return Panel(of_clips(self.metrics), subject)


def unsolvable(fps: float, model_fps: float, *, edited: bool) -> dict[Need, str]:
    """Returns why there is no converged motion to compare with, if motion is edited or has the video's frame rate."""
    if edited:
        return {Need.SOLUTION: "the motion is edited after sampling; motion=none leaves it as sampled"}
    if fps == model_fps:
        return {}
    return {Need.SOLUTION: f"video.fps={fps:g} shows motion between the model's {model_fps:g} frames per second"}


def of_clips(metrics: Sequence[Metric]) -> list[ClipMetric]:
    """Returns the metrics that measure single clips."""
    return [metric for metric in metrics if isinstance(metric, ClipMetric)]


def composed(clip: Mapping[str, Any]) -> str | None:
    """Returns why the video of a clip, given its record, does not have the network's frames, which metrics measure."""
    if not clip.get("composite"):
        return None
    kind = printable(clip["composite"].get("kind"))
    return f"the video shows composite={kind} instead of the network's frames; repeat the run with composite=none"


def of_run(metrics: Sequence[Metric], clips: Sequence[Mapping[str, Any]], videos: Sequence[Path]) -> Findings:
    """Computes the metrics of a run as a whole, given the records of its clips. Failing metrics are reported."""
    found, obstacle = Findings(), next(filter(None, map(composed, clips)), None)
    for metric in metrics:
        if isinstance(metric, RunMetric):
            with reported(found, metric):
                if reason := metric.lacks() or obstacle:
                    raise UserError(reason)
                found.add(metric.compare(videos, read_frames))
        elif isinstance(metric, MeansMetric):
            with reported(found, metric):
                absent = {name: reason for clip in clips for name, reason in (clip.get("absent") or {}).items()}
                found.add(metric.summarise(mean_metrics({"clips": clips}), absent))
    return found


def motion_depends(config: Mapping[str, Any], checkpoint_hash: str) -> dict[str, str]:
    """Returns the settings, weights and code that converged motion depends on: all but those of the approximation."""
    return {"run": str(identity(config, checkpoint_hash, without=APPROXIMATION))}


def measured_by(config: Mapping[str, Any], metrics: Sequence[Metric]) -> dict[str, str]:
    """Returns for each number a digest of its metric's settings, weights and code."""
    found = dict[str, str]()
    for settings, metric in zip(config["metrics"].values(), metrics, strict=True):
        files = [value for value in settings.values() if isinstance(value, str) and Path(value).is_file()]
        weights = [sha256(Path(file)) for file in files]
        key = digest({"settings": settings, "weights": weights, "code": code(__name__, *parts(settings))})
        found |= dict.fromkeys(metric.names, key)
    return found


def digests(found: Findings, by: Mapping[str, str]) -> dict[str, str]:
    """Returns those of the digests `by` name that belong to numbers which were found or are absent."""
    return {name: by[name] for name in by.keys() & (found.metrics.keys() | found.absent.keys())}


def clip_depends(clip: Clip, image_sha256: str, audio_sha256: str) -> dict[str, Any]:
    """Returns the inputs that the converged motion of a clip depends on."""
    return {"id": clip.id, **clip.own, "image": image_sha256, "audio": audio_sha256}


def write_tables(video: Path, found: Findings, fps: float) -> dict[str, str]:
    """Writes results other than single numbers to one file each beside the video; returns kind → file name."""
    tables = dict(found.tables)
    if found.traces:
        frames = np.arange(len(next(iter(found.traces.values()))))
        tables[TRACES] = {"frame": frames, "time_s": frames / fps, **found.traces}
    return {kind: _write(video.with_suffix(f".{kind}.parquet"), columns).name for kind, columns in tables.items()}


def _write(path: Path, columns: Mapping[str, Any]) -> Path:
    """Writes columns, adding to or replacing those of an existing file with the same number of rows."""
    import pandas as pd

    table = pd.DataFrame(dict(columns))
    if path.is_file():
        try:
            old = read_table(path)
            table = old.assign(**table) if len(old) == len(table) else table
        except UserError as error:
            log.warning("%s; the values of other metrics in it are lost", error)
    with whole(path) as part:
        table.to_parquet(part, index=False)
    return path


def told_absent(content: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each reason why numbers are missing."""
    reasons: dict[str, set[str]] = defaultdict(set)
    for part in (*content["clips"], content):
        for name, reason in part.get("absent", {}).items():
            reasons[reason].add(name)
    for reason, names in reasons.items():
        yield f"not measured: {printable(', '.join(sorted(names)), 1000)}: {printable(reason, 1000)}"
