"""Progress bars of a run, and the line that a sweep prints for it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from float_research.errors import printable
from float_research.printing import say
from float_research.tracking.logger import mean_metrics
from float_research.tracking.record import FAILURE, RECORD
from float_research.tracking.runs import SWEEP, read_sweep, sweep_of, varied

MINUTE_S, HOUR_S = 60, 3600


class ProgressBars:
    """A bar for all clips and one for each active clip, with its window, frames and frames per second.

    If the output is not a terminal, prints one line per finished clip instead, or with `lines` false nothing.
    """

    def __init__(self, num_clips: int, console: Console, *, lines: bool = True):
        self.console, self.num_clips, self.num_finished, self.lines = console, num_clips, 0, lines
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[window]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.tasks: dict[str, tuple[TaskID, int]] = {}

    def __enter__(self) -> "ProgressBars":
        self.progress.start()
        self.total = self.progress.add_task("clips", total=self.num_clips, window="", rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def __reduce__(self) -> tuple[type["Silent"], tuple[()]]:
        """Pickles as `Silent`: only one process may draw on the terminal."""
        return Silent, ()

    def clip_started(self, id: str, num_frames: int, num_windows: int) -> None:
        task = self.progress.add_task(printable(id), total=num_frames, window=f"window 0/{num_windows}", rate="")
        self.tasks[id] = (task, num_windows)

    def frames_written(self, id: str, num_frames: int, window: int) -> None:
        task, num_windows = self.tasks[id]
        speed = self.progress.tasks[self.progress.task_ids.index(task)].speed
        rate = f"{speed:.1f} frames/s" if speed else ""
        self.progress.update(task, advance=num_frames, window=f"window {window}/{num_windows}", rate=rate)

    def clip_finished(self, id: str) -> None:
        task, _ = self.tasks.pop(id)
        self.progress.remove_task(task)
        self.progress.update(self.total, advance=1)
        self.num_finished += 1
        if self.lines and not self.console.is_terminal:
            say(self.console, f"clip {self.num_finished}/{self.num_clips}: {id}")


class Silent:
    """An observer without output."""

    def clip_started(self, id: str, num_frames: int, num_windows: int) -> None:
        return

    def frames_written(self, id: str, num_frames: int, window: int) -> None:
        return

    def clip_finished(self, id: str) -> None:
        return


def run_line(run: Path, overrides: Sequence[str], record: Mapping[str, Any], numbers: Sequence[str]) -> str:
    """Returns a line about a finished run of a sweep: what varies, some of its numbers, its time, and the time left."""
    sweep, found = sweep_of(run), mean_metrics(record)
    shown = [f"{name} {found[name]:.3g}" for name in numbers if name in found]
    parts = [" ".join(varied(overrides, sweep)), *shown, duration(record["wall_s"])]
    if sweep is None:
        return ", ".join(filter(None, parts))
    began = (sweep / SWEEP).stat().st_mtime
    ended = [path.stat().st_mtime for name in (RECORD, FAILURE) for path in sweep.rglob(name)]
    _, runs = read_sweep(sweep)
    count = f"{len(ended)}/{len(runs)}" if runs else str(len(ended))
    rate_s = (time.time() - began) / max(1, sum(when >= began for when in ended))
    if runs and (left := len(runs) - len(ended)) > 0:
        parts.append(f"{duration(left * rate_s)} left")
    return f"run {count}: {', '.join(filter(None, parts))}"


def duration(seconds: float) -> str:
    """Returns a time in its natural unit: 8.1 s, 12 min, 3.5 h."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.1f} s" if seconds < MINUTE_S else f"{seconds:.0f} s"
    return f"{seconds / MINUTE_S:.0f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:.1f} h"
