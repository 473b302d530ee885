"""Geometry of toy heads: expression, pseudo-perspective, then roll, scale and shift in the image plane.

Face coordinates have their origin between the eyes' height and the nose's tip, x right and y down, in units of half the
image. Head rotation moves a point of depth z by `z · sin(angle)`; depth falls off from the centre as a Gaussian, so the
map is smooth and one to one.
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
"""Image units per world unit."""
DEPTH, BACK_DEPTH = 0.62, -0.30
"""Depths of the face and of the hair behind the head, which move in opposite directions."""
BODY_FOLLOWS = 0.25
INVERSE_STEPS = 8


class Pose:
    """Named access to a batch of motions: `pose.jaw` is `(b, 1, 1)`; `pose.raise_`, since `raise` is a keyword."""

    def __init__(self, motion: Float[Tensor, "b m"]):
        self._numbers = dict(zip(MOTION, motion[:, :, None, None].unbind(1), strict=True))

    def __getattr__(self, name: str) -> Float[Tensor, "b 1 1"]:
        return self._numbers[name.rstrip("_")]


def to_image(x: Plane, y: Plane, pose: Pose) -> tuple[Plane, Plane]:
    """Maps the head plane to the image: `scale · R(roll) · p + shift`."""
    angle, scale = ROLL * pose.roll, 1 + SCALE * pose.scale
    c, s = torch.cos(angle) * scale, torch.sin(angle) * scale
    return c * x - s * y + SHIFT * pose.shift_x, s * x + c * y + SHIFT * pose.shift_y + CENTRE_Y


def from_image(x: Plane, y: Plane, pose: Pose) -> tuple[Plane, Plane]:
    """Maps the image to the head plane, the inverse of `to_image`."""
    angle, scale = ROLL * pose.roll, 1 + SCALE * pose.scale
    x, y = x - SHIFT * pose.shift_x, y - SHIFT * pose.shift_y - CENTRE_Y
    c, s = torch.cos(angle) / scale, torch.sin(angle) / scale
    return c * x + s * y, c * y - s * x


def turn(x: Plane, y: Plane, look: Look, pose: Pose, depth: float = DEPTH) -> tuple[Plane, Plane]:
    """Returns the displacement of a point of the head plane by yaw and pitch. Negative depth: behind the neck."""
    a, b = look.head_width, look.head_height
    bulge = depth * torch.exp(-0.9 * ((x / a).square() + (y / b).square()))
    return bulge * a * YAW * pose.yaw * 1.6, bulge * b * PITCH * pose.pitch * 1.6


def unturn(x: Plane, y: Plane, look: Look, pose: Pose, depth: float = DEPTH) -> tuple[Plane, Plane]:
    """Returns the point that `turn` moves to (x, y), by fixed-point iteration, which contracts at a rate below 1/3."""
    u, v = x, y
    for _ in range(INVERSE_STEPS):
        dx, dy = turn(u, v, look, pose, depth)
        u, v = x - dx, y - dy
    return u, v


def jaw_drop(y: Plane, look: Look, pose: Pose) -> Plane:
    """Returns how far the open jaw lowers a point: zero above the lips, full at the chin."""
    return JAW_DROP * pose.jaw * step(y - look.mouth_height, -0.06, 0.26)


def lift_jaw(y: Plane, look: Look, pose: Pose) -> Plane:
    """Returns the point of the closed face that `jaw_drop` lowers to y."""
    v = y
    for _ in range(INVERSE_STEPS):
        v = y - jaw_drop(v, look, pose)
    return v
