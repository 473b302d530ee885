"""The Lightning module: renders batches of clips to videos on disk."""

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning

from float_research.data.clips import ClipBatch, file_name
from float_research.errors import UserError
from float_research.files import short_name
from float_research.inference.measuring import Measures
from float_research.inference.pipeline import FloatPipeline
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream
from float_research.inference.take import Take
from float_research.stopping import check_stopped
from float_research.tracking.record import clip_record, write_json
from float_research.types import Clip, ClipResult, LoadedClip, Observer
from float_research.video.writer import H264, Recording

FAILED = ".failed.json"
"""Suffix of the file written in place of a failed video, with the reason, until the run's record has it."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """File names of videos: `pattern` filled in with {id}, {image}, {audio} of a clip and the `values` of the run.

    Names longer than `room` bytes are shortened and end in a hash.
    """

    pattern: str
    values: Mapping[str, Any]
    room: int

    def __call__(self, clip: Clip) -> str:
        values = {**self.values, "id": clip.id, "image": clip.image.stem, "audio": clip.audio.stem}
        if clip.emotion is not None:
            values["emotion"] = clip.emotion
        if clip.seed is not None:
            values["seed"] = clip.seed
        try:
            return short_name(file_name(self.pattern.format_map(values)), self.room)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise UserError(
                f"name={self.pattern!r} cannot be filled in ({error}); it may use {{{'}, {'.join(sorted(values))}}}"
            ) from error


class FloatInference(lightning.LightningModule):
    """Renders the videos of a batch of clips, and writes a record beside each.

    `run` identifies the settings and weights in these records. `overlap`: see `stream`.
    """

    def __init__(
        self,
        *,
        pipeline: FloatPipeline,
        measures: Measures,
        video: H264,
        folder: Path,
        naming: Naming,
        run: str,
        observer: Observer,
        overlap: bool | None,
    ) -> None:
        super().__init__()
        self.model = pipeline.model
        self.pipeline, self.measures, self.video, self.folder = pipeline, measures, video, folder
        self.naming, self.run, self.observer, self.overlap = naming, run, observer, overlap

    def predict_step(self, clip_batch: ClipBatch, batch_idx: int) -> list[ClipResult]:
        for failed in clip_batch.failed:  # read by the first process once all are done
            write_json(self._video(failed.clip).with_suffix(FAILED), {"reason": failed.reason})
        if not clip_batch.clips:
            return []
        started, shared = time.perf_counter(), Stopwatch(self.device)
        with ExitStack() as stack:
            takes = [stack.enter_context(self._take(clip)) for clip in clip_batch.clips]
            for take in takes:
                self.observer.clip_started(take.id, take.ready.num_video_frames, take.num_windows)
            decoded = stream(
                self.pipeline,
                [take.ready for take in takes],
                overlap=self.overlap,
                sampling=shared,
                decoding=[take.watch for take in takes],
            )
            for chunk, frames in stack.enter_context(closing(decoded)):
                check_stopped()
                take = takes[chunk.index]
                take.write(chunk, frames)
                self.observer.frames_written(take.id, len(frames), len(take.chunks))
                if take.writer.num_frames == take.ready.num_video_frames:
                    take.close()
                    self.observer.clip_finished(take.id)
        made_s, num_frames = time.perf_counter() - started, sum(take.clip.num_frames for take in takes)
        results = []
        for take in takes:
            share = take.clip.num_frames / num_frames
            shared_s = {stage: seconds * share for stage, seconds in shared.seconds.items()}
            results.append(take.result(self.folder, self.run, shared_s=shared_s, made_s=made_s * share))
        for result in results:
            write_json((self.folder / result.video).with_suffix(".json"), clip_record(result))
        return results

    def on_predict_end(self) -> None:
        """Waits for all processes, because the run's record is written after all clips."""
        self.trainer.strategy.barrier()

    def _video(self, clip: Clip) -> Path:
        return self.folder / "videos" / f"{self.naming(clip)}.mp4"

    def _take(self, clip: LoadedClip) -> Take:
        open_video = partial(
            self.video.open,
            self._video(clip.clip),
            fps=self.pipeline.fps,
            size_px=self.model.motion_autoencoder.image_size,
            recording=Recording(clip.clip.audio, excerpt=clip.excerpt),
        )
        return Take(clip, pipeline=self.pipeline, measures=self.measures, open_video=open_video, device=self.device)
