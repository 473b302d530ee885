"""Reports runs to Lightning's loggers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger

from float_research.errors import UserError
from float_research.program import install
from float_research.tracking.logger import BegunTraining, EndedRun, clip_numbers, run_numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LightningLogger:
    """Logs the settings, the numbers of each clip as one step, and the run's totals at the last step.

    `build` gets the run's folder as `save_dir`. `packages`: required package → the extra that installs it.

    Raises:
        UserError: a package is not installed.
    """

    build: Callable[..., Logger]
    packages: Mapping[str, str]

    def __post_init__(self) -> None:
        for package, extra in self.packages.items():
            if find_spec(package) is None:
                raise UserError(f"a logger needs {package}, which is not installed; {install(extra)}")

    def run(self, run: EndedRun) -> str | None:
        logger = self.open(run)
        try:
            logger.log_hyperparams(dict(run.config))
            for step, clip in enumerate(run.clips()):
                self.clip(logger, run, clip, step)
            if run.record:
                logger.log_metrics(run_numbers(run.record), step=len(run.clips()) - 1)
            self.media(logger, run)
        finally:
            logger.finalize("failed" if run.error else "success")
        return None

    @contextmanager
    def follow(self, training: BegunTraining) -> Iterator[Logger]:
        """Opens the logger in the training's folder. Lightning finalises it."""
        logger = self.begin(training)
        logger.log_hyperparams(dict(training.config))
        yield logger

    def begin(self, training: BegunTraining) -> Logger:
        return self.build(save_dir=str(training.folder))

    def show(self, logger: Any, file: Path, step: int) -> None:
        """Logs a preview, where the logger supports them."""

    def clip(self, logger: Any, run: EndedRun, clip: Mapping[str, Any], step: int) -> None:
        logger.log_metrics({f"clip/{name}": value for name, value in clip_numbers(clip).items()}, step=step)

    def open(self, run: EndedRun) -> Any:
        return self.build(save_dir=str(run.folder))

    def media(self, logger: Any, run: EndedRun) -> None:
        """Logs files, where the logger supports them."""

    def sweep(self, folder: Path, table: "pd.DataFrame") -> str | None:
        return None


@dataclass(frozen=True, kw_only=True)
class CsvLogger(LightningLogger):
    """Logs to `csv/metrics.csv`; of a training to `curves/version_N/metrics.csv`, with N one more when it resumes."""

    def begin(self, training: BegunTraining) -> Logger:
        return self.build(save_dir=str(training.folder), name="curves", version=None)

    def clip(self, logger: Any, run: EndedRun, clip: Mapping[str, Any], step: int) -> None:
        numbers = {f"clip/{name}": value for name, value in clip_numbers(clip).items()}
        logger.log_metrics({"clip/id": clip["id"], **numbers}, step=step)


@dataclass(frozen=True, kw_only=True)
class TensorBoard(LightningLogger):
    """Logs to an event file, with pictures, and videos as animated GIFs, which `animate` encodes.

    TensorBoard's own `add_video` would need moviepy.
    """

    animate: Callable[[Path], bytes]

    def clip(self, logger: Any, run: EndedRun, clip: Mapping[str, Any], step: int) -> None:
        super().clip(logger, run, clip, step)
        logger.experiment.add_text("clip/id", clip["id"], step)
        if (video := run.unchanged(clip, "video")) is not None:
            self.add(logger, "video", video, step)
            self.add(logger, "contact_sheet", run.sheet(clip), step)

    def show(self, logger: Any, file: Path, step: int) -> None:
        self.add(logger, "preview", file, step)

    def add(self, logger: Any, tag: str, file: Path, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        encoded = self.animate(file) if file.suffix == ".mp4" else file.read_bytes()
        image = Summary.Image(encoded_image_string=encoded, colorspace=3)
        logger.experiment._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
