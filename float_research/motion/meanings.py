"""Edits of meanings, such as head rotation or lids, by an atlas of the directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError
from float_research.motion.atlas import Atlas, load_atlas
from float_research.motion.curve import Curve, Strength
from float_research.motion.edit import MAX_SCALE, MEAN, Coordinates, Edit, check_around, rest

MAX_ADDED = 1000.0
"""The limit on what is added to a meaning, in its own unit."""


@dataclass(frozen=True, kw_only=True)
class ByAtlas(Edit):
    """An edit of meanings. `file`: the atlas."""

    file: str

    @property
    def atlas_place(self) -> str:
        return self.file

    @property
    def atlas(self) -> Atlas:
        return load_atlas(Path(self.file))

    def changed(self, motion: Coordinates, places: Sequence[int], change: Float[Tensor, "t c"]) -> Float[Tensor, "t m"]:
        """Returns coordinates whose meanings at `places` are changed, and the others as little as possible."""
        return motion.values + change @ self.atlas.inverse(places).T.to(change)


@dataclass(frozen=True, kw_only=True)
class ScaleMeanings(ByAtlas):
    """Scales meanings around rest: `m + (s - 1) (m - m_rest)`. `around`: portrait or mean.

    `meanings`: names or groups such as head, mouth, eyes. `strength` s: a number or keyframes; 1 changes nothing, 0
    holds them at rest.
    """

    meanings: Sequence[str]
    strength: Strength
    around: str

    def __post_init__(self) -> None:
        self.atlas.places("motion: meanings", self.meanings)
        super().__post_init__()
        check_around("motion: around", self.around)

    @property
    def whole(self) -> bool:
        return self.around == MEAN

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength = self.strength_at(motion.times_s)
        places = self.atlas.places("motion: meanings", self.meanings)
        moved = (motion.values - rest(self.around, motion)) @ self.atlas.map[places].T.to(motion.values)
        return self.changed(motion, places, (strength - 1) * moved)


@dataclass(frozen=True, kw_only=True)
class AddMeanings(ByAtlas):
    """Adds to meanings: `m + s Δ`. `meanings`: name → Δ in its own unit, such as `{smile: 0.5}`.

    `strength` s: a number or keyframes; 0 changes nothing.
    """

    meanings: Mapping[str, float]
    strength: Strength

    limits = (-MAX_SCALE, MAX_SCALE)

    def __post_init__(self) -> None:
        self.atlas.places("motion.blend.meanings", list(self.meanings))
        for name, value in self.meanings.items():
            Curve(f"motion.blend.meanings.{name}", value, low=-MAX_ADDED, high=MAX_ADDED)
        super().__post_init__()

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength = self.strength_at(motion.times_s)
        added = {place: value for name, value in self.meanings.items() for place in self.atlas.places("", [name])}
        values = torch.tensor(list(added.values()), dtype=strength.dtype, device=strength.device)
        return self.changed(motion, list(added), strength * values)


@dataclass(frozen=True, kw_only=True)
class NoBlinks(ByAtlas):
    """Holds the lids open: whatever of the meaning `lids` lies above `most` is taken away.

    `most`: 0 open to 1 closed. `strength`: the share that is taken away, 0 to 1; a number or keyframes.
    """

    most: float
    strength: Strength

    limits = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise UserError(f"motion.no_blinks.most={self.most} must lie between 0, open, and 1, closed")
        super().__post_init__()
        self.atlas.places("motion.no_blinks", ["lids"])

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        places = self.atlas.places("motion.no_blinks", ["lids"])
        strength = self.strength_at(motion.times_s)
        closed = (self.atlas.read(motion.values)[:, places] - self.most).clamp_min(0)
        return self.changed(motion, places, -strength * closed)
