"""Classifier-free guidance (arXiv 2207.12598): combinations of conditional and unconditional fields.

A guidance is a weighted sum of guidance branches: evaluations of the network with some conditions kept and others
zeroed. Branches are batched, and those of weight zero are not computed. Guidance wraps the network; the solver sees
only `v(t, x)`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.branches import (
    AUDIO,
    EVERYTHING,
    NOTHING,
    REFERENCE,
    Branches,
    Kept,
    Reuse,
    Weights,
    with_everything,
    without_zeros,
)
from float_research.sampling.schedule import Schedule
from float_research.types import Conditions, Network, VectorField


class Guidance(ABC):
    """A weighted sum of guidance branches, with weights that depend on flow time."""

    @abstractmethod
    def weights(self, t: float) -> Weights:
        """Returns the branches to compute at flow time t and their weights."""

    def calls(self, t: float) -> list[Weights]:
        """Returns the weights for each network call in one evaluation at flow time t."""
        return [self.weights(t)]

    def num_branches(self, t: float) -> int:
        """Returns the branches of one evaluation at flow time t, for one clip."""
        return sum(map(len, self.calls(t)))

    def declared_branches(self, times: Sequence[float], reuse: int) -> int:
        """Returns the branches of evaluations at these flow times, for one window; `reuse`: see `Reuse`."""
        choose = Reuse(reuse)
        return sum(len(choose(weights)) for t in times for weights in self.calls(t))

    def combine(self, weights: Weights, fields: Mapping[Kept, Tensor]) -> Tensor:
        """Returns the guided field, `(b, l, d)`."""
        return torch.stack([weight * fields[branch] for branch, weight in weights.items()]).sum(0)

    def settled(self) -> "Guidance":
        """Returns the limit for dense evaluations; `self` for guidance without memory of earlier evaluations."""
        return self

    def guide(self, network: Network, conditions: Conditions, reuse: int = 1) -> VectorField:
        """Returns the guided vector field of one window; `reuse`: see `Reuse`."""
        return self.field(Branches(network, conditions, reuse))

    def field(self, branches: Branches) -> VectorField:
        """Returns the guided vector field from the branches of one window."""

        def guided(t: Tensor, x: Tensor) -> Tensor:
            weights = self.weights(float(t))
            return self.combine(weights, branches(t, x, weights)) if weights else x * 0

        return guided


@dataclass(frozen=True, kw_only=True)
class Incremental(Guidance):
    """The official form: `v = u + a (c_a - u) + e (c_ae - c_a)`, always with the reference.

    u has neither audio nor emotion, c_a has audio, c_ae has both. Three branches; two if a = e; one if both are 1.
    """

    audio: Schedule
    emotion: Schedule

    def weights(self, t: float) -> Weights:
        a, e = self.audio(t), self.emotion(t)
        return without_zeros({REFERENCE: 1 - a, AUDIO: a - e, EVERYTHING: e})


Adjust = Callable[[Tensor, Tensor, Tensor, Mapping[Kept, Tensor]], Tensor]
"""`g' = adjust(g, t, x, fields)`: adjusts the guidance difference."""


@dataclass(frozen=True, kw_only=True)
class Adjusted(Incremental, ABC):
    """Incremental guidance with an adjusted difference from the fully conditional field: `c_ae + adjust(v - c_ae)`.

    If several branches are computed, c_ae is one of them, even with weight zero.
    """

    def weights(self, t: float) -> Weights:
        weights = super().weights(t)
        return weights if len(weights) < 2 else with_everything(weights)

    @abstractmethod
    def adjuster(self) -> Adjust:
        """Returns the function that adjusts all differences of one window, in order."""

    def field(self, branches: Branches) -> VectorField:
        adjust = self.adjuster()

        def guided(t: Tensor, x: Tensor) -> Tensor:
            weights = self.weights(float(t))
            fields = branches(t, x, weights)
            plain = self.combine(weights, fields)
            if len(weights) < 2:
                return plain
            difference = plain - fields[EVERYTHING]
            return plain + (adjust(difference, t, x, fields) - difference)

        return guided


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Returns the scalar product over the window of each clip, `(b, 1, 1)`."""
    return (a * b).sum((1, 2), keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Reference(Guidance):
    """Four branches and a reference scale: `v = v_0 + r (c_r - v_0) + a (c_ra - c_r) + e (c_rae - c_ra)`."""

    audio: Schedule
    emotion: Schedule
    reference: Schedule

    def weights(self, t: float) -> Weights:
        a, e, r = self.audio(t), self.emotion(t), self.reference(t)
        return without_zeros({NOTHING: 1 - r, REFERENCE: r - a, AUDIO: a - e, EVERYTHING: e})


@dataclass(frozen=True, kw_only=True)
class ReplacedUnconditional(Incremental, ABC):
    """Incremental guidance with another field in place of the unconditional field u."""

    @abstractmethod
    def unconditional(self, u: Tensor, c: Tensor) -> Tensor:
        """Returns the replacement of u, given the fully conditional field c."""

    def weights(self, t: float) -> Weights:
        weights = super().weights(t)
        return with_everything(weights) if REFERENCE in weights else weights

    def combine(self, weights: Weights, fields: Mapping[Kept, Tensor]) -> Tensor:
        if REFERENCE in weights:
            fields = {**fields, REFERENCE: self.unconditional(fields[REFERENCE], fields[EVERYTHING])}
        return super().combine(weights, fields)


@dataclass(frozen=True, kw_only=True)
class ZeroStar(ReplacedUnconditional):
    """CFG-Zero* (arXiv 2503.18886): incremental guidance with the unconditional field scaled by a projection.

    `u` becomes `s u` with `s = ⟨c_ae, u⟩ / ‖u‖²` per clip. Before flow time `zero_until` the field is zero (the paper's
    zero-init) and no branch is computed; 0 disables this.
    """

    zero_until: float

    def __post_init__(self) -> None:
        if not 0 <= self.zero_until < 1:
            raise UserError(f"guidance.zero_until={self.zero_until} must be in [0, 1); 0 disables zero-init")

    def weights(self, t: float) -> Weights:
        return {} if t < self.zero_until else super().weights(t)

    def unconditional(self, u: Tensor, c: Tensor) -> Tensor:
        return dot(c, u) / dot(u, u).clamp_min(1e-12) * u


@dataclass(frozen=True, kw_only=True)
class NoGuidance(Guidance):
    """The fully conditional field: one branch."""

    def weights(self, t: float) -> Weights:
        return {EVERYTHING: 1.0}
