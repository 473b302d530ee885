"""Reads motion numbers from frames: how what a model made of a toy portrait is measured."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from float_research.toyface.motion import MOTION

SIZE_PX, WIDTH, HIDDEN = 96, 24, 128
FILE = Path(__file__).parents[1] / "assets" / "demo" / "reader.safetensors"


class MotionReader(nn.Module):
    """A convolutional regressor of the motion numbers. Frames of any size are brought to its own."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = 3, SIZE_PX
        for wider in (WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH):
            kernel = 5 if channels == 3 else 3
            layers += [nn.Conv2d(channels, wider, kernel, stride=2, padding=kernel // 2)]
            layers += [nn.BatchNorm2d(wider), nn.SiLU()]
            channels, size = wider, size // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(channels * size**2, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(MOTION)))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m"]:
        """Motion numbers of images in [-1, 1], clamped by nothing."""
        if image.shape[-1] != SIZE_PX:
            image = F.interpolate(image, size=(SIZE_PX, SIZE_PX), mode="area")
        return self.head(self.features(image.contiguous(memory_format=torch.channels_last)).flatten(1))


def load_reader(file: Path) -> MotionReader:
    """The reader with the weights that `stage=reader` exported to `file`; `FILE` are those in this package."""
    reader = MotionReader()
    tensors = load_file(file)
    reader.load_state_dict({name.removeprefix("reader."): value for name, value in tensors.items()})
    return reader.eval().requires_grad_(False)
