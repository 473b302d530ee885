"""Ground-truth dense correspondence between two frames of one person."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from float_research.toyface import geometry
from float_research.toyface.features import (
    brow_line,
    eye_lines,
    gaze,
    inward,
    mouth_height,
    mouth_lines,
    mouth_reach,
)
from float_research.toyface.geometry import Pose
from float_research.toyface.identity import Look
from float_research.toyface.render import Rendering
from float_research.toyface.shapes import Plane, ellipse, pixel_grid, step

HEAD = 3
"""Index of the head layer."""
REVEALED = 0.25
"""The area between lips or lids counts as visible in the source if their distance was at least this share of the
target's."""
LASHES = 0.012
"""Half the thickness of the lashes, in units of half the image."""


def flow(source: Rendering, target: Rendering) -> tuple[Float[Tensor, "b h w 2"], Float[Tensor, "b 1 h w"]]:
    """Returns the position in the source of each target pixel, and a weight that is 0 where it is not visible there.

    The grid follows `grid_sample` with `align_corners=False`. Skin is tracked through all motion; areas revealed by an
    opening mouth or eye have no correspondence.
    """
    look, before, after = Look(target.identity), Pose(source.motion), Pose(target.motion)
    x, y = (axis / geometry.ZOOM for axis in pixel_grid(target.image.shape[-1], target.motion))
    plane_x, plane_y = geometry.from_image(x, y, after)

    def turned(u: Plane, v: Plane, depth: float) -> Tensor:
        dx, dy = geometry.turn(u, v, look, before, depth)
        return torch.stack(geometry.to_image(u + dx, v + dy, before), dim=-1)

    u, v = geometry.unturn(plane_x, plane_y, look, after)
    u, v, known = features_before(u, v, look, before, after)
    head = turned(u, v, geometry.DEPTH)
    back = turned(*geometry.unturn(plane_x, plane_y, look, after, geometry.BACK_DEPTH), geometry.BACK_DEPTH)

    shift = torch.stack([before.shift_x - after.shift_x, before.shift_y - after.shift_y], dim=-1)
    still = torch.stack(torch.broadcast_tensors(x, y), dim=-1).expand(len(shift), -1, -1, -1)
    body = still + geometry.BODY_FOLLOWS * geometry.SHIFT * shift
    grids = [still, back, body, head]
    owner = target.layers.argmax(1)
    chosen = torch.stack(grids, dim=1).gather(1, owner[:, None, :, :, None].expand(-1, 1, -1, -1, 2))[:, 0]
    grid = geometry.ZOOM * chosen
    there = F.grid_sample(source.layers, grid, align_corners=False).gather(1, owner[:, None])
    known = torch.where(owner == HEAD, known, 1.0)[:, None]
    return grid, there * target.layers.gather(1, owner[:, None]) * known


def features_before(x: Plane, y: Plane, look: Look, before: Pose, after: Pose) -> tuple[Plane, Plane, Plane]:
    """Returns where points of a face were before its features moved, and a weight that is 0 where they were hidden."""
    closed = geometry.lift_jaw(y, look, after)
    chin_y = closed + geometry.jaw_drop(closed, look, before)
    eye_x, eye_y, eye_known = eye_before(x, y, look, before, after)
    mouth_x, mouth_y, near, mouth_known = mouth_before(x, y, look, before, after)
    return x + eye_x + near * mouth_x, torch.lerp(chin_y, y + mouth_y, near) + eye_y, eye_known * mouth_known


def mouth_before(x: Plane, y: Plane, look: Look, before: Pose, after: Pose) -> tuple[Plane, Plane, Plane, Plane]:
    """Returns displacements around the mouth, a mask of it and the visibility: lips map to lips, teeth to teeth."""
    now, then = mouth_reach(look, after), mouth_reach(look, before)
    u = (x / now).clamp(-1, 1)
    lines, earlier = mouth_lines(u, look, after), mouth_lines(u, look, before)
    middle = mouth_height(torch.zeros_like(u), look, after)
    near = step(-ellipse(x, y - middle - 0.03, look.mouth_width * 1.5, 0.16), -0.06, 0.06)
    _, upper, _, lower, _ = lines
    hole = (y > upper) & (y < lower) & (x.abs() < now)
    seen = earlier[3] - earlier[1] > REVEALED * (lower - upper)
    known = torch.where(hole & ~seen, 0.0, 1.0)
    return (then - now) * u, along(y, lines, earlier) - y, near, known


def eye_before(x: Plane, y: Plane, look: Look, before: Pose, after: Pose) -> tuple[Plane, Plane, Plane]:
    """Returns displacements and visibility around eyes and brows: lids map to lids, brows to brows, eyeballs roll."""
    side = torch.where(x < 0, -1.0, 1.0)
    u = ((x.abs() - look.eye_distance) / look.eye_width).clamp(-1, 1)
    lines, earlier = eye_lines(u, look, after), eye_lines(u, look, before)
    raised, upper, lower = lines
    near = step(-ellipse(x.abs() - look.eye_distance, y - look.eye_height, 1.4 * look.eye_width, 0.26), -0.06, 0.06)

    brow_u = (x.abs() - look.eye_distance + inward(after)) / (1.15 * look.eye_width)
    brow, _ = brow_line(brow_u.clamp(-1, 1), look, after)
    brow_then, _ = brow_line(brow_u.clamp(-1, 1), look, before)
    browed = step((raised + brow) / 2 - y, -0.01, 0.01)
    skin_x = browed * side * (inward(after) - inward(before))
    skin_y = torch.lerp(along(y, lines, earlier) - y, brow_then - brow, browed)

    ball = (y > upper) & (y < lower) & (x.abs() - look.eye_distance).abs().lt(look.eye_width)
    ball_x, ball_y = (then - now for then, now in zip(gaze(side, look, before), gaze(side, look, after), strict=True))
    open_then = (y + ball_y > earlier[1]) & (y + ball_y < earlier[2])
    lid = (y > raised) & (y < upper - LASHES)
    lid_then = earlier[1] - earlier[0] > REVEALED * (upper - raised)
    known = torch.where((ball & ~open_then) | (lid & ~lid_then), 0.0, 1.0)
    return torch.where(ball, ball_x, skin_x * near), torch.where(ball, ball_y, skin_y * near), known


def along(y: Plane, lines: tuple[Plane, ...], earlier: tuple[Plane, ...]) -> Plane:
    """Maps heights piecewise linearly from between two of the lines to between the same earlier lines."""
    before = y + (earlier[0] - lines[0])
    for (low, high), (low_then, high_then) in zip(pairwise(lines), pairwise(earlier), strict=True):
        share = (y - low) / (high - low).clamp_min(1e-4)
        between = torch.lerp(low_then, high_then, share.clamp(0, 1))
        before = torch.where((y > low) & (high > low), between, before)
    return torch.where(y > lines[-1], y + (earlier[-1] - lines[-1]), before)
