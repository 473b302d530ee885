"""Runs and sweeps told to Weights & Biases. The one module that imports wandb."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from float_research.tracking.tracker import TrackedRun, clip_numbers, run_numbers
from float_research.types import UserError

MODES = ("auto", "online", "offline")
SWEEP = "sweep"


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases:
    """One W&B run a run, and one more for a sweep's summary.

    `mode` auto: online where this machine is logged in and W&B answers, offline elsewhere. `group` null: the sweep's
    folder.

    Raises:
        UserError: an unknown mode.
    """

    project: str
    entity: str | None
    group: str | None
    job_type: str
    tags: Sequence[str]
    notes: str | None
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"logger.wandb.mode={self.mode} is unknown; choose one of {', '.join(MODES)}")

    def run(self, run: TrackedRun) -> str | None:
        """Config; each clip's numbers, video, contact sheet, image and sound as one step; sums in the summary."""
        import wandb

        with self._opened(run.folder, run.name, run.sweep, self.job_type, dict(run.config)) as opened:
            for step, clip in enumerate(run.clips()):
                shown: dict[str, Any] = {f"clip/{name}": value for name, value in clip_numbers(clip).items()}
                shown["clip/id"] = clip["id"]
                shown["video"] = wandb.Video(str(run.folder / clip["video"]), caption=clip["id"], format="mp4")
                shown["image"] = wandb.Image(clip["image"], caption=Path(clip["image"]).name)
                shown["audio"] = wandb.Audio(clip["audio"], caption=Path(clip["audio"]).name)
                shown["contact_sheet"] = wandb.Image(str(run.sheet(clip)), caption=clip["id"])
                opened.log(shown, step=step)
            if run.record:
                opened.summary.update(run_numbers(run.record) | {"signature": run.record["signature"]})
            if run.error:
                opened.summary["error"] = run.error
                opened.finish(exit_code=1)
            return _where(opened)

    def sweep(self, folder: Path, table: pd.DataFrame) -> str | None:
        """A table of all runs with their first videos."""
        import wandb

        with self._opened(folder, f"summary of {folder.name}", folder.name, SWEEP, {}) as opened:
            shown = table.astype(object).where(table.notna(), None)
            rows = wandb.Table(columns=[*shown.columns, "video"])
            for values in shown.to_dict("records"):
                first = folder / values["run"] / json.loads(values["videos"])[0]
                video = wandb.Video(str(first), format="mp4") if first.is_file() else None
                rows.add_data(*values.values(), video)
            opened.log({"runs": rows})
            return _where(opened)

    def _opened(
        self, folder: Path, name: str, sweep: str | None, job_type: str, config: dict[str, Any]
    ) -> AbstractContextManager[Any]:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group or sweep,
            job_type=job_type,
            tags=list(self.tags),
            notes=self.notes,
            name=name,
            config=config,
            dir=str(folder),
            mode="online" if self.mode == "online" or (self.mode == "auto" and logged_in()) else "offline",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )


def logged_in() -> bool:
    """Whether this machine has a key that W&B accepts just now."""
    import wandb

    try:
        return wandb.login(prompt=False)
    except wandb.errors.Error:
        return False


def _where(run: Any) -> str:
    if run.settings.mode == "online":
        return f"W&B: {run.url}"
    return f"W&B, offline: {run.settings.sync_dir}; wandb sync uploads it"
