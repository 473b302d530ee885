"""Toy portraits: identity and motion numbers → images, with what only a made world knows.

Four layers lie over each other: wall, hair that falls behind, body, head. The motion of each is a known map, so the
flow between two frames of one person is known too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.toyface import geometry
from float_research.toyface.features import Sitter, draw_brows, draw_eyes, draw_mouth, draw_nose
from float_research.toyface.figure import draw_back_hair, draw_body, draw_glasses, draw_hair, draw_head
from float_research.toyface.geometry import Pose
from float_research.toyface.identity import Look
from float_research.toyface.shapes import Canvas, pixel_grid


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A batch of portraits. `layers`: visible coverage of wall, back hair, body and head, which sum to 1."""

    image: Float[Tensor, "b 3 h w"]
    expression: Float[Tensor, "b 1 h w"]
    layers: Float[Tensor, "b 4 h w"]


def render(identity: Float[Tensor, "b k"], motion: Float[Tensor, "b m"], size_px: int) -> Rendering:
    """Draws heads. `image` lies in [-1, 1]; `expression` is near 1 around the eyes and the mouth."""
    look, pose = Look(identity), Pose(motion)
    x, y = (axis / geometry.ZOOM for axis in pixel_grid(size_px, motion))
    colours = {name: look.colour(name) for name in ("skin", "hair", "iris")}
    sitter = Sitter(look=look, pose=pose, **colours)
    wall = look.colour("wall") * (1 + (look.wall_light * (y + 0.4 * x))[:, None])
    canvas = Canvas(wall, 2 / (size_px * geometry.ZOOM))

    plane_x, plane_y = geometry.from_image(x, y, pose)
    back = geometry.unturn(plane_x, plane_y, look, pose, geometry.BACK_DEPTH)
    behind = draw_back_hair(canvas, *back, sitter)
    body = draw_body(canvas, x, y, sitter)
    u, v = geometry.unturn(plane_x, plane_y, look, pose)
    head = draw_head(canvas, u, v, sitter)
    eyes = draw_eyes(canvas, u, v, sitter)
    draw_nose(canvas, u, v, sitter)
    mouth = draw_mouth(canvas, u, v, sitter)
    hair = draw_hair(canvas, u, v, sitter)
    draw_brows(canvas, u, v, sitter)
    draw_glasses(canvas, u, v, sitter)

    head = torch.maximum(head, hair)
    body, behind = body * (1 - head), behind * (1 - body) * (1 - head)
    layers = torch.stack([1 - behind - body - head, behind, body, head], dim=1)
    image = canvas.image.clamp(0, 1) * 2 - 1
    return Rendering(image=image, expression=torch.maximum(eyes, mouth)[:, None], layers=layers)


def flow(
    identity: Float[Tensor, "b k"],
    source_motion: Float[Tensor, "b m"],
    target_motion: Float[Tensor, "b m"],
    size_px: int,
) -> tuple[Float[Tensor, "b h w 2"], Float[Tensor, "b 1 h w"]]:
    """Where each pixel of the target frame is found in the source frame, and a weight that is 0 where it is not.

    The grid is `grid_sample`'s with `align_corners=False`. Mouth and eyes change shape, so they have no flow.
    """
    look, source, target = Look(identity), Pose(source_motion), Pose(target_motion)
    shown, origin = render(identity, target_motion, size_px), render(identity, source_motion, size_px)
    x, y = (axis / geometry.ZOOM for axis in pixel_grid(size_px, target_motion))
    plane_x, plane_y = geometry.from_image(x, y, target)

    def moved(depth: float, jaw: bool) -> Tensor:
        u, v = geometry.unturn(plane_x, plane_y, look, target, depth)
        if jaw:
            closed = geometry.lift_jaw(v, look, target)
            v = closed + geometry.jaw_drop(closed, look, source)
        dx, dy = geometry.turn(u, v, look, source, depth)
        return torch.stack(geometry.to_image(u + dx, v + dy, source), dim=-1)

    follows = geometry.BODY_FOLLOWS * geometry.SHIFT * (source_motion - target_motion)[:, 3:5]
    still = torch.stack(torch.broadcast_tensors(x, y), dim=-1).expand(len(target_motion), -1, -1, -1)
    grids = [
        still,
        moved(geometry.BACK_DEPTH, jaw=False),
        still + follows[:, None, None],
        moved(geometry.DEPTH, jaw=True),
    ]
    owner = shown.layers.argmax(1)
    grid = (
        torch.stack(grids, dim=1).gather(1, owner[:, None, :, :, None].expand(-1, 1, -1, -1, 2))[:, 0] * geometry.ZOOM
    )
    there = F.grid_sample(origin.layers, grid, align_corners=False).gather(1, owner[:, None])
    return grid, there * shown.layers.gather(1, owner[:, None]) * (1 - shown.expression)
