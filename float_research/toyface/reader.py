"""Reads motion parameters from frames, to measure generated videos of toy portraits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from float_research.errors import reading
from float_research.tensors import read_tensors
from float_research.toyface.geometry import PITCH, ROLL, YAW
from float_research.toyface.motion import EYES, HEAD, MOTION, MOUTH
from float_research.types import Image, Meaning

SIZE_PX, WIDTH, HIDDEN = 96, 24, 128
DEGREES = {
    "yaw": math.degrees(math.asin(YAW)),
    "pitch": math.degrees(math.asin(PITCH)),
    "roll": math.degrees(ROLL),
}
"""Degrees of a head rotated by 1; yaw and pitch are proportional to the sine of their angle, within 2 %."""
FILE = Path(__file__).parents[1] / "assets" / "demo" / "reader.safetensors"


class MotionReader(nn.Module):
    """A convolutional regressor of the motion parameters from a frame and the same person's neutral portrait.

    The portrait resolves ambiguities such as a wide mouth or a stretched one, high brows or raised ones.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = 6, SIZE_PX
        for wider in (WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH):
            kernel = 5 if channels == 6 else 3
            layers += [nn.Conv2d(channels, wider, kernel, stride=2, padding=kernel // 2)]
            layers += [nn.BatchNorm2d(wider), nn.SiLU()]
            channels, size = wider, size // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(channels * size**2, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(MOTION)))

    def forward(self, image: Float[Tensor, "b 3 h w"], neutral: Float[Tensor, "_ 3 _ _"]) -> Float[Tensor, "b m"]:
        """Returns unclamped motion parameters of images in [-1, 1] of any size. One portrait may serve all images."""
        pair = torch.cat([resize(image), resize(neutral).expand(len(image), -1, -1, -1)], dim=1)
        return self.head(self.features(pair.contiguous(memory_format=torch.channels_last)).flatten(1))


def resize(image: Float[Tensor, "b 3 _ _"]) -> Float[Tensor, "b 3 h w"]:
    """Resizes to the reader's input size."""
    return image if image.shape[-1] == SIZE_PX else F.interpolate(image, size=(SIZE_PX, SIZE_PX), mode="area")


@dataclass(frozen=True, kw_only=True)
class ToyMouth:
    """Measures how far toy mouths are open, 0 to 1, with the reader weights in `file`."""

    file: str

    @cached_property
    def _reader(self) -> MotionReader:
        return load_reader(Path(self.file))

    def __call__(self, portrait: Image, /) -> Callable[[UInt8[np.ndarray, "n h w 3"]], Float[np.ndarray, " n"]]:
        """Returns a function that reads the jaw opening in each frame of a person, given their neutral portrait."""
        with torch.inference_mode():
            neutral = resize(to_tensor(portrait[None]))  # once for all frames

        def opening(images: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, " n"]:
            with torch.inference_mode():
                motion = self._reader(to_tensor(images), neutral)
            return motion[:, MOTION.index("jaw")].double().numpy()

        return opening


@dataclass(frozen=True, kw_only=True)
class ToyFace:
    """Reads all motion parameters of toy heads with the reader weights in `file`; head rotation in degrees."""

    file: str

    @cached_property
    def _reader(self) -> MotionReader:
        return load_reader(Path(self.file))

    @property
    def meanings(self) -> Sequence[Meaning]:
        groups = {**dict.fromkeys(HEAD, "head"), **dict.fromkeys(MOUTH, "mouth"), **dict.fromkeys(EYES, "eyes")}
        return [Meaning(name, groups[name], "°" if name in DEGREES else "toy units") for name in MOTION]

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"], portrait: Image, /) -> Float[np.ndarray, "n k"]:
        with torch.inference_mode():
            motion = self._reader(to_tensor(images), to_tensor(portrait[None])).double()
        return (motion * torch.tensor([DEGREES.get(name, 1.0) for name in MOTION])).numpy()


def to_tensor(images: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Maps 0…255 to [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1


def load_reader(file: Path) -> MotionReader:
    """Loads the reader with weights exported by `stage=reader`; `FILE` is the file in this package."""
    reader, what, remedy = MotionReader(), "motion reader", "give the weights.safetensors of stage=reader"
    tensors = read_tensors(file, what=what, remedy=remedy)
    with reading(f"{what} {file}", remedy):
        reader.load_state_dict({name.removeprefix("reader."): value for name, value in tensors.items()})
    return reader.eval().requires_grad_(False)
