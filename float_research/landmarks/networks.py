"""The networks of MediaPipe's Face Landmarker in PyTorch: face detector, mesh of 478 points, 52 blendshapes.

Each module creates its parameters in the order in which the published graph uses them, which `convert.py` relies on.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from float_research.landmarks.points import BLENDSHAPE_POINTS, BLENDSHAPES, NUM_POINTS, NUM_RIGID
from float_research.tensors import read_module

FILE = Path(__file__).parents[1] / "assets" / "face_landmarker.safetensors"
NORM_EPS = 1.0132789611816406e-06
DETECTION_PX, MESH_PX = 128, 256
"""Side of the square images that the detector and the mesh network see."""


def pointwise(channels: int, wider: int) -> nn.Conv2d:
    """Returns a 1 × 1 convolution. A dilation does not change it, but makes PyTorch take oneDNN on one thread too."""
    return nn.Conv2d(channels, wider, 1, dilation=2)


class DetectorBlock(nn.Module):
    """A depthwise and a pointwise convolution with a shortcut, pooled and padded with zero channels as needed."""

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, wider - channels
        padding = 1 if stride == 1 else 0
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding, groups=channels, bias=False)
        self.pointwise = pointwise(channels, wider)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        short = x if self.stride == 1 else F.max_pool2d(x, 2)
        y = x if self.stride == 1 else F.pad(x, (0, 1, 0, 1))
        return self.pointwise(self.depthwise(y)).add_(F.pad(short, (0, 0, 0, 0, 0, self.more))).relu_()


class Detector(nn.Module):
    """BlazeFace, short range (arXiv 1907.05047): two anchors on each cell of a 16 × 16 grid and six on 8 × 8."""

    WIDTHS = (24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88)
    HALVED = (28, 42)
    """Channels after each block of the first grid, and those after which the image is halved."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2)
        blocks = [DetectorBlock(24, 24, 1)]
        blocks += [DetectorBlock(a, b, 2 if a in self.HALVED else 1) for a, b in pairwise(self.WIDTHS)]
        self.grid16 = nn.Sequential(*blocks)
        self.grid8 = nn.Sequential(DetectorBlock(88, 96, 2), *(DetectorBlock(96, 96, 1) for _ in range(4)))
        self.scores16, self.scores8 = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.boxes16, self.boxes8 = nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)

    def forward(self, image: Float[Tensor, "b 3 128 128"]) -> tuple[Float[Tensor, "b 896 16"], Float[Tensor, "b 896"]]:
        """Returns boxes with key points, relative to the anchors in pixels, and logits, of images in [-1, 1]."""
        fine = self.grid16(F.relu(self.stem(F.pad(image, (1, 2, 1, 2)))))
        coarse = self.grid8(fine)
        boxes = torch.cat([_rows(self.boxes16(fine), 16), _rows(self.boxes8(coarse), 16)], dim=1)
        return boxes, torch.cat([_rows(self.scores16(fine), 1), _rows(self.scores8(coarse), 1)], dim=1)[..., 0]


def _rows(x: Float[Tensor, "b c h w"], width: int) -> Float[Tensor, "b n k"]:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)


class MeshBlock(nn.Module):
    """A bottleneck of half the width; one that `halves` the image adds the pooled image to its first channels."""

    def __init__(self, channels: int, wider: int, *, halves: bool) -> None:
        super().__init__()
        narrow = wider // 2
        self.halves = halves
        self.reduce = nn.Conv2d(channels, narrow, 2, stride=2) if halves else pointwise(channels, narrow)
        self.slope = nn.PReLU(narrow)
        self.depthwise = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        self.expand = pointwise(narrow, wider)
        self.out = nn.PReLU(wider)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        y = self.expand(self.depthwise(self.slope(self.reduce(x))))
        if self.halves:
            y[:, : x.shape[1]] += F.max_pool2d(x, 2)
            return self.out(y)
        return self.out(y.add_(x))


