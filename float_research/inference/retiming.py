"""Motion at the frame rate of the video, where it is not the model's."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.types import MotionChunk


class Retiming:
    """Takes the chunks of a clip in order, each with the motion of as many frames as the video shows meanwhile.

    Between two frames of the model, motion is linear in the latents. `step`: frames of the model for one of the video.
    """

    def __init__(self, *, num_frames: int, num_video_frames: int, step: float) -> None:
        self.num_frames, self.num_video_frames, self.step = num_frames, num_video_frames, step
        self._made, self._kept, self._first = 0, list[Tensor](), 0

    def __call__(self, chunk: MotionChunk) -> MotionChunk:
        if self.step == 1:
            return chunk
        end, start = chunk.start + len(chunk.motion), self._made
        motion, first = torch.cat([*self._kept, chunk.motion]), self._first
        if end < self.num_frames:  # one frame at least is left for the last chunk
            self._made = max(start, min(math.floor((end - 1) / self.step) + 1, self.num_video_frames - 1))
        else:
            self._made = self.num_video_frames
        self._first = min(math.floor(self._made * self.step), end - 1)
        self._kept = [motion[self._first - first :]]
        return replace(chunk, start=start, motion=self._between(motion, start, first))

    def whole(self, values: Float[Tensor, "t d"]) -> Float[Tensor, "u d"]:
        """Values of all frames of the model, such as emotions, as values of the video's frames."""
        if self.step == 1:
            return values
        self._made = self.num_video_frames
        return self._between(values, 0, 0)

    def _between(self, values: Float[Tensor, "n d"], start: int, first: int) -> Float[Tensor, "m d"]:
        """Values at the video's frames from `start` to `_made`, of frames of the model from `first` on."""
        times = torch.arange(start, self._made, dtype=torch.float64) * self.step - first
        before = times.floor().long().clamp(max=len(values) - 1)
        share = (times - before).clamp(max=1).to(values)[:, None]
        return torch.lerp(values[before], values[(before + 1).clamp(max=len(values) - 1)], share)
