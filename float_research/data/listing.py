"""Files of a folder, sorted by what they hold."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from float_research.errors import UserError, printable, reading
from float_research.media import open_media
from float_research.sound import REMEDY

OF_THE_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})
MAX_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Files of a kind, and what else a folder has that is not hidden."""

    found: Sequence[Path]
    others: Sequence[Path]


def visible(folder: Path, setting: str) -> list[Path]:
    """What a folder has by name, without what systems hide in it. Raises a UserError where it cannot be listed."""
    if not folder.is_dir():
        raise UserError(f"{setting}={printable(folder, 1000)} is not a folder")
    with reading(f"{setting}={folder}", "give a folder that can be listed"):
        paths = sorted(folder.iterdir())
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in OF_THE_SYSTEM]


def listed(folder: Path, suffixes: Collection[str], setting: str) -> list[Path]:
    """Files of a folder with one of the suffixes, by name."""
    found = [path for path in visible(folder, setting) if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(f"{setting}={folder} holds no file with one of the endings {', '.join(sorted(suffixes))}")
    return found


def sort(folder: Path, holds: Callable[[Path], bool], suffixes: Collection[str], setting: str) -> Sorted:
    """The files of a folder that hold what is wanted, whatever their names.

    A file that holds nothing known counts if its suffix promises it: it is damaged, and its reader says how.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in visible(folder, setting):
        wanted = path.is_file() and (holds(path) or path.suffix.lower() in suffixes)
        (found if wanted else others).append(path)
    return Sorted(found=found, others=others)


def is_recording(path: Path) -> bool:
    """Whether a file opens as sound."""
    try:
        with open_media(path, "audio", REMEDY) as container:
            return bool(container.streams.audio)
    except UserError:
        return False


def names(paths: Collection[object]) -> str:
    """The names of some files, the first of many."""
    shown = [path.name if isinstance(path, Path) else str(path) for path in paths]
    more = f", and {len(shown) - MAX_NAMED} more" if len(shown) > MAX_NAMED else ""
    return printable(", ".join(shown[:MAX_NAMED]), 2000) + more
