"""Progress bars."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from float_research.errors import printable
from float_research.printing import say


class ProgressBars:
    """A bar for all clips and one for each active clip, with its window, frames and frames per second.

    If the output is not a terminal, prints one line per finished clip instead.
    """

    def __init__(self, num_clips: int, console: Console):
        self.console, self.num_clips, self.num_finished = console, num_clips, 0
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
        if not self.console.is_terminal:
            say(self.console, f"clip {self.num_finished}/{self.num_clips}: {id}")


class Silent:
    """An observer without output."""

    def clip_started(self, id: str, num_frames: int, num_windows: int) -> None:
        return

    def frames_written(self, id: str, num_frames: int, window: int) -> None:
        return

    def clip_finished(self, id: str) -> None:
        return
