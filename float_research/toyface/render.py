"""Renders toy portraits from identity and motion parameters, with ground truth.

There are four layers: wall, back hair, body, head. The motion of each is a known map, so the flow between two frames of
one person is known, too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.toyface import geometry
from float_research.toyface.details import comb_hair, detail_brows, detail_eyes, detail_mouth, fold_skin, model_skin
from float_research.toyface.features import Sitter, draw_brows, draw_eyes, draw_mouth, draw_nose
from float_research.toyface.figure import draw_back_hair, draw_body, draw_glasses, draw_hair, draw_head
from float_research.toyface.geometry import Pose
from float_research.toyface.identity import Look
from float_research.toyface.shapes import Canvas, pixel_grid


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A batch of rendered portraits with ground truth.

    `image` is in [-1, 1]; `expression` is near 1 around eyes and mouth; `layers` are the visible coverages of wall,
    back hair, body and head, which sum to 1.
    """

    identity: Float[Tensor, "b k"]
    motion: Float[Tensor, "b m"]
    image: Float[Tensor, "b 3 h w"]
    expression: Float[Tensor, "b 1 h w"]
    layers: Float[Tensor, "b 4 h w"]


def render(
    identity: Float[Tensor, "b k"], motion: Float[Tensor, "b m"], size_px: int, *, detailed: bool = False
) -> Rendering:
    """Renders heads; `detailed` with what can be seen from 256 px on, else as the demo weights saw them."""
    look, pose = Look(identity), Pose(motion)
    x, y = (axis / geometry.ZOOM for axis in pixel_grid(size_px, motion))
    colours = {name: look.colour(name) for name in ("skin", "hair", "iris")}
    sitter = Sitter(look=look, pose=pose, **colours)
    wall = look.colour("wall") * (1 + (look.wall_light * (y + 0.4 * x))[:, None])
    canvas = Canvas(wall, 2 / (size_px * geometry.ZOOM))

    plane_x, plane_y = geometry.from_image(x, y, pose)
    back = geometry.unturn(plane_x, plane_y, look, pose, geometry.BACK_DEPTH)
    behind = draw_back_hair(canvas, *back, sitter)
    if detailed:
        comb_hair(canvas, *back, behind, look)
    body = draw_body(canvas, x, y, sitter)
    u, v = geometry.unturn(plane_x, plane_y, look, pose)
    head = draw_head(canvas, u, v, sitter)
    if detailed:
        model_skin(canvas, u, v, sitter)
        fold_skin(canvas, u, v, sitter)
    eyes = draw_eyes(canvas, u, v, sitter)
    draw_nose(canvas, u, v, sitter)
    mouth = draw_mouth(canvas, u, v, sitter)
    if detailed:
        detail_eyes(canvas, u, v, sitter)
        detail_mouth(canvas, u, v, sitter)
    hair = draw_hair(canvas, u, v, sitter)
    draw_brows(canvas, u, v, sitter)
    if detailed:
        comb_hair(canvas, u, v, hair, look)
        detail_brows(canvas, u, v, sitter)
    draw_glasses(canvas, u, v, sitter)

    head = torch.maximum(head, hair)
    body, behind = body * (1 - head), behind * (1 - body) * (1 - head)
    layers = torch.stack([1 - behind - body - head, behind, body, head], dim=1)
    image = canvas.image.clamp(0, 1) * 2 - 1
    expression = torch.maximum(eyes, mouth)[:, None]
    return Rendering(identity=identity, motion=motion, image=image, expression=expression, layers=layers)
