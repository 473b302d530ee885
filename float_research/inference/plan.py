"""The plan of a run, before any weights load: clips, frames, cost, memory and output paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from float_research.data.clips import ENDING_BYTES, ClipLoader, Once
from float_research.files import PART_BYTES, require_path
from float_research.inference.best_of import Search
from float_research.inference.failures import Failures
from float_research.inference.naming import Naming
from float_research.inference.run_folder import VIDEOS, RunFolder
from float_research.models.decoding import Decoding
from float_research.models.float_model import FloatModel
from float_research.printing import Table
from float_research.sampling.sampler import Sampler
from float_research.types import Clip, Cost

FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class PlannedClip:
    """One clip of the plan. `cost` is None if the solver chooses its own evaluations. `notes`: on its recording."""

    clip: Clip
    num_frames: int
    num_windows: int
    cost: Cost | None
    video: Path
    notes: Sequence[str]


def plan_clips(
    clips: Sequence[Clip],
    loader: ClipLoader,
    sampler: Sampler,
    search: Search,
    naming: Naming,
    *,
    folder: RunFolder,
    failures: Failures,
) -> list[PlannedClip]:
    """Plans all clips, reading each file once. Clips with unusable files go to `failures`."""
    once = Once()
    planned = [
        PlannedClip(
            clip=clip,
            num_frames=num_frames,
            num_windows=sampler.num_windows(num_frames),
            cost=search.declared_cost(sampler, num_frames),
            video=folder.video(naming(clip)),
            notes=notes,
        )
        for clip, (num_frames, notes) in failures.sift(clips, lambda clip: loader.probe(clip, once))
    ]
    for item in planned:
        require_path(item.video, ENDING_BYTES + PART_BYTES, "choose a shorter hydra.run.dir")
    return planned


def estimate_memory_mb(
    model: FloatModel, sampler: Sampler, decoding: Decoding, batch_clips: int, num_frames: int
) -> dict[str, float]:
    """Estimates the peak of each phase in float32 MB, besides weights: simultaneous activations of the widest layers.

    `model` may be on the meta device. Encoder and decoder: six feature maps of the largest level. Speech: the larger of
    the first convolution of a segment (input, output, normalised) and the transformer of the whole clip (eight hidden
    vectors per frame).
    """
    autoencoder, fmt = model.motion_autoencoder, model.fmt
    size = autoencoder.image_size
    maps = max(channels * side**2 for side, channels in autoencoder.channels.items() if side <= size)
    branches = max((sampler.guidance.num_branches(t) for t in sampler.grid(torch.float32).tolist()), default=1)
    branches *= batch_clips * sampler.windows_at_once(num_frames)
    window = sampler.chunking.window_frames + sampler.chunking.previous_frames
    width = fmt.c_embedder.out_features
    activations = {
        "encode image": 6 * maps,
        "encode audio": _speech_values(model.audio_encoder.wav2vec2.config, num_frames, model, audio=True),
        "emotion": _speech_values(
            model.emotion_encoder.wav2vec2_for_emotion.wav2vec2.config, num_frames, model, audio=False
        ),
        "sample": branches * window * (12 + 2 * fmt.mlp_ratio) * width,
    }
    weights = sum(value.numel() for value in model.state_dict().values())
    phases = {phase: values * FLOAT32_BYTES / 1e6 for phase, values in {"weights": weights, **activations}.items()}
    return {**phases, "decode": decoding.peak_mb(phases["encode image"])}


def _speech_values(config: object, num_frames: int, model: FloatModel, *, audio: bool) -> int:
    conv_dim, hidden = config.conv_dim[0], config.hidden_size  # type: ignore[attr-defined]
    segment = model.audio_encoder.segment_frames
    steps = int(num_frames / model.fps * model.sampling_rate_hz / 320)
    convolution = 3 * conv_dim * 64 * min(steps, segment)
    return max(convolution, (num_frames if audio else steps) * (8 * hidden))


def plan_tables(planned: Sequence[PlannedClip], memory_mb: dict[str, float], folder: RunFolder) -> list[Table]:
    """Returns the plan as tables. Video paths are relative to the run's folder."""
    rows, units = [], ["evaluations", "branches"]
    if any(item.cost and item.cost.verified_frames for item in planned):
        units.append("verified_frames")
    for item in planned:
        costs = [str(getattr(item.cost, unit)) if item.cost else "solver decides" for unit in units]
        counts = (str(item.num_frames), str(item.num_windows), *costs)
        rows.append([item.clip.id, *counts, str(item.video.relative_to(folder.path))])
    memory = [[phase, f"{value:,.0f}"] for phase, value in memory_mb.items()]
    return [
        clip_table(["frames", "windows", *(unit.replace("_", " ") for unit in units)], rows, "plan"),
        Table(["phase", "MB"], memory, "estimated peak memory, float32"),
    ]


def clip_table(counts: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Table:
    """Returns a table of clips: id, counts, video. The video column is dropped if all names follow from the ids."""
    table = Table(["clip", *counts, "video"], rows, title)
    if all(video == f"{VIDEOS}/{id}.mp4" for id, *_, video in rows):
        table = Table(table.names[:-1], [row[:-1] for row in rows], title)
    return table
