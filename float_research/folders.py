"""Folders that the package writes to: empty, its own, or refused."""

from collections.abc import Callable
from pathlib import Path

from float_research.errors import UserError, printable, reading


def visible(folder: Path) -> set[str]:
    """The names of what a folder holds, but for hidden files and empty folders."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name for path in paths if not path.is_dir() or any(path.iterdir())}


def require_own(folder: Path, setting: str, is_ours: Callable[[Path], bool]) -> None:
    """Raises a UserError for a folder with visible files in it that `is_ours` does not know."""
    if not folder.exists():
        return
    with reading(f"folder {folder}", f"choose another {setting}"):
        others = visible(folder)
    if others and not is_ours(folder):
        raise UserError(
            f"{setting}={printable(folder, 1000)} holds other files ({printable(min(others))}); "
            "choose a folder that is new or empty"
        )
