"""Synthetic clips to measure."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from float_research.metrics.metric import Findings, FrameMetric, Subject
from float_research.metrics.panel import Panel
from float_research.metrics.track import MotionTrack
from float_research.types import Image


def subject(num_frames: int = 100, **changes: Any) -> Subject:
    """Returns a clip at 25 frames/s with a grey portrait and no sound."""
    facts: dict[str, Any] = {
        "id": "clip",
        "num_frames": num_frames,
        "fps": 25.0,
        "toy": False,
        "emotions": ("happy", "sad"),
        "portrait": np.full((64, 64, 3), 128, dtype=np.uint8),
        "waveform": np.zeros(num_frames * 640, dtype=np.float32),
        "sampling_rate_hz": 16000,
        "solution": None,
        "read": lambda path, fps: iter(()),
        "missing": {},
    }
    return Subject(**facts | changes)


def track(motion: Tensor, window: int = 50) -> MotionTrack:
    """Returns motion in windows of `window` frames, along the first half of its axes."""
    num_frames, width = motion.shape
    return MotionTrack(
        motion=motion,
        directions=torch.eye(width, dtype=motion.dtype)[:, : width // 2],
        emotion=torch.tensor([[0.75, 0.25]]).expand(num_frames, -1),
        window_starts=torch.arange(0, num_frames, window),
    )


def watched(metric: FrameMetric, images: list[Image], clip: Subject | None = None, batch: int = 8) -> Findings:
    """Returns a metric's findings on frames in batches."""
    panel = Panel([metric], clip or subject(len(images)))
    for start in range(0, len(images), batch):
        panel.see(np.stack(images[start : start + batch]))
    return panel.finish(None)
