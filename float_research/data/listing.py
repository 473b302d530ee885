"""Lists the files of a folder by kind of content."""

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
    """Files of the wanted kind, and all other visible entries of a folder."""

    found: Sequence[Path]
    others: Sequence[Path]


def visible(folder: Path, setting: str) -> list[Path]:
    """Lists a folder by name, without hidden and system files. Raises a UserError if it cannot be listed."""
    if not folder.is_dir():
        raise UserError(f"{setting}={printable(folder, 1000)} is not a folder")
    with reading(f"{setting}={folder}", "give a readable folder"):
        paths = sorted(folder.iterdir())
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in OF_THE_SYSTEM]


def list_files(folder: Path, suffixes: Collection[str], setting: str) -> list[Path]:
    """Lists the files of a folder with one of the suffixes, by name."""
    found = [path for path in visible(folder, setting) if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(f"{setting}={folder} contains no file with a suffix of {', '.join(sorted(suffixes))}")
    return found


def sort(folder: Path, holds: Callable[[Path], bool], suffixes: Collection[str], setting: str) -> Sorted:
    """Sorts the files of a folder by content, as tested by `holds`, whatever their names.

    A file that fails the test but has one of the suffixes counts as found: it is damaged, and its reader reports how.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in visible(folder, setting):
        wanted = path.is_file() and (holds(path) or path.suffix.lower() in suffixes)
        (found if wanted else others).append(path)
    return Sorted(found=found, others=others)


def is_recording(path: Path) -> bool:
    """Returns whether a file opens as sound."""
    try:
        with open_media(path, "audio", REMEDY) as container:
            return bool(container.streams.audio)
    except UserError:
        return False


def names(paths: Collection[object]) -> str:
    """Joins the names of files, at most MAX_NAMED of them."""
    shown = [path.name if isinstance(path, Path) else str(path) for path in paths]
    more = f", and {len(shown) - MAX_NAMED} more" if len(shown) > MAX_NAMED else ""
    return printable(", ".join(shown[:MAX_NAMED]), 2000) + more
