"""Attacked processes, forked from a server that has imported everything, so that each starts immediately."""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from float_research.stopping import STOP_SIGNALS

ROOT = Path(__file__).parents[2]
QUIET = {"HYDRA_FULL_ERROR": "0", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "TQDM_DISABLE": "1"}
MAX_ADDRESS_BYTES = 16 * 2**30
"""The memory limit of a process, so that a bomb does not take down the machine."""
WRITTEN, PROGRAMS, FILES = ("runs", "out", "tmp", "cache"), "programs", "files"
"""Where a watched script may write; whether file changes and started programs are watched, or only file changes."""
SECRET = {"ATTACK_SECRET": "the-secret-of-this-machine"}
HANG_S, BLOCKED_S = 10.0, 60.0
"""A process counts as hung after this much CPU or idle time, in seconds; the second is for a busy machine."""


@cache
def server() -> ForkServerContext:
    """Returns the context whose processes have the whole package imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fuzz.preload"])
    changed = QUIET | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    }
    former = {name: os.environ.get(name) for name in [*changed, "FLOAT_FULL_ERROR"]}
    os.environ |= changed
    os.environ.pop("FLOAT_FULL_ERROR", None)
    try:
        first = context.Process(target=os.getpid)  # starts the server
        first.start()
        first.join()
    finally:
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    return context


def settle(folder: Path) -> None:
    """Prepares an attacked process: its own session and temporary folder, and a memory limit."""
    with suppress(OSError):
        os.setsid()
    for number in STOP_SIGNALS:  # background jobs of a shell ignore some
        signal.signal(number, signal.SIG_DFL)
    os.environ |= (
        QUIET | SECRET | {"TMPDIR": str(folder / "tmp"), "FLOAT_CACHE_DIR": str(folder / "cache"), "COLUMNS": "200"}
    )
    os.environ.pop("FLOAT_FULL_ERROR", None)
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The result of a script: its exit code, negative for a signal that killed it, and its output."""

    code: int
    output: str
    error: str
    hung: bool
    events: Sequence[str]
    """The events that a watch recorded."""


class Running:
    """A running script, in its own folder. `modules`: a folder on its PYTHONPATH."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        *,
        watched: str | None = None,
        max_file_bytes: int | None = None,
        modules: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ends = [server().Pipe(duplex=False) for _ in range(3)]
        written = [writer for _, writer in ends]
        self._process: BaseProcess = server().Process(
            target=_run_script, args=(name, list(arguments), folder, watched, max_file_bytes, modules, *written)
        )
        self._process.start()
        for writer in written:
            writer.close()
        self._told: list[bytearray] = [bytearray(), bytearray()]
        self._readers = [
            threading.Thread(target=_gather, args=(reader, told), daemon=True)
            for (reader, _), told in zip(ends, self._told, strict=False)
        ]
        for thread in self._readers:
            thread.start()
        self._notes = ends[2][0]
        self._began = self._receive()  # it is about to start

    def _receive(self) -> Any:
        with suppress(EOFError, OSError):
            return self._notes.recv()
        return None

    def kill(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to the script, or to all processes of its session."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self._process.pid, number)

    def wait(self, limit_s: float | None = None) -> "Ended | None":
        """Returns how it ended, or None if it has not after `limit_s`. A script that hangs is killed."""
        began, hung = time.monotonic(), False
        while self._process.exitcode is None:
            left = None if limit_s is None else limit_s - (time.monotonic() - began)
            if left is not None and left <= 0:
                return None
            self._process.join(0.5 if left is None else min(left, 0.5))
            if limit_s is None and self._process.exitcode is None and time.monotonic() - began > BLOCKED_S:
                hung = True
                self.kill(signal.SIGKILL, group=True)
        events = self._receive() or []
        for thread in self._readers:
            thread.join(5)
        output, error = (bytes(told).decode(errors="replace") for told in self._told)
        assert self._process.exitcode is not None
        return Ended(code=self._process.exitcode, output=output, error=error, hung=hung, events=events)

    def finish(self) -> Ended:
        """Waits for its end and returns the result."""
        ended = self.wait()
        assert ended is not None
        return ended


def script(name: str, arguments: Sequence[str], folder: Path, **settings: Any) -> Ended:
    """Runs a script to its end."""
    return Running(name, arguments, folder, **settings).finish()


def _gather(reader: Connection, told: bytearray) -> None:
    while part := os.read(reader.fileno(), 65536):
        told += part
    reader.close()


def _run_script(  # noqa: PLR0917, a process's target
    name: str,
    arguments: Sequence[str],
    folder: Path,
    watched: str | None,
    max_file_bytes: int | None,
    modules: Path | None,
    output: Connection,
    error: Connection,
    notes: Connection,
) -> None:
    settle(folder)
    os.dup2(output.fileno(), 1)
    os.dup2(error.fileno(), 2)
    output.close()
    error.close()
    from fuzz.watch import Watch

    places = [folder / name for name in WRITTEN]
    watch = Watch(places, programs=watched == PROGRAMS) if watched else None
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    if modules is not None:
        sys.path.insert(0, str(modules))
    sys.argv = [str(ROOT / "scripts" / f"{name}.py"), *arguments]
    notes.send("begins")
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.stdout.flush()
        if watch:
            notes.send(list(watch.events))


def threads(function: Callable[[Any], Any], items: Sequence[Any], num: int) -> None:
    """Calls `function` for all items in that many threads, each of which feeds a process."""
    left, lock = iter(items), threading.Lock()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            with lock:
                item = next(left, left)
            if item is left:
                return
            try:
                function(item)
            except BaseException as error:
                errors.append(error)

    at_work = [threading.Thread(target=work) for _ in range(num)]
    for thread in at_work:
        thread.start()
    for thread in at_work:
        thread.join()
    if errors:
        raise errors[0]
