"""Resampling of motion to the video's frame rate, where it differs from the model's."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.types import MotionWindow


class Retiming:
    """Resamples the windows of a clip, in order, to frames of the video.

    Latents are interpolated linearly between model frames. `step`: model frames per video frame. The numbers of frames
    are infinite until they are known.
    """

    def __init__(self, *, num_frames: float, num_video_frames: float, step: float) -> None:
        self.num_frames, self.num_video_frames, self.step = num_frames, num_video_frames, step
        self._done, self._kept, self._first = 0, list[Tensor](), 0

    def __call__(self, window: MotionWindow) -> MotionWindow:
        if self.step == 1:
            return window
        end, start = window.start + len(window.motion), self._done
        motion, first = torch.cat([*self._kept, window.motion]), self._first
        if end < self.num_frames:  # leaves at least one frame for the last window
            self._done = int(max(start, min(math.floor((end - 1) / self.step) + 1, self.num_video_frames - 1)))
        else:
            self._done = int(self.num_video_frames)
        self._first = min(math.floor(self._done * self.step), end - 1)
        self._kept = [motion[self._first - first :]]
        return replace(window, start=start, motion=self._between(motion, start, first))

    def whole(self, values: Float[Tensor, "t d"]) -> Float[Tensor, "u d"]:
        """Resamples values of all model frames, such as emotions, to video frames."""
        if self.step == 1:
            return values
        self._done = int(self.num_video_frames)
        return self._between(values, 0, 0)

    def _between(self, values: Float[Tensor, "n d"], start: int, first: int) -> Float[Tensor, "m d"]:
        """Interpolates values of model frames, from `first` on, at video frames `start` to `_done`."""
        times = torch.arange(start, self._done, dtype=torch.float64) * self.step - first
        before = times.floor().long().clamp(max=len(values) - 1)
        share = (times - before).clamp(max=1).to(values)[:, None]
        return torch.lerp(values[before], values[(before + 1).clamp(max=len(values) - 1)], share)
