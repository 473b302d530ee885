"""Classifier-free guidance (arXiv 2207.12598): how conditional and unconditional fields combine.

A guidance is a weighted sum of the network's fields with some conditions kept and others zeroed, called rows. Rows of
weight zero are not computed. It wraps the network; the solver sees only `v(t, x)`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.schedule import Schedule
from float_research.types import Conditions, Network, VectorField


class Kept(NamedTuple):
    """Which conditions a row keeps. Previous motion and previous audio are never dropped."""

    reference: bool
    audio: bool
    emotion: bool


NOTHING = Kept(False, False, False)
REFERENCE = Kept(True, False, False)
AUDIO = Kept(True, True, False)
EVERYTHING = Kept(True, True, True)

Weights = Mapping[Kept, float]


class Guidance(ABC):
    """A weighted sum of rows, with weights that depend on flow time."""

    @abstractmethod
    def weights(self, t: float) -> Weights:
        """The rows to compute at flow time t and their weights."""

    def rows(self, t: float) -> int:
        """Network rows that one evaluation at flow time t costs, for one clip."""
        return len(self.weights(t))

    def combine(self, weights: Weights, fields: Mapping[Kept, Tensor]) -> Tensor:
        """The guided field, `(b, l, d)`."""
        return torch.stack([weight * fields[row] for row, weight in weights.items()]).sum(0)

    def guide(self, network: Network, conditions: Conditions) -> VectorField:
        """The guided vector field of one window. What depends on conditions alone is computed once for its rows."""
        conditioned: dict[tuple[Kept, ...], VectorField] = {}

        def field(t: Tensor, x: Tensor) -> Tensor:
            weights = self.weights(float(t))
            if not weights:
                return x * 0
            rows = tuple(weights)
            if rows not in conditioned:
                conditioned[rows] = network(batch(conditions, rows))
            fields = conditioned[rows](t, torch.cat([x] * len(rows))).chunk(len(rows))
            return self.combine(weights, dict(zip(rows, fields, strict=True)))

        return field


def batch(conditions: Conditions, rows: Sequence[Kept]) -> Conditions:
    """The conditions of each row, one after the other: kept, or zero."""

    def stacked(condition: Tensor, kept: Sequence[bool]) -> Tensor:
        return torch.cat([condition if keep else torch.zeros_like(condition) for keep in kept])

    everywhere = [True] * len(rows)
    return Conditions(
        audio=stacked(conditions.audio, [row.audio for row in rows]),
        reference=stacked(conditions.reference, [row.reference for row in rows]),
        emotion=stacked(conditions.emotion, [row.emotion for row in rows]),
        previous_motion=stacked(conditions.previous_motion, everywhere),
        previous_audio=stacked(conditions.previous_audio, everywhere),
    )


def without_zeros(weights: Weights) -> Weights:
    return {row: weight for row, weight in weights.items() if abs(weight) > 1e-9}


@dataclass(frozen=True, kw_only=True)
class Incremental(Guidance):
    """The official form: `v = u + a (c_a - u) + e (c_ae - c_a)`, the reference always kept.

    u has neither audio nor emotion, c_a audio, c_ae both. Three rows; two where a = e; one where both are 1.
    """

    audio: Schedule
    emotion: Schedule

    def weights(self, t: float) -> Weights:
        a, e = self.audio(t), self.emotion(t)
        return without_zeros({REFERENCE: 1 - a, AUDIO: a - e, EVERYTHING: e})


@dataclass(frozen=True, kw_only=True)
class Reference(Guidance):
    """Four rows with a working reference scale: `v = v_0 + r (c_r - v_0) + a (c_ra - c_r) + e (c_rae - c_ra)`."""

    audio: Schedule
    emotion: Schedule
    reference: Schedule

    def weights(self, t: float) -> Weights:
        a, e, r = self.audio(t), self.emotion(t), self.reference(t)
        return without_zeros({NOTHING: 1 - r, REFERENCE: r - a, AUDIO: a - e, EVERYTHING: e})


@dataclass(frozen=True, kw_only=True)
class ZeroStar(Guidance):
    """CFG-Zero* (arXiv 2503.18886): incremental guidance whose unconditional field is scaled by a projection.

    `u` becomes `s u` with `s = ⟨c_ae, u⟩ / ‖u‖²` per clip. Before flow time `zero_until` the field is zero (the paper's
    zero-init) and no row is computed; 0 switches that off.
    """

    audio: Schedule
    emotion: Schedule
    zero_until: float

    def __post_init__(self) -> None:
        if not 0 <= self.zero_until < 1:
            raise UserError(f"guidance.zero_until={self.zero_until} must lie in [0, 1); 0 switches the zero start off")

    def weights(self, t: float) -> Weights:
        if t < self.zero_until:
            return {}
        a, e = self.audio(t), self.emotion(t)
        weights = dict(without_zeros({REFERENCE: 1 - a, AUDIO: a - e, EVERYTHING: e}))
        if REFERENCE in weights:
            weights.setdefault(EVERYTHING, 0.0)
        return weights

    def combine(self, weights: Weights, fields: Mapping[Kept, Tensor]) -> Tensor:
        if REFERENCE not in weights:
            return super().combine(weights, fields)
        u, c = fields[REFERENCE], fields[EVERYTHING]
        s = (c * u).sum((1, 2), keepdim=True) / u.square().sum((1, 2), keepdim=True).clamp_min(1e-12)
        return super().combine(weights, {**fields, REFERENCE: s * u})


@dataclass(frozen=True, kw_only=True)
class NoGuidance(Guidance):
    """The fully conditioned field alone: one row."""

    def weights(self, t: float) -> Weights:
        return {EVERYTHING: 1.0}
