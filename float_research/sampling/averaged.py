"""Windows of a clip that are solved together, each evaluation of the field averaged where they overlap."""

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

    `v(t, x)_f = Σ_k w_k(f) v_k(t, x_k)_f / Σ_k w_k(f)` over the windows k that frame f lies in, `x_k` the window's
    frames of x. `w_k` falls linearly from the window's middle to its ends, so a window sets in and leaves smoothly. All
    windows are one batch of the network, so memory grows with the clip's length, and no frame is final before all are.

    No window's motion is known before another's: the previous motion of each is zero, as at the start of a clip. The
    previous audio and emotion are the true ones.
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
            for place, shared, v in zip(places, shares(places, x), fields.unbind(1), strict=True):
                total[:, place] += shared * v
            return total

        return joined


def shares(places: list[slice], x: Float[Tensor, "b t d"]) -> list[Float[Tensor, "l 1"]]:
    """The share that each window has in its frames, which is 1 where it is alone."""
    length = places[0].stop
    ramp = torch.arange(1, length + 1, dtype=x.dtype, device=x.device)[:, None]
    weight = torch.minimum(ramp, ramp.flip(0))
    total = x.new_zeros(x.shape[1], 1)
    for place in places:
        total[place] += weight
    return [weight / total[place] for place in places]
