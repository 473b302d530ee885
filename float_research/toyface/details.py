"""Details that the eye reads from 256 px on: lashes, creases, teeth, strands of hair, folds of skin, soft shadows.

They are fixed to the face or follow its features, so that the flow between two frames holds for them, too.
"""

import math

import torch

from float_research.toyface import geometry
from float_research.toyface.features import (
    Sitter,
    brow_line,
    eye_lines,
    eye_place,
    fullness,
    gaze,
    inward,
    mouth_height,
    mouth_lines,
    mouth_opening,
    mouth_reach,
)
from float_research.toyface.figure import hair_line, outline
from float_research.toyface.identity import Look
from float_research.toyface.shapes import Canvas, Plane, band, ellipse, step

NUM_LASHES, NUM_TEETH = 7, 7
"""Lashes of one eye, and teeth that fit in the mouth at rest."""


def bump(value: Plane, width: Plane | float) -> Plane:
    """Returns a Gaussian of height 1 around 0."""
    return torch.exp(-(value / width).square())


def model_skin(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Shades temples, eye sockets, and the skin under nose, lower lip and hair. Comes after the head."""
    look, pose = sitter.look, sitter.pose
    closed = geometry.lift_jaw(y, look, pose)
    socket = bump(x.abs() - look.eye_distance + 0.03, 0.11) * bump(y - look.eye_height + 0.055, 0.045)
    tip = look.eye_height + look.nose_length + 0.05
    philtrum = bump(x - 0.022 * pose.yaw, 1.1 * look.nose_width) * bump(y - tip - 0.035 - 0.018 * pose.pitch, 0.022)
    line = hair_line(x, look)
    fringe = step(y, -0.6, -0.3) * torch.exp(-((y - line).clamp_min(0) / 0.045))
    temple = step(x.abs() / look.head_width, 0.72, 1.02)
    bottom = mouth_lines(x / mouth_reach(look, pose), look, pose)[-1]
    under_lip = bump(x, 0.6 * look.mouth_width) * bump(y - bottom - 0.026, 0.018)
    chin = bump(x, 0.085) * bump(closed - 0.92 * look.head_height, 0.045)
    dark = 0.16 * socket + 0.20 * philtrum + 0.20 * fringe + 0.10 * temple + 0.22 * under_lip
    canvas.shade(1 - dark + 0.07 * chin, canvas.cover(outline(x, closed, look)))


def fold_skin(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws the folds of a smile or a sneer, of raised and of furrowed brows."""
    look, pose = sitter.look, sitter.pose
    smile, sneer = pose.smile.clamp_min(0), (-pose.smile).clamp_min(0)
    raised, furrowed = pose.raise_.clamp_min(0), pose.furrow.clamp_min(0)
    side = x.abs()
    corner = mouth_height(torch.ones_like(side), look, pose)
    reach = mouth_reach(look, pose)
    start = look.eye_height + look.nose_length
    along = ((y - start) / (corner + 0.03 - start)).clamp(-0.5, 1.5)
    curve = 1.15 * look.nose_width + (reach + 0.035 - 1.15 * look.nose_width) * along.clamp_min(0).sqrt()
    cheek = bump(side - curve, 0.012 + 0.010 * along.abs()) * step(along, 0.0, 0.25) * (1 - step(along, 0.75, 1.2))
    dark = (0.04 + 0.26 * smile + 0.17 * sneer) * cheek
    dimple = ellipse(side - reach - 0.012, y - corner, 0.012, 0.020)
    dark = dark + (0.12 + 0.12 * smile) * bump(dimple.clamp_min(0), 0.008)
    bag = look.eye_height + 0.75 * look.eye_opening
    u = (side - look.eye_distance) / look.eye_width
    dark = dark + (0.08 + 0.20 * smile) * bump(y - bag - 0.030 * (1 - u.square()), 0.008) * bump(u, 0.8)
    forehead = (0.5 + 0.5 * torch.cos(2 * math.pi * (y - look.eye_height + 6 * x.square() * 0.12) / 0.052)).square()
    brow = look.eye_height - look.brow_height
    dark = dark + 0.24 * raised * forehead * bump(x, 0.22) * bump(y - brow + 0.13, 0.055)
    dark = dark + 0.26 * furrowed * bump(side - 0.030 - 0.1 * (brow - y), 0.008) * bump(y - brow, 0.030)
    wrinkles = (0.5 + 0.5 * torch.sin(95 * (y - 0.25 * side))) * bump(y - look.eye_height - 0.02, 0.035)
    dark = dark + 0.30 * furrowed * sneer.sqrt() * wrinkles * bump(side, 0.050)
    canvas.shade(1 - dark.clamp_max(0.6), canvas.cover(outline(x, geometry.lift_jaw(y, look, pose), look)))


def detail_eyes(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws the shadow of the lid, the ring and rays of the iris, the crease of the lid, and lashes."""
    look, pose = sitter.look, sitter.pose
    u, bow, edge = eye_place(x, look)
    raised, upper, lower = eye_lines(u, look, pose)
    opened = canvas.cover(torch.maximum(torch.maximum(upper - y, y - lower), edge))
    gaze_x, gaze_y = gaze(torch.where(x < 0, -1.0, 1.0), look, pose)
    radius = 0.82 * look.eye_opening
    dx, dy = x - gaze_x, y - gaze_y
    iris = canvas.cover(ellipse(dx, dy, radius, radius))
    distance = (dx.square() + dy.square() + 1e-8).sqrt() / radius
    ring = bump(distance - 0.97, 0.13)
    glow = bump(distance - 0.68, 0.16) * step(dy, -0.2 * 0.07, 0.05)
    canvas.shade(1 - 0.45 * ring + 0.45 * glow, iris * opened)
    canvas.paint(sitter.tone((0.02, 0.02, 0.03)), canvas.cover(ellipse(dx, dy, 0.46 * radius, 0.46 * radius)) * opened)
    for place, size in ((-0.34, 0.25), (0.38, 0.11)):
        glint = ellipse(dx - place * radius, dy - 1.05 * place * radius, size * radius, size * radius)
        canvas.paint(sitter.tone((1.0, 1.0, 1.0)), canvas.cover(glint) * opened)
    ball = 0.34 * torch.exp(-(y - upper).clamp_min(0) / 0.020) + 0.20 * step(u.abs(), 0.55, 1.0)
    canvas.shade(1 - ball, opened)
    inner = canvas.cover(ellipse(x.abs() - look.eye_distance + 0.90 * look.eye_width, y - lower, 0.018, 0.012))
    canvas.paint(sitter.tone((0.85, 0.55, 0.52)), inner * opened)

    lid = canvas.cover(torch.maximum(torch.maximum(raised - y, y - upper), edge))
    canvas.shade(1 - 0.14 * step(y - raised, 0.05, 0.0) + 0.05 * bump((upper + raised) / 2 - y, 0.02), lid)
    crease = raised - 0.013 - 0.010 * bow
    canvas.shade(1 - 0.32 * bump(y - crease, 0.006) * step(bow, 0.0, 0.35))
    outer = step(u, -0.9, 0.9)
    phase = (u + 1) / 2 * NUM_LASHES + 0.5 * (upper - y) / 0.03
    height = 0.034 * (0.25 + 0.75 * outer) * step(bow, 0.0, 0.1) * step(u, -0.8, -0.2)
    direction = 1 - 1.7 * step(pose.lids, 0.25, 0.75)
    above = (upper - y) * torch.sign(direction) / (height * direction.abs() + 1e-3)
    spike = (0.5 - 0.5 * torch.cos(2 * math.pi * phase)) - above.clamp(0, 1).sqrt()
    hairs = step(spike, 0.0, 0.35) * step(above, -0.3, 0.0) * canvas.cover(edge)
    ink = sitter.tone((0.10, 0.07, 0.06))
    canvas.paint(ink, 0.8 * hairs)
    canvas.paint(0.5 * sitter.skin, 0.55 * bump(y - lower, 0.006) * step(bow, 0.0, 0.3))


def detail_mouth(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Shades lips, teeth and tongue, and the corners of the mouth."""
    look, pose = sitter.look, sitter.pose
    half_width = mouth_reach(look, pose)
    u = x / half_width
    top, upper, bite, lower, bottom = mouth_lines(u, look, pose)
    corners, opening, full = mouth_height(u, look, pose), mouth_opening(pose), fullness(pose)
    edge = (u.abs() - 1) * half_width
    hole = canvas.cover(torch.maximum(torch.maximum(upper - y, y - lower), edge))
    lips = canvas.cover(torch.maximum(torch.maximum(top - y, y - bottom), edge)) * (1 - hole)

    above = step(corners - y + 0.2 * opening, -0.004, 0.004)
    height = ((y - lower) / (bottom - lower).clamp_min(1e-3)).clamp(0, 1)
    rim = ((upper - y) / (upper - top).clamp_min(1e-3)).clamp(0, 1)
    roll = torch.lerp(0.16 * bump(height - 0.42, 0.28) - 0.20 * height.square() * height, -0.14 + 0.16 * rim, above)
    lines = 0.035 * torch.sin(2 * math.pi * 5.5 * u) * (1 - above)
    canvas.shade(1 + roll + lines - 0.22 * step(u.abs(), 0.6, 1.0), lips)
    canvas.shade(1 + 0.14 * bump(y - top + 0.005, 0.007) * step(1 - u.abs(), 0.25, 0.6) * full.clamp(0, 1))

    teeth = canvas.cover(torch.maximum(y - bite, (u.abs() - 0.82) * half_width)) * hole
    place = x / (2 * look.mouth_width / NUM_TEETH)
    gap = bump(place - torch.round(place - 0.5) - 0.5, 0.10)
    canvas.shade(1 - 0.30 * gap - 0.30 * step(u.abs(), 0.35, 0.85), teeth)
    shown = step(opening, 0.07, 0.13)
    row = torch.maximum(lower - 0.016 * shown - 0.010 * u.square() - y, (u.abs() - 0.66) * half_width)
    low = canvas.cover(row) * hole * shown * (1 - teeth)
    canvas.paint(sitter.tone((0.84, 0.81, 0.77)), low)
    canvas.shade(1 - 0.35 * gap, low)
    tongue = ellipse(x, y - lower - 0.012, 0.62 * half_width, 0.42 * opening + 0.004)
    inside = canvas.cover(tongue) * hole * (1 - low)
    canvas.shade(1 + 0.16 * bump(tongue + 0.018, 0.012) - 0.22 * bump(x, 0.012), inside)
    canvas.shade(1 - 0.30 * torch.exp(-(y - upper).clamp_min(0) / 0.012), hole)
    seam = torch.maximum(band(y, corners, 0.0045), edge)
    canvas.paint(0.22 * sitter.tone((0.80, 0.30, 0.32)), canvas.cover(seam) * (1 - step(opening, 0.0, 0.02)))


def detail_brows(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws hairs in the brows, which taper outwards."""
    look, pose = sitter.look, sitter.pose
    u = (x.abs() - look.eye_distance + inward(pose)) / (1.15 * look.eye_width)
    height, inner = brow_line(u, look, pose)
    thickness = look.brow_thickness * (0.55 + 0.45 * inner)
    brow = canvas.cover(torch.maximum(band(y, height, thickness), (u.abs() - 1) * look.eye_width))
    hairs = torch.sin(2 * math.pi * 6 * u + 70 * (y - height))
    canvas.shade(1 + 0.08 * hairs + 0.16 * (y - height) / thickness, brow)


def comb_hair(canvas: Canvas, x: Plane, y: Plane, cover: Plane, look: Look) -> None:
    """Draws strands that fall from the parting, and darkens the hair towards its outline."""
    top_x, top_y = look.hair_part * look.head_width, -0.95 * look.head_height
    angle = torch.atan2(x - top_x, y - top_y + 0.25)
    radius = ((x - top_x).square() + (y - top_y).square() + 1e-6).sqrt()
    strands = torch.sin(34 * angle + 3 * radius) + 0.6 * torch.sin(61 * angle - 5 * radius + 1.3)
    canvas.shade(1 + 0.11 * strands * step(radius, 0.05, 0.35), cover)
