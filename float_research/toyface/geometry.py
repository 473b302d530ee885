"""Where a toy head's points go: expression, pseudo-perspective, then roll, scale and shift in the image plane.

Face coordinates have their origin between the eyes' height and the nose's tip, x right and y down, in units of half the
image. A head that turns is a bulge that slides: a point of depth z moves by `z · sin(angle)`, and depth falls off from
the centre as a Gaussian, so that the map is smooth and one to one.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.toyface.identity import Look
from float_research.toyface.motion import MOTION
from float_research.toyface.shapes import Plane, step

YAW, PITCH, ROLL = math.sin(math.radians(18)), math.sin(math.radians(12)), math.radians(9)
SHIFT, SCALE, JAW_DROP = 0.11, 0.07, 0.10
CENTRE_Y = 0.02
ZOOM = 1.16
"""Image units a world unit: how close the camera stands."""
DEPTH, BACK_DEPTH = 0.62, -0.30
"""Of the face, and of the hair behind the head, which slides against it."""
BODY_FOLLOWS = 0.25
INVERSE_STEPS = 8


class Pose:
    """A batch of motions with names: `pose.jaw` is `(b, 1, 1)`; `pose.raise_` for the one that is a Python word."""

    def __init__(self, motion: Float[Tensor, "b m"]):
        self._numbers = dict(zip(MOTION, motion[:, :, None, None].unbind(1), strict=True))

    def __getattr__(self, name: str) -> Float[Tensor, "b 1 1"]:
        return self._numbers[name.rstrip("_")]


def to_image(x: Plane, y: Plane, pose: Pose) -> tuple[Plane, Plane]:
    """Head plane → image: `scale · R(roll) · p + shift`."""
    angle, scale = ROLL * pose.roll, 1 + SCALE * pose.scale
    c, s = torch.cos(angle) * scale, torch.sin(angle) * scale
    return c * x - s * y + SHIFT * pose.shift_x, s * x + c * y + SHIFT * pose.shift_y + CENTRE_Y


def from_image(x: Plane, y: Plane, pose: Pose) -> tuple[Plane, Plane]:
    """Image → head plane, the inverse of `to_image`."""
    angle, scale = ROLL * pose.roll, 1 + SCALE * pose.scale
    x, y = x - SHIFT * pose.shift_x, y - SHIFT * pose.shift_y - CENTRE_Y
    c, s = torch.cos(angle) / scale, torch.sin(angle) / scale
    return c * x + s * y, c * y - s * x


def turn(x: Plane, y: Plane, look: Look, pose: Pose, depth: float = DEPTH) -> tuple[Plane, Plane]:
    """How far yaw and pitch move a point of the head plane. Negative depth is behind the neck's axis."""
    a, b = look.head_width, look.head_height
    bulge = depth * torch.exp(-0.9 * ((x / a).square() + (y / b).square()))
    return bulge * a * YAW * pose.yaw * 1.6, bulge * b * PITCH * pose.pitch * 1.6


def unturn(x: Plane, y: Plane, look: Look, pose: Pose, depth: float = DEPTH) -> tuple[Plane, Plane]:
    """The point that `turn` moves to (x, y), by fixed-point iteration: the map contracts at a rate below 1/3."""
    u, v = x, y
    for _ in range(INVERSE_STEPS):
        dx, dy = turn(u, v, look, pose, depth)
        u, v = x - dx, y - dy
    return u, v


def jaw_drop(y: Plane, look: Look, pose: Pose) -> Plane:
    """How far the open jaw lowers a point: nothing above the lips, all at the chin."""
    return JAW_DROP * pose.jaw * step(y - look.mouth_height, -0.06, 0.26)


def lift_jaw(y: Plane, look: Look, pose: Pose) -> Plane:
    """The point of the closed face that `jaw_drop` lowers to y."""
    v = y
    for _ in range(INVERSE_STEPS):
        v = y - jaw_drop(v, look, pose)
    return v
