"""Output folders: empty or our own, otherwise refused, and used by one run at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from float_research.errors import UserError, printable, reading
from float_research.locks import lock

KEEP = "keep"
"""The value of `resume` that also keeps clips of other code."""


def visible(folder: Path) -> set[str]:
    """Returns the names in a folder, except for hidden ones and empty folders."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name for path in paths if not path.is_dir() or any(path.iterdir())}


def require_own(folder: Path, setting: str, is_ours: Callable[[Path], bool]) -> None:
    """Raises a UserError for a folder with visible files that `is_ours` rejects."""
    if not folder.exists():
        return
    with reading(f"folder {folder}", f"choose another {setting}"):
        others = visible(folder)
    if others and not is_ours(folder):
        raise UserError(
            f"{setting}={printable(folder, 1000)} holds other files ({printable(min(others))}); "
            "choose a folder that is new or empty"
        )


@contextmanager
def occupied(folder: Path, name: str, setting: str, *, what: str) -> Iterator[None]:
    """Reserves a folder for one `what`, such as a run, with a lock on its file `name`, which is removed at the end.

    Raises:
        UserError: another one is running there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    while True:
        with path.open("w") as file:
            try:
                lock(file.fileno(), inherited=False)  # workers may outlive this process
            except BlockingIOError as error:
                raise UserError(
                    f"another {what} is running in {setting}={printable(folder, 1000)}; wait for it, or choose "
                    f"another {setting}"
                ) from error
            if not is_open(path, file.fileno()):  # the previous holder removed it meanwhile
                continue
            try:
                yield
            finally:
                with suppress(OSError):  # Windows does not remove open files
                    path.unlink()
            return


def is_open(path: Path, descriptor: int) -> bool:
    """Returns whether an open file is still the one at this path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def fresh(folder: Path) -> Path:
    """Creates and returns a new folder of this name, with -2, -3 and so on appended if it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        made = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            made.mkdir()
        except FileExistsError:
            continue
        return made
    raise AssertionError("count is infinite")
