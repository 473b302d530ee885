"""The folder of a run: its record, and in `videos/` each clip's video with the files that belong to it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from float_research.errors import UserError, printable
from float_research.files import inside, sweep_parts
from float_research.folders import require_own
from float_research.inference.measuring import MEASURED
from float_research.inference.trainers import reserved
from float_research.texts import read_mapping
from float_research.tracking import record
from float_research.tracking.code import PATCH
from float_research.tracking.record import RunIdentity
from float_research.video.preview import contact_sheet

VIDEOS, SHEETS = "videos", "sheets"
SHEET_ROWS, SHEET_COLUMNS = 3, 6
CLIP = ".json"
"""The suffix of a clip's record."""
FAILED = ".failed.json"
"""The suffix of a file that says why a clip has no video, until the run's record says it."""
OF_CLIP = (CLIP, FAILED, *MEASURED)
"""Suffixes of the files that belong to a video."""
LOCK = ".run.lock"
"""The lock file of a running run."""


@dataclass(frozen=True)
class RunFolder:
    """The files of the run in the folder `path`, finished or not."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path / record.RECORD

    def video(self, name: str) -> Path:
        return self.path / VIDEOS / f"{name}.mp4"

    def recorded_video(self, name: str) -> Path:
        """Returns the video that a record names. Raises a UserError for a path other than `videos/NAME.mp4`."""
        if Path(name).parts[:1] != (VIDEOS,) or Path(name).suffix != ".mp4":
            raise UserError(
                f"{printable(repr(name))} is no video of {self.path}, {VIDEOS}/NAME.mp4; make the run again"
            )
        return inside(self.path, name)

    def sheet(self, clip: Mapping[str, Any]) -> Path:
        """Renders the contact sheet of a clip, given its record, for loggers."""
        video = inside(self.path, clip.get("video"))
        place = self.path / SHEETS / video.with_suffix(".png").name
        return contact_sheet(video, place, rows=SHEET_ROWS, columns=SHEET_COLUMNS)

    def require_own(self) -> None:
        """Raises a UserError for a folder that holds files of something else than a run."""
        require_own(self.path, "output_dir", record.is_run)

    def reserved(self) -> AbstractContextManager[None]:
        """Reserves the folder for this run. Raises a UserError if another run is running there."""
        return reserved(self.path, LOCK, what="run")

    @rank_zero_only
    def prepare(self, missing: Sequence[Path]) -> None:
        """Creates the folder, and removes an earlier run's record, its partial files, and those of `missing` videos."""
        videos = self.path / VIDEOS
        videos.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, videos):
            sweep_parts(folder)
        for name in (record.RECORD, record.FAILURE, PATCH):
            (self.path / name).unlink(missing_ok=True)
        for video in missing:
            for suffix in OF_CLIP:
                video.with_suffix(suffix).unlink(missing_ok=True)

    def write_failure(self, video: Path, reason: str) -> None:
        """Writes why a clip has no video. The first process reads it once all are done."""
        record.write_json(video.with_suffix(FAILED), {"reason": reason})

    def take_failure(self, video: Path) -> str | None:
        """Returns why a clip has no video, and removes the file that says so. Returns None if there is none."""
        file = video.with_suffix(FAILED)
        if not file.is_file():
            return None
        reason = str(read_mapping(file).get("reason"))
        file.unlink()
        return reason

    def finished(self, run: RunIdentity, ids: Sequence[str]) -> dict[str, Any] | None:
        """Returns the record of an earlier run with these settings, weights and clips, regardless of its code."""
        try:
            content = record.read_record(self.record_path)
            same = run.but_for_code(f"{content['signature']} {content['checkpoint']['hash']}")
            recorded = [clip["id"] for clip in content["clips"]]
        except (UserError, KeyError, TypeError):
            return None
        return content if same and not content.get("failed") and recorded == list(ids) else None
