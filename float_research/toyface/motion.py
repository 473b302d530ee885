"""How a toy head moves: sixteen numbers a frame, all 0 in the neutral pose."""

import torch
from jaxtyping import Float
from torch import Tensor

HEAD = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
MOUTH = ("jaw", "width", "pucker", "press", "smile")
EYES = ("raise", "furrow", "lids", "gaze_x", "gaze_y")
MOTION = HEAD + MOUTH + EYES
ONE_SIDED = ("jaw", "pucker", "press", "lids")
"""These run from 0 to 1, the others from -1 to 1. Lids are closed at 1; yaw, roll, shift and gaze are positive to the
right of the image, pitch, shift and gaze downwards."""


def sample_motions(num: int, generator: torch.Generator) -> Float[Tensor, "b m"]:
    """Independent poses that cover the whole range: heads and signed numbers normal, mouths and lids often at rest.

    Shapes that no mouth makes are left out: lips pressed on an open jaw, wide and puckered at once.
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
