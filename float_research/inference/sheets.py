"""Pictures of a run's videos, for trackers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from float_research.files import inside
from float_research.video.preview import contact_sheet

ROWS, COLUMNS = 3, 6


def sheet(folder: Path, clip: Mapping[str, Any]) -> Path:
    """The contact sheet of a clip of the run in `folder`, by its record, in `sheets/`."""
    video = inside(folder, clip.get("video"))
    return contact_sheet(video, folder / "sheets" / video.with_suffix(".png").name, rows=ROWS, columns=COLUMNS)
