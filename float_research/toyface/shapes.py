"""Drawing with signed distances: anti-aliased coverage, and painting in layers."""

import torch
from jaxtyping import Float
from torch import Tensor

Plane = Float[Tensor, "#b #h #w"]
"""One value per pixel: a coordinate, a distance or a coverage."""
Colour = Float[Tensor, "#b 3 #h #w"]


def pixel_grid(size_px: int, like: Tensor) -> tuple[Float[Tensor, "1 1 w"], Float[Tensor, "1 h 1"]]:
    """Returns coordinates of pixel centres, x to the right and y down, with the image's edges at -1 and 1."""
    centres = (torch.arange(size_px, device=like.device, dtype=like.dtype) + 0.5) * (2 / size_px) - 1
    return centres[None, None, :], centres[None, :, None]


def ellipse(x: Plane, y: Plane, a: Tensor | float, b: Tensor | float) -> Plane:
    """Returns the signed distance to an ellipse of half axes a, b, exact to first order near its outline."""
    k0 = (x / a).square() + (y / b).square()
    k1 = ((x / a**2).square() + (y / b**2).square()).clamp_min(1e-8).sqrt()
    return (k0 - 1) / (2 * k1)


def smooth_union(d1: Plane, d2: Plane, radius: float) -> Plane:
    """Returns the union of two shapes with a fillet (polynomial smooth minimum)."""
    blend = (radius - (d1 - d2).abs()).clamp_min(0) / radius
    return torch.minimum(d1, d2) - blend.square() * (radius / 4)


def rounded_box(x: Plane, y: Plane, half_width: Plane, half_height: Plane, radius: float) -> Plane:
    """Returns the signed distance to a rectangle with rounded corners."""
    dx, dy = x.abs() - half_width + radius, y.abs() - half_height + radius
    outside = (dx.clamp_min(0).square() + dy.clamp_min(0).square() + 1e-12).sqrt()
    return outside + torch.maximum(dx, dy).clamp_max(0) - radius


def band(value: Plane, centre: Plane | float, half_width: Plane | float) -> Plane:
    """Returns the signed distance to `|value - centre| < half_width`."""
    return (value - centre).abs() - half_width


def step(value: Plane, low: float, high: float) -> Plane:
    """Smooth step: 0 below `low`, 1 above `high`."""
    u = ((value - low) / (high - low)).clamp(0, 1)
    return u * u * (3 - 2 * u)


class Canvas:
    """An image to paint on. Coverage is `clamp(1/2 - distance / pixel)`, so edges are one pixel soft."""

    def __init__(self, colour: Colour, pixel: float):
        self.image, self.pixel = colour, pixel

    def cover(self, distance: Plane) -> Plane:
        return (0.5 - distance / self.pixel).clamp(0, 1)

    def paint(self, colour: Colour, coverage: Plane) -> None:
        """Blends a colour over the image."""
        self.image = torch.lerp(self.image, colour, coverage[:, None])

    def shade(self, factor: Plane, coverage: Plane | None = None) -> None:
        """Multiplies brightness where covered."""
        scale = factor if coverage is None else 1 + (factor - 1) * coverage
        self.image = self.image * scale[:, None]
