"""Folders that the package writes to: empty, its own, or refused."""

from collections.abc import Callable
from pathlib import Path

from float_research.errors import UserError, printable, reading


def require_own(folder: Path, setting: str, is_ours: Callable[[Path], bool]) -> None:
    """Raises a UserError for a folder with files in it that `is_ours` does not know. Hidden files do not count."""
    if not folder.exists():
        return
    with reading(f"folder {folder}", f"choose another {setting}"):
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others and not is_ours(folder):
        raise UserError(
            f"{setting}={printable(folder, 1000)} holds other files ({printable(others[0])}); "
            "choose a folder that is new or empty"
        )
