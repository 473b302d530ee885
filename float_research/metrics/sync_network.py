"""SyncNet (Chung and Zisserman, ACCV workshop 2016), with the layers and parameter names of its published weights."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

WINDOW_FRAMES, SIZE_PX, HOP_ROWS, WINDOW_ROWS = 5, 224, 4, 20
"""A lip window is 5 frames at 25 frames/s, its sound window 20 rows of coefficients at 100 Hz."""


def _conv2d(c_in: int, c: int, kernel: tuple[int, int], padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c, kernel, padding=padding), nn.BatchNorm2d(c), nn.ReLU()]


def _conv3d(c_in: int, c: int, kernel: int, *, frames: int = 1, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    layer = nn.Conv3d(c_in, c, (frames, kernel, kernel), (1, stride, stride), (0, padding, padding))
    return [layer, nn.BatchNorm3d(c), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNetwork(nn.Module):
    """Embeds sound and lips in a common space, close to each other if they are in sync."""

    def __init__(self) -> None:
        super().__init__()
        middle = [layer for pair in pairwise((192, 384, 256, 256)) for layer in _conv2d(*pair, (3, 3))]
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64, (3, 3)),
            nn.MaxPool2d(1, 1),
            *_conv2d(64, 192, (3, 3)),
            nn.MaxPool2d(3, (1, 2)),
            *middle,
            nn.MaxPool2d(3, 2),
            *_conv2d(256, 512, (5, 4), padding=0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, 7, frames=WINDOW_FRAMES, stride=2, padding=0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(96, 256, 5, stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            *(layer for _ in range(3) for layer in _conv3d(256, 256, 3)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(256, 512, 6, padding=0),
        )

    def sound(self, rows: Float[Tensor, "b 1 13 20"]) -> Float[Tensor, "b 1024"]:
        """Embeds cepstral coefficients (one row each) over time."""
        return self.netfcaud(self.netcnnaud(rows).flatten(1))

    def lips(self, frames: Float[Tensor, "b 3 5 224 224"]) -> Float[Tensor, "b 1024"]:
        """Embeds faces in BGR from 0 to 255."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))


def distances(lips: Float[Tensor, "t c"], sound: Float[Tensor, "t c"], max_shift: int) -> Float[Tensor, "t s"]:
    """Returns the distances of each lip window to the sound windows within `max_shift` frames before and after it.

    The sound is padded with zeros, as in the published evaluation.
    """
    padded = nn.functional.pad(sound, (0, 0, max_shift, max_shift))
    shifted = [padded[shift : shift + len(lips)] for shift in range(2 * max_shift + 1)]
    return torch.stack([nn.functional.pairwise_distance(lips, other) for other in shifted], dim=1)
