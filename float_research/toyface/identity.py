"""Identity parameters of toy heads: numbers in [0, 1], mapped by a table of ranges or a palette."""

import torch
from jaxtyping import Float
from torch import Tensor

RANGES = {
    # half width and height of the head, its jaw and its chin
    "head_width": (0.40, 0.47),
    "head_height": (0.54, 0.61),
    "jaw_width": (0.60, 0.82),
    "chin": (0.0, 1.0),
    "ear_size": (0.07, 0.10),
    # eyes: centre, half width, height; slant; brows
    "eye_distance": (0.180, 0.205),
    "eye_height": (-0.10, -0.05),
    "eye_width": (0.105, 0.130),
    "eye_opening": (0.068, 0.090),
    "eye_slant": (-0.12, 0.12),
    "brow_height": (0.118, 0.145),
    "brow_thickness": (0.013, 0.025),
    "brow_arch": (0.0, 0.035),
    "nose_length": (0.15, 0.19),
    "nose_width": (0.05, 0.075),
    # mouth: height under the head's centre, half width, lips
    "mouth_height": (0.265, 0.300),
    "mouth_width": (0.155, 0.195),
    "lip_upper": (0.026, 0.040),
    "lip_lower": (0.034, 0.052),
    "lip_colour": (0.0, 1.0),
    # hair: volume, length, hairline, parting, fringe, waves
    "hair_volume": (0.03, 0.10),
    "hair_length": (0.0, 1.0),
    "hair_line": (-0.36, -0.26),
    "hair_part": (-0.22, 0.22),
    "hair_fringe": (-0.15, 0.22),
    "hair_waves": (0.0, 0.016),
    "beard": (0.0, 1.0),
    "glasses": (0.0, 1.0),
    "skin": (0.0, 1.0),
    "hair": (0.0, 1.0),
    "iris": (0.0, 1.0),
    "clothes": (0.0, 1.0),
    "collar": (0.0, 1.0),
    "wall": (0.0, 1.0),
    "wall_light": (-0.12, 0.12),
    "light_x": (-0.22, 0.22),
    "light_y": (0.02, 0.14),
}
IDENTITY = tuple(RANGES)

PALETTES = {
    "skin": ("#f6d9c6", "#f0c8a8", "#e3b18c", "#cf9a70", "#b07a52", "#8c5a3a", "#67402a"),
    "hair": ("#17130f", "#2c1d14", "#4a2d1b", "#6e4526", "#8d4a22", "#b98a4a", "#dcc07f", "#8f8f92"),
    "iris": ("#3a2413", "#5b3a1c", "#6c6a33", "#41724f", "#3f7d99", "#5b7fb4"),
    "clothes": ("#2d3e57", "#38707a", "#4f7a4a", "#c2a03c", "#bc5b3c", "#8c2f45", "#594378", "#d9d4c8"),
    "wall": ("#cfd8dc", "#b7cdd4", "#c5d3bd", "#e4d6ba", "#e5c6b4", "#d8c3d2", "#b9bdd8"),
}


def sample_identities(num: int, generator: torch.Generator) -> Float[Tensor, "b k"]:
    """Samples identities uniformly. About one in five has a beard, one in five glasses."""
    return torch.rand(num, len(IDENTITY), generator=generator)


class Look:
    """Named access to a batch of identities: `look.head_width` is `(b, 1, 1)` in units of half the image."""

    def __init__(self, identity: Float[Tensor, "b k"]):
        self._raw = dict(zip(IDENTITY, identity[:, :, None, None].unbind(1), strict=True))

    def __getattr__(self, name: str) -> Float[Tensor, "b 1 1"]:
        low, high = RANGES[name]
        return low + (high - low) * self._raw[name]

    def colour(self, name: str) -> Float[Tensor, "b 3 1 1"]:
        """Interpolates the palette at this parameter, RGB in [0, 1]."""
        codes = [[int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)] for code in PALETTES[name]]
        place = self._raw[name].flatten() * (len(codes) - 1)
        palette = torch.tensor(codes, device=place.device, dtype=place.dtype)
        weights = (1 - (place[:, None] - torch.arange(len(codes), device=place.device)).abs()).clamp_min(0)
        return (weights @ palette)[:, :, None, None]
