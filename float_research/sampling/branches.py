"""Guidance branches, batched: evaluations of the network with conditions zeroed or the network weakened."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from float_research.types import FULL_STRENGTH, Conditions, Network, VectorField, Weakness


class Kept(NamedTuple):
    """What a branch keeps: conditions and strength of the network. `previous`: motion and audio before the window."""

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
    """Chooses the branches to compute in each evaluation of a window: all, or only a base plus stored differences.

    Differences between branches are reused for `evaluations` evaluations that need several branches, including the
    one that computed them. The others compute only the base: the branch with the largest weight, and among equal
    weights the one with the most conditions. If the weights sum to zero, the base cancels and no branch is computed.
    """

    def __init__(self, evaluations: int):
        self.evaluations, self.left = evaluations, 0
        self.kept: frozenset[Kept] = frozenset()

    def __call__(self, weights: Weights) -> tuple[Kept, ...]:
        branches = tuple(weights)
        if len(branches) < 2:
            return branches
        if self.left and self.kept.issuperset(branches):
            self.left -= 1
            if abs(sum(weights.values())) < ZERO:
                return ()
            return (max(branches, key=lambda branch: (weights[branch], branch.num_conditions)),)
        self.kept, self.left = frozenset(branches), self.evaluations - 1
        return branches


class Branches:
    """The fields of one window's branches.

    Network parts that depend only on conditions run once for each set of branches.
    """

    def __init__(self, network: Network, conditions: Conditions, reuse: int):
        self.network, self.conditions, self.choose = network, conditions, Reuse(reuse)
        self.conditioned: dict[tuple[Kept, ...], VectorField] = {}
        self.kept: Mapping[Kept, Tensor] = {}

    def __call__(self, t: Tensor, x: Tensor, weights: Weights) -> Mapping[Kept, Tensor]:
        """Returns the field of each branch in `weights`, computed or restored from the base and a stored difference."""
        branches = self.choose(weights)
        if not branches:
            return {branch: self.kept[branch] for branch in weights}
        fields = self._compute(branches, t, x)
        if len(branches) < len(weights):
            (base,) = branches
            kept = self.kept
            return {
                branch: fields[base] if branch == base else fields[base] + (kept[branch] - kept[base])
                for branch in weights
            }
        if len(branches) > 1:
            self.kept = fields
        return fields

    def _compute(self, branches: tuple[Kept, ...], t: Tensor, x: Tensor) -> Mapping[Kept, Tensor]:
        """Computes the fields of these branches, batched per network."""
        fields: dict[Kept, Tensor] = {}
        for weakness in dict.fromkeys(branch.weakness for branch in branches):
            alike = tuple(branch for branch in branches if branch.weakness == weakness)
            if alike not in self.conditioned:
                self.conditioned[alike] = self.network(batch(self.conditions, alike))
            computed = self.conditioned[alike](t, torch.cat([x] * len(alike))).chunk(len(alike))
            fields.update(zip(alike, computed, strict=True))
        return fields


def batch(conditions: Conditions, branches: Sequence[Kept]) -> Conditions:
    """Returns the conditions of all branches, concatenated along the batch, each kept or zeroed."""

    def stacked(condition: Tensor, kept: Sequence[bool]) -> Tensor:
        return torch.cat([condition if keep else torch.zeros_like(condition) for keep in kept])

    return Conditions(
        audio=stacked(conditions.audio, [branch.audio for branch in branches]),
        reference=stacked(conditions.reference, [branch.reference for branch in branches]),
        emotion=stacked(conditions.emotion, [branch.emotion for branch in branches]),
        previous_motion=stacked(conditions.previous_motion, [branch.previous for branch in branches]),
        previous_audio=stacked(conditions.previous_audio, [branch.previous for branch in branches]),
        weakness=branches[0].weakness,
    )


def without_zeros(weights: Weights) -> Weights:
    """Drops branches of weight zero."""
    return {branch: weight for branch, weight in weights.items() if abs(weight) > ZERO}


def with_everything(weights: Weights) -> Weights:
    """Adds the fully conditional branch, with weight zero if it has none."""
    return {**weights, EVERYTHING: weights.get(EVERYTHING, 0.0)}


def push_away(weights: Weights, branch: Kept, scale: float) -> Weights:
    """Adds `scale (c_ae - c)`: pushes the field away from that of a branch, c, towards the fully conditional one."""
    return without_zeros({**weights, EVERYTHING: weights.get(EVERYTHING, 0.0) + scale, branch: -scale})
