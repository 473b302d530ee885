"""Contact sheets of a run's videos, for experiment trackers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from float_research.files import inside
from float_research.video.preview import contact_sheet

ROWS, COLUMNS = 3, 6


def sheet(folder: Path, clip: Mapping[str, Any]) -> Path:
    """Writes the contact sheet of a clip to `sheets/` in the run's folder; returns its path."""
    video = inside(folder, clip.get("video"))
    return contact_sheet(video, folder / "sheets" / video.with_suffix(".png").name, rows=ROWS, columns=COLUMNS)
