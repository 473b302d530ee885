"""Joint sampling of all windows of a clip: the field is averaged where windows overlap."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.stitch import Stitch
from float_research.types import VectorField


@dataclass(frozen=True, kw_only=True)
class Averaged(Stitch):
    """MultiDiffusion along time (arXiv 2302.08113, eq. 5): one ODE for all frames of a clip.

    `v(t, x)_f = Σ_k w_k(f) v_k(t, x_k)_f / Σ_k w_k(f)` over the windows k that contain frame f; `x_k` are the window's
    frames of x. `w_k` falls linearly from the middle of the window to its ends, so windows fade in and out. All windows
    form one batch of the network: memory grows with the length of the clip, and all frames become final together.

    Windows are solved at the same time, so the previous motion of each is zero, as at the start of a clip. The previous
    audio and emotion are the real ones.
    """

    overlap_frames: int

    def overlap(self, window_frames: int) -> int:
        if not 0 <= self.overlap_frames < window_frames:
            raise UserError(
                f"stitch.overlap_frames={self.overlap_frames} must be 0 or more and less than the window's "
                f"{window_frames} frames"
            )
        return self.overlap_frames

    def rounds(self, num_frames: int, window_frames: int) -> list[list[int]]:
        return [self.starts(num_frames, window_frames)]

    def join(self, field: VectorField, num_windows: int, window_frames: int) -> VectorField:
        if num_windows == 1:
            return field
        hop = window_frames - self.overlap(window_frames)
        places = [slice(k * hop, k * hop + window_frames) for k in range(num_windows)]

        def joined(t: Tensor, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
            windows = torch.stack([x[:, place] for place in places], 1)
            fields = field(t, windows.flatten(0, 1)).view_as(windows)
            total = torch.zeros_like(x)
            for place, weight, v in zip(places, window_weights(places, x), fields.unbind(1), strict=True):
                total[:, place] += weight * v
            return total

        return joined


def window_weights(places: list[slice], x: Float[Tensor, "b t d"]) -> list[Float[Tensor, "l 1"]]:
    """Returns the normalized weights `w_k / Σ w_k` of each window at its frames; 1 where no other window overlaps."""
    length = places[0].stop
    ramp = torch.arange(1, length + 1, dtype=x.dtype, device=x.device)[:, None]
    weight = torch.minimum(ramp, ramp.flip(0))
    total = x.new_zeros(x.shape[1], 1)
    for place in places:
        total[place] += weight
    return [weight / total[place] for place in places]
