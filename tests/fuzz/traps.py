"""Readers that do forbidden things, to check that an attack detects them."""

import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from float_research.errors import UserError
from fuzz.watch import OUTSIDE


def writes_outside(path: Path) -> None:
    (path.parents[1] / OUTSIDE / "notes.txt").write_text("x")


def removes_outside(path: Path) -> None:
    os.remove(path.parents[1] / OUTSIDE / "settings.json")


def starts(path: Path) -> None:
    subprocess.run(["true"], check=True)


def connects(path: Path) -> None:
    with socket.socket() as opened:
        opened.settimeout(0.1)
        opened.connect_ex(("127.0.0.1", 9))


def raises(path: Path) -> None:
    raise KeyError(path)


def names_nothing(path: Path) -> None:
    raise UserError("it is damaged")


def talks(path: Path) -> None:
    raise UserError(f"{path.name} " + "x" * 5000)


def colours(path: Path) -> None:
    raise UserError(f"{path.name} \x1b[31m")


def grows(path: Path) -> None:
    bytearray(1_200_000_000)


def waits(path: Path) -> None:
    time.sleep(100)


def dies(path: Path) -> None:
    ctypes.string_at(0)


TRAPS: dict[Callable[[Path], None], str] = {
    writes_outside: "touched files outside its folder",
    removes_outside: "touched files outside its folder",
    starts: "forbidden subprocess.Popen",
    connects: "forbidden socket.connect",
    raises: "KeyError",
    names_nothing: "a message that does not name the file",
    talks: "a message of 5 thousand characters",
    colours: "control characters in a message",
    grows: "memory",
    waits: "hang",
    dies: "death by SIGSEGV",
}
"""Traps and the faults that must be detected."""
