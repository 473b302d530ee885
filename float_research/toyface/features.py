"""Draws eyes, brows, nose and mouth in face coordinates (with head rotation, without jaw motion)."""

from dataclasses import dataclass

import torch

from float_research.toyface.geometry import JAW_DROP, Pose
from float_research.toyface.identity import Look
from float_research.toyface.shapes import Canvas, Colour, Plane, band, ellipse, step


@dataclass(frozen=True, kw_only=True)
class Sitter:
    """A batch of heads to draw: identity, pose and colours."""

    look: Look
    pose: Pose
    skin: Colour
    hair: Colour
    iris: Colour

    def tone(self, rgb: tuple[float, float, float]) -> Colour:
        """Returns a fixed colour."""
        return self.skin.new_tensor(rgb)[None, :, None, None]


def eye_place(x: Plane, look: Look) -> tuple[Plane, Plane, Plane]:
    """Returns the place along the eye, -1 to 1, the bow of a lid over it, and the distance beyond the corners."""
    u = (x.abs() - look.eye_distance) / look.eye_width
    return u, (1 - u.square()).clamp_min(0), (u.abs() - 1) * look.eye_width


def draw_eyes(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws both eyes with lids, lashes and gaze. Returns a mask of the eye region."""
    look, pose = sitter.look, sitter.pose
    u, bow, edge = eye_place(x, look)
    raised, upper, lower = eye_lines(u, look, pose)

    inside = torch.maximum(torch.maximum(upper - y, y - lower), edge)
    canvas.paint(sitter.tone((0.97, 0.97, 0.96)), canvas.cover(inside))
    gaze_x, gaze_y = gaze(torch.where(x < 0, -1.0, 1.0), look, pose)
    radius = 0.82 * look.eye_opening
    iris = ellipse(x - gaze_x, y - gaze_y, radius, radius)
    open_eye = canvas.cover(inside)
    canvas.paint(sitter.iris, canvas.cover(iris) * open_eye)
    canvas.paint(sitter.tone((0.05, 0.05, 0.06)), canvas.cover(iris + 0.48 * radius) * open_eye)
    glint = ellipse(x - gaze_x + 0.35 * radius, y - gaze_y + 0.35 * radius, 0.22 * radius, 0.22 * radius)
    canvas.paint(sitter.tone((1.0, 1.0, 1.0)), canvas.cover(glint) * open_eye)

    lid = torch.maximum(torch.maximum(raised - 0.004 - y, y - upper), edge)
    canvas.paint(0.88 * sitter.skin, canvas.cover(lid))
    lashes = torch.maximum(band(y, upper, 0.011 * (0.4 + 0.6 * bow)), edge)
    canvas.paint(sitter.tone((0.12, 0.08, 0.07)), canvas.cover(lashes))
    return step(-ellipse(u, (y - look.eye_height) / (2.6 * look.eye_opening), 1.35, 1.1), -0.2, 0.1)


def eye_lines(u: Plane, look: Look, pose: Pose) -> tuple[Plane, Plane, Plane]:
    """Returns the heights of the fully open upper lid, the upper and the lower lid at `u`, -1 to 1 along an eye."""
    bow = (1 - u.square()).clamp_min(0)
    level = look.eye_height - look.eye_slant * look.eye_width * u
    opening = look.eye_opening * (1 + 0.18 * pose.raise_ - 0.15 * pose.furrow - 0.15 * pose.smile.clamp_min(0))
    lower = level + 0.55 * look.eye_opening * bow * (1 - 0.2 * pose.smile.clamp_min(0))
    raised = level - opening * bow.sqrt() * 0.95
    return raised, torch.lerp(raised, lower, pose.lids), lower


def gaze(side: Plane, look: Look, pose: Pose) -> tuple[Plane, Plane]:
    """Returns the centre of the iris, of the left eye where `side` is -1 and the right where it is 1."""
    x = look.eye_distance * side + 0.42 * look.eye_width * pose.gaze_x
    return x, look.eye_height + 0.38 * look.eye_opening * pose.gaze_y


def draw_brows(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws brows, which can rise and furrow."""
    look, pose = sitter.look, sitter.pose
    u = (x.abs() - look.eye_distance + inward(pose)) / (1.15 * look.eye_width)
    height, inner = brow_line(u, look, pose)
    thickness = look.brow_thickness * (0.55 + 0.45 * inner)
    brow = torch.maximum(band(y, height, thickness), (u.abs() - 1) * look.eye_width)
    canvas.paint(0.85 * sitter.hair, canvas.cover(brow))


def inward(pose: Pose) -> Plane:
    """Returns how far the brows move together."""
    return 0.022 * pose.furrow


def brow_line(u: Plane, look: Look, pose: Pose) -> tuple[Plane, Plane]:
    """Returns the height of a brow at `u`, and its inwardness from 0 to 1."""
    inner = (0.5 - 0.5 * u).clamp(0, 1)
    height = look.eye_height - look.brow_height - 0.060 * pose.raise_ - look.brow_arch * (1 - u.square())
    return height + (0.055 * pose.furrow) * inner, inner


def draw_nose(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> None:
    """Draws the nose: a shaded side, a bright ridge, wings and nostrils. The tip moves most when the head turns."""
    look, pose = sitter.look, sitter.pose
    tip_x, tip_y = 0.022 * pose.yaw, look.eye_height + look.nose_length + 0.05 + 0.018 * pose.pitch
    along = ((y - look.eye_height) / (tip_y - look.eye_height)).clamp(0, 1)
    centre = tip_x * along
    width = look.nose_width * (0.28 + 0.55 * along.square())
    bridge = step(y, -0.06, 0.02) * step(tip_y - y, -0.02, 0.03)
    shadow = step(-band(x, centre - torch.sign(look.light_x) * width * 0.9, 0.5 * width), -0.02, 0.02) * bridge
    canvas.paint(0.78 * sitter.skin, 0.85 * shadow)
    canvas.paint(sitter.skin * 0.6 + 0.4, 0.35 * step(-band(x, centre, 0.35 * width), -0.02, 0.01) * bridge)
    ball = ellipse(x - tip_x, y - tip_y, look.nose_width * 0.9, 0.036)
    canvas.paint(0.93 * sitter.skin, canvas.cover(ball) * step(y - tip_y, -0.03, 0.02))
    nostril = ellipse((x - tip_x).abs() - 0.55 * look.nose_width, y - tip_y - 0.016, 0.3 * look.nose_width, 0.010)
    canvas.paint(0.36 * sitter.skin, canvas.cover(nostril))


def draw_mouth(canvas: Canvas, x: Plane, y: Plane, sitter: Sitter) -> Plane:
    """Draws lips around an opening with teeth and tongue. Returns a mask of the mouth region.

    Jaw widens the opening, press thins the lips, pucker narrows and thickens them, smile lifts the corners.
    """
    look, pose = sitter.look, sitter.pose
    half_width = mouth_reach(look, pose)
    u = x / half_width
    top, upper, bite, lower, bottom = mouth_lines(u, look, pose)
    corners, opening, full = mouth_height(u, look, pose), mouth_opening(pose), fullness(pose)
    edge = (u.abs() - 1) * half_width
    rosy = sitter.tone((0.80, 0.30, 0.32))
    lip = torch.lerp(0.80 * sitter.skin, rosy, (0.30 + 0.35 * look.lip_colour)[:, None])
    canvas.paint(lip, canvas.cover(torch.maximum(torch.maximum(top - y, y - bottom), edge)))
    shine = ellipse(x, y - lower - 0.5 * look.lip_lower * full, 0.45 * half_width, 0.30 * look.lip_lower * full + 0.002)
    canvas.paint(lip * 0.7 + 0.3, 0.45 * canvas.cover(shine))

    inside = torch.maximum(torch.maximum(upper - y, y - lower), edge)
    hole = canvas.cover(inside)
    canvas.paint(sitter.tone((0.22, 0.05, 0.06)), hole)
    tongue = ellipse(x, y - lower - 0.012, 0.62 * half_width, 0.42 * opening + 0.004)
    canvas.paint(sitter.tone((0.74, 0.33, 0.34)), canvas.cover(tongue) * hole)
    teeth = torch.maximum(y - bite, (u.abs() - 0.82) * half_width)
    canvas.paint(sitter.tone((0.96, 0.95, 0.92)), canvas.cover(teeth) * hole)
    seam = torch.maximum(band(y, corners, 0.0065), edge)
    canvas.paint(0.45 * lip, canvas.cover(seam) * (1 - step(opening, 0.0, 0.02)))
    height = mouth_height(torch.zeros_like(u), look, pose)
    return step(-ellipse(x, y - height - 0.03, look.mouth_width * 1.4, 0.15), -0.03, 0.03)


def mouth_reach(look: Look, pose: Pose) -> Plane:
    """Returns half the mouth's width."""
    return look.mouth_width * (1 + 0.22 * pose.width - 0.42 * pose.pucker + 0.10 * pose.smile - 0.10 * pose.jaw)


def mouth_height(u: Plane, look: Look, pose: Pose) -> Plane:
    """Returns the height at which the lips meet at `u`, -1 to 1 along the mouth."""
    height = look.mouth_height + 0.012 - 0.012 * pose.smile
    return height - (0.010 + 0.060 * pose.smile) * u.square().clamp_max(1.5)


def mouth_opening(pose: Pose) -> Plane:
    """Returns the distance of the lips in the middle."""
    return (1.45 * JAW_DROP * pose.jaw + 0.018 * pose.pucker * pose.jaw.sqrt()) * (1 - pose.press)


def fullness(pose: Pose) -> Plane:
    """Returns the factor of the lips' thickness."""
    return (1 - 0.75 * pose.press) * (1 + 0.45 * pose.pucker - 0.12 * pose.width)


def mouth_lines(u: Plane, look: Look, pose: Pose) -> tuple[Plane, Plane, Plane, Plane, Plane]:
    """Returns the heights at `u` of the upper lip's edges, the teeth's lower edge and the lower lip's edges."""
    bow = (1 - u.square()).clamp_min(0).sqrt()
    corners, opening = mouth_height(u, look, pose), mouth_opening(pose)
    upper, lower = corners - 0.22 * opening * bow, corners + 0.78 * opening * bow
    cupid = 1 - 0.22 * torch.exp(-(u / 0.16).square())
    top = upper - look.lip_upper * fullness(pose) * (1 - u.square()).clamp_min(0) * cupid * 1.25
    bite = upper + (0.36 * opening).clamp_max(0.040)
    return top, upper, bite, lower, lower + look.lip_lower * fullness(pose) * bow
