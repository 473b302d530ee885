"""Guidance branches (rows of the batch): evaluations of the network with conditions zeroed or the network weakened."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from float_research.types import FULL_STRENGTH, Conditions, Network, VectorField, Weakness


class Kept(NamedTuple):
    """The conditions kept by a row, and the weakness of its network. `previous`: motion and audio before the window."""

    reference: bool
    audio: bool
    emotion: bool
    previous: bool = True
    weakness: Weakness = FULL_STRENGTH

    @property
    def num_conditions(self) -> int:
        return self.reference + self.audio + self.emotion + self.previous


NOTHING = Kept(False, False, False)
REFERENCE = Kept(True, False, False)
AUDIO = Kept(True, True, False)
EVERYTHING = Kept(True, True, True)
FORGETFUL = Kept(True, True, True, previous=False)

Weights = Mapping[Kept, float]
ZERO = 1e-9
"""Weights of smaller magnitude count as zero."""


class Reuse:
    """Chooses the rows to compute in each evaluation of a window: all, or only a base row plus stored differences.

    Differences between rows are reused for `evaluations` evaluations that need several rows, including the one that
    computed them. The others compute only the base: the row with the largest weight, and among equal weights the one
    with the most conditions. If the weights sum to zero, the base cancels and no row is computed.
    """

    def __init__(self, evaluations: int):
        self.evaluations, self.left = evaluations, 0
        self.kept: frozenset[Kept] = frozenset()

    def __call__(self, weights: Weights) -> tuple[Kept, ...]:
        rows = tuple(weights)
        if len(rows) < 2:
            return rows
        if self.left and self.kept.issuperset(rows):
            self.left -= 1
            if abs(sum(weights.values())) < ZERO:
                return ()
            return (max(rows, key=lambda row: (weights[row], row.num_conditions)),)
        self.kept, self.left = frozenset(rows), self.evaluations - 1
        return rows


class Rows:
    """The fields of one window's rows. Network parts that depend only on conditions run once for each set of rows."""

    def __init__(self, network: Network, conditions: Conditions, reuse: int):
        self.network, self.conditions, self.choose = network, conditions, Reuse(reuse)
        self.conditioned: dict[tuple[Kept, ...], VectorField] = {}
        self.kept: Mapping[Kept, Tensor] = {}

    def __call__(self, t: Tensor, x: Tensor, weights: Weights) -> Mapping[Kept, Tensor]:
        """Returns the field of each row in `weights`, computed or restored from the base and a stored difference."""
        rows = self.choose(weights)
        if not rows:
            return {row: self.kept[row] for row in weights}
        fields = self._compute(rows, t, x)
        if len(rows) < len(weights):
            (base,) = rows
            kept = self.kept
            return {row: fields[base] if row == base else fields[base] + (kept[row] - kept[base]) for row in weights}
        if len(rows) > 1:
            self.kept = fields
        return fields

    def _compute(self, rows: tuple[Kept, ...], t: Tensor, x: Tensor) -> Mapping[Kept, Tensor]:
        """Computes the fields of these rows, batched per network."""
        fields: dict[Kept, Tensor] = {}
        for weakness in dict.fromkeys(row.weakness for row in rows):
            alike = tuple(row for row in rows if row.weakness == weakness)
            if alike not in self.conditioned:
                self.conditioned[alike] = self.network(batch(self.conditions, alike))
            computed = self.conditioned[alike](t, torch.cat([x] * len(alike))).chunk(len(alike))
            fields.update(zip(alike, computed, strict=True))
        return fields


def batch(conditions: Conditions, rows: Sequence[Kept]) -> Conditions:
    """Returns the conditions of all rows, concatenated along the batch, each kept or zeroed."""

    def stacked(condition: Tensor, kept: Sequence[bool]) -> Tensor:
        return torch.cat([condition if keep else torch.zeros_like(condition) for keep in kept])

    return Conditions(
        audio=stacked(conditions.audio, [row.audio for row in rows]),
        reference=stacked(conditions.reference, [row.reference for row in rows]),
        emotion=stacked(conditions.emotion, [row.emotion for row in rows]),
        previous_motion=stacked(conditions.previous_motion, [row.previous for row in rows]),
        previous_audio=stacked(conditions.previous_audio, [row.previous for row in rows]),
        weakness=rows[0].weakness,
    )


def without_zeros(weights: Weights) -> Weights:
    """Drops rows of weight zero."""
    return {row: weight for row, weight in weights.items() if abs(weight) > ZERO}


def with_everything(weights: Weights) -> Weights:
    """Adds the fully conditional row, with weight zero if it has none."""
    return {**weights, EVERYTHING: weights.get(EVERYTHING, 0.0)}
