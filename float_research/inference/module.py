"""The Lightning module: renders batches of clips to videos on disk."""

import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import lightning

from float_research.data.clips import ClipBatch
from float_research.devices import allow_tf32, start_peak, tf32_allowed
from float_research.inference.measuring import Measures
from float_research.inference.naming import Naming
from float_research.inference.pipeline import FloatPipeline, PreparedClip
from float_research.inference.stopwatch import Stopwatch
from float_research.inference.stream import stream
from float_research.inference.take import Take
from float_research.stopping import check_stopped
from float_research.tracking.record import clip_record, write_json
from float_research.types import Clip, ClipResult, LoadedClip, Observer
from float_research.video.composite import Composite
from float_research.video.writer import H264, Recording

if TYPE_CHECKING:  # its code does not affect what is computed, so it is no part of the code that identifies results
    from float_research.inference.run_folder import RunFolder


class FloatInference(lightning.LightningModule):
    """Renders the videos of a batch of clips, and writes a record beside each.

    The model is no submodule, because Lightning moves those back to the CPU after each run.
    `run` identifies the settings and weights in these records. `overlap`: see `stream`.
    """

    def __init__(
        self,
        *,
        pipeline: FloatPipeline,
        measures: Measures,
        composite: Composite,
        video: H264,
        folder: "RunFolder",
        naming: Naming,
        run: str,
        observer: Observer,
        overlap: bool | None,
    ) -> None:
        super().__init__()
        self.pipeline, self.measures, self.folder = pipeline, measures, folder
        self.composite, self.video = composite, video
        self.naming, self.run, self.observer, self.overlap = naming, run, observer, overlap
        self.tf32 = tf32_allowed()

    def on_predict_start(self) -> None:
        allow_tf32(self.tf32)  # a process that was started for this does not have it from its parent
        self.trainer.precision_plugin.convert_module(self.pipeline.model).to(self.device)
        start_peak(self.device)

    def predict_step(self, clip_batch: ClipBatch, batch_idx: int) -> list[ClipResult]:
        for failed in clip_batch.failed:  # read by the first process once all are done
            self.folder.write_failure(self._video(failed.clip), failed.reason)
        if not clip_batch.clips:
            return []
        started, shared = time.perf_counter(), Stopwatch(self.device)
        with ExitStack() as stack:
            takes = list[Take]()
            for clip in clip_batch.clips:
                alike = (take.ready for take in takes if take.clip.clip.inputs == clip.clip.inputs)
                takes.append(stack.enter_context(self._take(clip, next(alike, None))))
            for take in takes:
                self.observer.clip_started(take.id, take.ready.num_video_frames, take.num_windows)
            decoded = stream(
                self.pipeline,
                [take.ready for take in takes],
                overlap=self.overlap,
                sampling=shared,
                decoding=[take.watch for take in takes],
            )
            for window, frames in stack.enter_context(closing(decoded)):
                check_stopped()
                take = takes[window.index]
                take.write(window, frames)
                self.observer.frames_written(take.id, len(frames), len(take.windows))
                if take.writer.num_frames == take.ready.num_video_frames:
                    take.close()
                    self.observer.clip_finished(take.id)
        made_s, num_frames = time.perf_counter() - started, sum(take.clip.num_frames for take in takes)
        results = []
        for take in takes:
            share = take.clip.num_frames / num_frames
            shared_s = {phase: seconds * share for phase, seconds in shared.seconds.items()}
            results.append(take.result(self.folder.path, self.run, shared_s=shared_s, made_s=made_s * share))
        for result in results:
            write_json((self.folder.path / result.video).with_suffix(".json"), clip_record(result))
        return results

    def on_predict_end(self) -> None:
        """Waits for all processes, because the run's record is written after all clips."""
        self.trainer.strategy.barrier()

    def _video(self, clip: Clip) -> Path:
        return self.folder.video(self.naming(clip))

    def _take(self, clip: LoadedClip, alike: PreparedClip | None) -> Take:
        composer = self.composite.open(
            self.pipeline.originals(clip.originals, clip.video), self.pipeline.model.motion_autoencoder.image_size
        )
        open_video = partial(
            self.video.open,
            self._video(clip.clip),
            fps=self.pipeline.fps,
            size_px=composer.size,
            recording=Recording(clip.clip.audio, excerpt=clip.excerpt),
        )
        return Take(
            clip,
            pipeline=self.pipeline,
            measures=self.measures,
            composer=composer,
            open_video=open_video,
            device=self.device,
            alike=alike,
        )
