"""The process in which cases are read. It judges what happens inside; its parent notices if it hangs or dies."""

import faulthandler
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz import watch
from fuzz.mutate import mutated
from fuzz.processes import settle
from fuzz.readers import KINDS, fresh

MAX_MORE_MB, MAX_MESSAGE = 1000.0, 2000
CASE = "case"
PREPARED = "prepared"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A file to read: damaged case `number` of a `kind` from `seed`, what `build` writes, or a valid `sample`.

    `read` replaces the kind's own reader in tests of the attack itself.
    """

    kind: str
    number: int
    seed: int
    build: Callable[[Path], object] | None = None
    sample: Path | None = None
    read: Callable[[Path], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a case. `fault` is a short text for the table, None if it passed; `detail` has more."""

    fault: str | None
    detail: str = ""
    refused: bool = False


def serve(connection: Connection, folder: Path, samples: Path, log: Path) -> None:
    """Runs tasks until there are none left."""
    settle(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    watch.lay_canary(folder)
    watching = watch.Watch([folder / CASE, folder / "tmp"], programs=True)
    canary = watch.canary_state(folder)
    while (task := connection.recv()) is not None:
        os.ftruncate(output, 0)
        place = lay(task, folder / CASE, samples)
        del watching.events[:]
        base_mb = watch.begin_peak()
        connection.send(PREPARED)
        verdict = judge(task.read or KINDS[task.kind].read, place, named=KINDS[task.kind].named)
        more_mb = watch.peak_mb() - base_mb
        if watching.events:
            verdict = Verdict(fault=f"forbidden {watching.events[0].split()[0]}", detail="\n".join(watching.events))
        if watch.canary_state(folder) != canary:
            verdict = Verdict(fault="touched files outside its folder", detail=verdict.detail)
            watch.lay_canary(folder)
            canary = watch.canary_state(folder)
        if verdict.fault is None and more_mb > MAX_MORE_MB:
            verdict = Verdict(fault="memory", detail=f"{more_mb:.0f} MB above the base; {verdict.detail}")
        connection.send(verdict)


def lay(task: Task, folder: Path, samples: Path) -> Path:
    """Writes the damaged file to a fresh folder."""
    kind = KINDS[task.kind]
    if task.build is not None:
        place = kind.lay(samples, fresh(folder), None)
        task.build(place)
        return place
    if task.sample is not None:
        content = task.sample.read_bytes()
    else:
        content = mutated(task.seed, task.kind, task.number, kind.contents(samples), kind.text)
    return kind.lay(samples, fresh(folder), content)


def judge(read: Callable[[Path], Any], place: Path, *, named: bool) -> Verdict:
    """Reads a file as the package does. A refusal must be one bounded sentence that names the file."""
    from float_research.errors import UserError

    try:
        read(place)
    except UserError as error:
        said = str(error)
        if len(said) > MAX_MESSAGE:
            return Verdict(fault=f"a message of {len(said) // 1000} thousand characters", detail=said[:3000])
        if not said.isprintable():
            return Verdict(fault="control characters in a message", detail=repr(said))
        if named and place.name not in said:
            return Verdict(fault="a message that does not name the file", detail=said)
        return Verdict(fault=None, detail=said, refused=True)
    except BaseException as error:
        return Verdict(fault=type(error).__name__, detail="".join(traceback.format_exception(error))[-4000:])
    return Verdict(fault=None)
