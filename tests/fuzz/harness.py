"""Feeds cases to workers and collects the results."""

import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import samples as sample_files
from fuzz.processes import BLOCKED_S, HANG_S, server, threads
from fuzz.readers import make_cache
from fuzz.worker import CASE, PREPARED, Task, Verdict, lay, serve

PREPARING_S = 120.0
IDLE_S = 1.0
"""CPU seconds within `HANG_S` below which a reader is only waiting."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A failed case, and how to repeat it."""

    attack: str
    what: str
    case: str
    detail: str


@dataclass(kw_only=True)
class Tally:
    """The result of a class of attack. `not_tried`: what was left out → why."""

    attack: str
    tried: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)
    not_tried: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def survived(self) -> int:
        return self.tried - len({fault.case for fault in self.faults})

    def note(self, kind: str, case: str, problems: Sequence[tuple[str, str]], *, refused: bool = False) -> None:
        """Counts a case, with its problems: a short and a detailed text each."""
        with self._lock:
            self.tried += 1
            self.refused += refused
            self.by_kind[kind] += 1
            self.faults += [
                Fault(attack=self.attack, what=f"{what} @ {kind}", case=case, detail=detail)
                for what, detail in problems
            ]


def make_samples(folder: Path) -> Path:
    """Returns a folder with samples of all kinds, created if necessary."""
    if not (folder / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        sample_files.make(folder)
        process = server().Process(target=make_cache, args=(folder / "entry",))
        process.start()
        process.join()
        assert process.exitcode == 0, "the sample cache could not be made"
        (folder / "done").touch()
    return folder


class Worker:
    """A process for many cases, replaced once it hangs or dies."""

    def __init__(self, folder: Path, samples: Path, hang_s: float = HANG_S) -> None:
        self._folder, self._samples = folder.resolve(), samples.resolve()
        self._hang_s = hang_s
        self._log = self._folder / "log.txt"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / CASE).mkdir(exist_ok=True)
        self._start()

    def _start(self) -> None:
        self._connection, theirs = server().Pipe()
        self._process = server().Process(target=serve, args=(theirs, self._folder, self._samples, self._log))
        self._process.start()
        theirs.close()

    def __call__(self, task: Task) -> Verdict:
        """Runs a case and returns its verdict."""
        try:
            self._connection.send(task)
            if not self._connection.poll(PREPARING_S) or self._connection.recv() != PREPARED:
                raise EOFError
            if self._answers():
                return self._connection.recv()
            self.end()
            verdict = Verdict(fault="hang", detail=self._told())
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            name = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
            verdict = Verdict(fault=f"death by {name}", detail=self._told())
            self.end()
        self._start()
        return verdict

    def _answers(self) -> bool:
        """Waits ten seconds, or longer if the cores are busy."""
        began, worked = time.monotonic(), self._cpu_s()
        while not self._connection.poll(self._hang_s):
            work, waited = self._cpu_s() - worked, time.monotonic() - began
            if work > self._hang_s * 0.9 or work < IDLE_S or waited > BLOCKED_S:
                return False
        return True

    def _cpu_s(self) -> float:
        with suppress(OSError, IndexError):
            numbers = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(numbers[11]) + int(numbers[12])) / TICKS
        return 0.0

    def _told(self) -> str:
        with suppress(OSError):
            return self._log.read_bytes()[-4000:].decode(errors="replace")
        return ""

    def keep(self, task: Task, folder: Path) -> None:
        """Writes the input of a case to a folder, for inspection."""
        if task.build is None:
            lay(task, folder, self._samples)

    def end(self) -> None:
        """Ends the process."""
        self._connection.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join(10)


def judge_all(
    tally: Tally, tasks: Sequence[Task], folder: Path, samples: Path, *, workers: int, command: Callable[[Task], str]
) -> Tally:
    """Runs all tasks in that many workers. Faults are kept in `folder`, each with the command that repeats it."""
    began, free = time.monotonic(), [Worker(folder / f"worker{number}", samples) for number in range(workers)]

    def work(task: Task) -> None:
        worker = free.pop()
        try:
            verdict = worker(task)
            problems = [(verdict.fault, verdict.detail)] if verdict.fault else []
            tally.note(task.kind, command(task), problems, refused=verdict.refused)
            if verdict.fault:
                place = folder / "faults" / f"{tally.attack}-{task.kind.replace(' ', '_')}-{task.number}"
                worker.keep(task, place)
                place.mkdir(parents=True, exist_ok=True)
                (place / "FAULT.txt").write_text(
                    f"{verdict.fault}\n{command(task)}\n\n{verdict.detail}\n",
                    encoding="utf-8",
                    errors="backslashreplace",
                )
        finally:
            free.append(worker)

    try:
        threads(work, tasks, workers)
    finally:
        for worker in free:
            worker.end()
    tally.seconds += time.monotonic() - began
    return tally