class Mesh(nn.Module):
    """Face mesh V2: 478 points and the logit that a face is there, from an aligned crop."""

    WIDTHS = (16, 32, 64, 128, 128, 128, 128)
    FINE, FEW = 9, 4
    """The first blocks, whose maps are so large that those of a few pictures fill the caches of a CPU; how many."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2)
        self.slope = nn.PReLU(16)
        blocks = [MeshBlock(16, 16, halves=False) for _ in range(4)]
        for channels, wider in pairwise(self.WIDTHS):
            blocks += [MeshBlock(channels, wider, halves=True)]
            blocks += [MeshBlock(wider, wider, halves=False) for _ in range(4)]
        self.blocks = nn.Sequential(*blocks)
        self.face = nn.Conv2d(128, 1, 2)
        self.points = nn.Conv2d(128, 3 * NUM_POINTS, 2)

    def forward(self, image: Float[Tensor, "b 3 256 256"]) -> tuple[Float[Tensor, "b 478 3"], Float[Tensor, " b"]]:
        """Returns points in pixels of the crop, and logits, of images in [0, 1]."""
        few = self.FEW if image.device.type == "cpu" else max(1, len(image))
        x = torch.cat([self._fine(part) for part in image.split(few)])
        x = self.blocks[self.FINE :](x)
        return self.points(x).view(-1, NUM_POINTS, 3), self.face(x).view(-1)

    def _fine(self, image: Float[Tensor, "b 3 256 256"]) -> Float[Tensor, "b 32 64 64"]:
        return self.blocks[: self.FINE](self.slope(self.stem(F.pad(image, (0, 1, 0, 1)))))


class LeadingToken(nn.Module):
    """Puts a learned token before the others; the actions are read from it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        return torch.cat([self.value.expand(len(x), 1, -1), x], dim=1)


class MixerBlock(nn.Module):
    """A block of MLP-Mixer (arXiv 2105.01601): mixes tokens, then channels. Its layer norms have no bias."""

    def __init__(self, tokens: int, channels: int, wide_tokens: int, wide_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPS, bias=False)
        self.token1, self.token2 = nn.Linear(tokens, wide_tokens), nn.Linear(wide_tokens, tokens)
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPS, bias=False)
        self.channel1, self.channel2 = nn.Linear(channels, wide_channels), nn.Linear(wide_channels, channels)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        x = x + self.token2(F.relu(self.token1(self.norm1(x).transpose(1, 2)))).transpose(1, 2)
        return x + self.channel2(F.relu(self.channel1(self.norm2(x))))


class Blendshapes(nn.Module):
    """Blendshape V2: how far each of 52 facial actions goes, 0 to 1, from 146 of the points."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(len(BLENDSHAPE_POINTS), 96)
        self.embed = nn.Linear(2, 64)
        self.leading = LeadingToken(64)
        self.blocks = nn.Sequential(*(MixerBlock(97, 64, 384, 256) for _ in range(4)))
        self.head = nn.Linear(64, len(BLENDSHAPES))

    def forward(self, points: Float[Tensor, "b 478 _"]) -> Float[Tensor, "b 52"]:
        """Returns the actions. The points, in pixels, are centred and scaled by their mean distance to the centre."""
        x = points[:, BLENDSHAPE_POINTS, :2]
        x = x - x.mean(1, keepdim=True)
        x = x / x.norm(dim=-1, keepdim=True).mean(1, keepdim=True) / 2
        x = self.leading(self.embed(self.tokens(x.transpose(1, 2)).transpose(1, 2)))
        return torch.sigmoid(self.head(self.blocks(x)[:, 0]))


class Geometry(nn.Module):
    """The canonical face of 468 points, in centimetres, and the weight of each when it is fitted to a pose."""

    canonical: Float[Tensor, "m 3"]
    weights: Float[Tensor, " m"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("canonical", torch.zeros(NUM_RIGID, 3))
        self.register_buffer("weights", torch.zeros(NUM_RIGID))


class Networks(nn.Module):
    """The three networks and the canonical face, under the names of their tensors in `FILE`."""

    def __init__(self) -> None:
        super().__init__()
        self.detector, self.mesh, self.blendshapes, self.geometry = Detector(), Mesh(), Blendshapes(), Geometry()


def load_networks(file: Path = FILE) -> Networks:
    """Returns the networks with the weights of `file`, in single precision."""
    return read_module(Networks(), file, what="face landmarker")
