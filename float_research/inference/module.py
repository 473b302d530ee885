"""The Lightning module: thin glue from batches of clips to videos on disk."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning

from float_research.data.clips import ClipBatch, file_name
from float_research.files import sha256
from float_research.inference.pipeline import FloatPipeline
from float_research.inference.stopwatch import Stopwatch
from float_research.tracking.record import clip_record, write_json
from float_research.types import Clip, ClipResult, Cost, LoadedClip, Observer, UserError
from float_research.video.writer import H264, Recording


@dataclass(frozen=True, kw_only=True)
class Naming:
    """File names of videos: `pattern` filled in with {id}, {image}, {audio} of a clip and the `values` of the run."""

    pattern: str
    values: Mapping[str, Any]

    def __call__(self, clip: Clip) -> str:
        values = {**self.values, "id": clip.id, "image": clip.image.stem, "audio": clip.audio.stem}
        if clip.emotion is not None:
            values["emotion"] = clip.emotion
        try:
            return file_name(self.pattern.format_map(values))
        except (KeyError, ValueError, IndexError) as error:
            raise UserError(
                f"name={self.pattern!r} cannot be filled in ({error}); it may use {{{'}, {'.join(sorted(values))}}}"
            ) from error


class FloatInference(lightning.LightningModule):
    """Makes the videos of a batch of clips. Frames go straight to the writers, facts to a record beside each video."""

    def __init__(
        self, *, pipeline: FloatPipeline, video: H264, folder: Path, naming: Naming, observer: Observer
    ) -> None:
        super().__init__()
        self.model = pipeline.model
        self.pipeline, self.video, self.folder = pipeline, video, folder
        self.naming, self.observer = naming, observer

    def predict_step(self, clip_batch: ClipBatch, batch_idx: int) -> list[ClipResult]:
        batch = clip_batch.clips
        watches = [Stopwatch(self.device) for _ in batch]
        shared = Stopwatch(self.device)
        prepared = [self.pipeline.prepare(clip, watch) for clip, watch in zip(batch, watches, strict=True)]
        num_windows = [self.pipeline.sampler.num_windows(clip.num_frames) for clip in batch]
        measured = [Cost()] * len(batch)
        done = [0] * len(batch)
        with ExitStack() as stack:
            writers = [stack.enter_context(self._writer(clip)) for clip in batch]
            for clip, windows in zip(batch, num_windows, strict=True):
                self.observer.clip_started(clip.clip.id, clip.num_frames, windows)
            for chunk in shared.each("sample", self.pipeline.motion(prepared)):
                i = chunk.index
                measured[i] += chunk.cost
                done[i] += 1
                for frames in watches[i].each("decode", self.pipeline.frames(prepared[i], chunk.motion)):
                    with watches[i].stage("write"):
                        writers[i].write(frames)
                    self.observer.frames_written(batch[i].clip.id, len(frames), done[i])
                if done[i] == num_windows[i]:
                    with watches[i].stage("write"):
                        writers[i].close()
                    self.observer.clip_finished(batch[i].clip.id)
        total_frames = sum(clip.num_frames for clip in batch)
        results = [
            ClipResult(
                id=clip.clip.id,
                video=str(writer.path.relative_to(self.folder)),
                video_sha256=sha256(writer.path),
                image=str(clip.clip.image),
                audio=str(clip.clip.audio),
                image_sha256=sha256(clip.clip.image),
                audio_sha256=sha256(clip.clip.audio),
                num_frames=writer.num_frames,
                num_chunks=windows,
                declared=self.pipeline.sampler.declared_cost(clip.num_frames),
                measured=cost,
                emotion=ready.emotion,
                face=clip.face,
                seconds={
                    **clip.seconds,
                    **watch.seconds,
                    "sample": shared.seconds["sample"] * clip.num_frames / total_frames,
                },
                reused=ready.reused,
            )
            for clip, ready, writer, watch, cost, windows in zip(
                batch, prepared, writers, watches, measured, num_windows, strict=True
            )
        ]
        for result in results:
            write_json((self.folder / result.video).with_suffix(".json"), clip_record(result))
        return results

    def on_predict_end(self) -> None:
        """The run's record is written once every process has finished its clips."""
        self.trainer.strategy.barrier()

    def _writer(self, clip: LoadedClip) -> Any:
        return self.video.open(
            self.folder / "videos" / f"{self.naming(clip.clip)}.mp4",
            fps=self.model.fps,
            size_px=self.model.motion_autoencoder.image_size,
            recording=Recording(clip.clip.audio),
        )
