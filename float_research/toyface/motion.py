"""Motion parameters of toy heads: sixteen per frame, all 0 in the neutral pose."""

import torch
from jaxtyping import Float
from torch import Tensor

HEAD = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
MOUTH = ("jaw", "width", "pucker", "press", "smile")
EYES = ("raise", "furrow", "lids", "gaze_x", "gaze_y")
MOTION = HEAD + MOUTH + EYES
ONE_SIDED = ("jaw", "pucker", "press", "lids")
"""These range from 0 to 1, the others from -1 to 1. Lids are closed at 1; yaw, roll, shift_x and gaze_x are positive to
the right of the image, pitch, shift_y and gaze_y downwards."""


def within_range(motion: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
    """Clamps motion to what can be rendered: predictions may leave it."""
    least = torch.tensor([0.0 if name in ONE_SIDED else -1.0 for name in MOTION], device=motion.device)
    return motion.clamp(least, torch.ones_like(least))


def sample_motions(num: int, generator: torch.Generator) -> Float[Tensor, "b m"]:
    """Samples independent poses over the whole range: signed parameters are normal, mouths and lids often at rest.

    Excludes impossible mouths: lips pressed with an open jaw, or wide and puckered at once.
    """

    def normal(count: int) -> Tensor:
        return (0.5 * torch.randn(num, count, generator=generator)).clamp(-1, 1)

    def often_zero(share: float) -> Tensor:
        value = torch.rand(num, generator=generator)
        return torch.where(torch.rand(num, generator=generator) < share, 0.0, value)

    pose = dict(zip(MOTION, normal(len(MOTION)).unbind(1), strict=True))
    pose["jaw"], pose["lids"] = often_zero(0.25), often_zero(0.6)
    pose["pucker"] = often_zero(0.6)
    pose["press"] = often_zero(0.6) * (1 - pose["jaw"]) ** 3
    pose["width"] = pose["width"] * (1 - pose["pucker"])
    return torch.stack([pose[name] for name in MOTION], dim=1)
