"""Draws head, hair, glasses and body."""

import torch

from float_research.toyface import geometry
from float_research.toyface.features import Sitter
from float_research.toyface.identity import Look
from float_research.toyface.shapes import Canvas, Plane, band, ellipse, rounded_box, smooth_union, step


def outline(x: Plane, y: Plane, look: Look) -> Plane:
    """Returns the signed distance to the head with closed jaw: a round skull and a jaw that narrows to the chin."""
    a, b = look.head_width, look.head_height
    skull = ellipse(x, y + 0.16, a, 0.78 * b)
    jaw = ellipse(x, y - 0.14, look.jaw_width * a * (1 - 0.12 * look.chin * step(y, 0.25, 0.6)), 0.98 * b - 0.14)
    return smooth_union(skull, jaw, 0.22)


def draw_back_hair(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws the hair behind the head, from close-cropped to shoulder-length."""
    look = sitter.look
    waves = look.hair_waves * torch.sin(26 * y)
    long = step(look.hair_length, 0.35, 0.75)
    top = ellipse(x, y + 0.14, look.head_width + look.hair_volume, 0.78 * look.head_height + look.hair_volume)
    width = look.head_width + 0.7 * look.hair_volume + waves
    fall = rounded_box(x, y - 0.22 * long, width, 0.15 + 0.47 * long, 0.12)
    shape = smooth_union(top, fall, 0.10)
    cover = canvas.cover(shape)
    canvas.paint(0.72 * sitter.hair, cover)
    return cover


def draw_body(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws the neck in the chin's shadow, shoulders and a collar. The body follows part of the head's shift."""
    look, pose = sitter.look, sitter.pose
    follow = geometry.BODY_FOLLOWS * geometry.SHIFT
    x, y = x - follow * pose.shift_x, y - follow * pose.shift_y
    neck = torch.maximum(x.abs() - 0.20 - 0.10 * step(y, 0.60, 0.95), 0.35 - y)
    canvas.paint(sitter.skin * (0.80 + 0.14 * step(y, 0.62, 0.90))[:, None], canvas.cover(neck))
    shoulder = 0.80 + 0.22 * (x.abs() - 0.18).clamp_min(0).square() * 2.2 - 0.05 * step(x.abs(), 0.16, 0.30)
    neckline = ellipse(x, y - 0.74, 0.21 + 0.06 * look.collar, 0.10 + 0.12 * look.collar)
    cloth = torch.maximum(shoulder - y, -neckline)
    cover = canvas.cover(cloth)
    fabric = look.colour("clothes")
    canvas.paint(fabric * (1.04 - 0.16 * step(y, 0.8, 1.1))[:, None], cover)
    canvas.paint(0.72 * fabric, canvas.cover(band(neckline, 0.014, 0.012)) * cover)
    return torch.maximum(canvas.cover(neck), cover)


def draw_head(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws ears, skin lit from one side, cheeks and a beard. The chin moves down with the jaw."""
    look, pose = sitter.look, sitter.pose
    closed = geometry.lift_jaw(y, look, pose)
    shape = outline(x, closed, look)
    ears = ellipse(x.abs() - look.head_width - 0.015, y - 0.03, 0.62 * look.ear_size, look.ear_size)
    canvas.paint(0.90 * sitter.skin, canvas.cover(ears))
    canvas.paint(0.74 * sitter.skin, canvas.cover(ears + 0.45 * look.ear_size))
    cover = canvas.cover(shape)
    canvas.paint(sitter.skin, cover)
    nx, ny = x / look.head_width, closed / look.head_height
    light = 1 - look.light_x * nx - look.light_y * ny - 0.16 * (nx.square() + 0.7 * ny.square()).square().clamp_max(2)
    canvas.shade(light + 0.06, cover)
    cheek = torch.exp(-((x.abs() - 0.25) / 0.09).square() - ((closed - 0.13) / 0.07).square())
    canvas.paint(sitter.tone((0.90, 0.45, 0.42)), 0.22 * cheek * cover)
    bearded = step(look.beard, 0.78, 0.86)
    rim = step(shape, -0.16, -0.04) * step(closed, 0.05, 0.22)
    goatee = step(-ellipse(x, closed - look.mouth_height - 0.02, 0.24, 0.15), -0.03, 0.03)
    canvas.paint(0.8 * sitter.hair, 0.85 * bearded * torch.maximum(rim, goatee) * cover)
    return torch.maximum(canvas.cover(ears), cover)


def draw_hair(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws the hair over forehead and temples, with a parting and a highlight."""
    look = sitter.look
    a, b = look.head_width, look.head_height
    s = x / a
    cap = ellipse(x, y + 0.16, a + look.hair_volume, 0.78 * b + look.hair_volume)
    shape = torch.maximum(cap, (y - hair_line(x, look)) * 0.8)
    cover = canvas.cover(shape)
    canvas.paint(sitter.hair, cover)
    shine = torch.exp(-((cap + 0.11) / 0.03).square()) * step(-s * torch.sign(look.light_x), -0.4, 0.5)
    canvas.paint(sitter.hair * 0.6 + 0.4, 0.35 * shine * cover)
    return cover


def hair_line(x: Plane, look: Look) -> Plane:
    """Returns the height where the hair ends on the forehead."""
    s = x / look.head_width
    waves = look.hair_waves * torch.sin(22 * x + 3 * look.hair_part)
    line = look.hair_line + 0.55 * look.hair_fringe * (s - 2 * look.hair_part).square() + waves
    return line + 0.34 * s.square().square().clamp_max(1.6)


def draw_glasses(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws round glasses with a bridge, on one in five heads."""
    look = sitter.look
    worn = step(look.glasses, 0.79, 0.81)
    rim = ellipse(x.abs() - look.eye_distance, y - look.eye_height, 1.42 * look.eye_width, 1.35 * look.eye_width)
    bridge = torch.maximum(band(y, look.eye_height - 0.03, 0.009), x.abs() - look.eye_distance + 1.40 * look.eye_width)
    frame = torch.minimum(rim.abs() - 0.010, bridge)
    canvas.paint(sitter.tone((0.16, 0.16, 0.17)), canvas.cover(frame) * worn)
