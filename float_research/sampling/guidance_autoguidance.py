"""Guidance by a weakened version of the network."""

from collections.abc import Sequence
from dataclasses import dataclass

from float_research.errors import UserError
from float_research.sampling.branches import EVERYTHING, Kept, Weights, push_away
from float_research.sampling.guidance import Incremental
from float_research.sampling.schedule import Schedule
from float_research.types import Weakness


@dataclass(frozen=True, kw_only=True)
class Autoguidance(Incremental):
    """Autoguidance (arXiv 2406.02507): incremental guidance v pushed away from the field of a weaker network.

    `v + (w - 1) (c_ae - c_weak)` with w = `weak`; c_weak is the field of the weakened network under the conditions of
    c_ae. w = 1 is incremental guidance; with both other scales at 1 it is the paper's `w c_ae + (1 - w) c_weak`.

    The paper's weaker network is smaller and trained for less time. Here it needs no training: either blocks are
    skipped, as in spatiotemporal skip guidance (arXiv 2411.18664), or each frame attends to fewer neighbours
    (`attention_window`). It costs one more branch, counted in full even though skipped blocks are not computed.

    `num_blocks` and `full_attention_window` are those of the full network.
    """

    weak: Schedule
    skip_blocks: Sequence[int] | None
    attention_window: int | None
    num_blocks: int
    full_attention_window: int

    def __post_init__(self) -> None:
        skipped, window = self.skip_blocks, self.attention_window
        if bool(skipped) == (window is not None):
            raise UserError(
                f"guidance.skip_blocks={skipped} and guidance.attention_window={window}: set one of them to weaken the "
                "network, and the other to null"
            )
        if skipped and not set(skipped) <= set(range(self.num_blocks)):
            raise UserError(
                f"guidance.skip_blocks={list(skipped)} must be blocks of the model, 0 to {self.num_blocks - 1}"
            )
        if window is not None and not 0 <= window < self.full_attention_window:
            raise UserError(
                f"guidance.attention_window={window} must be 0 or more and less than the network's own, "
                f"chunking.attention_window={self.full_attention_window}"
            )

    @property
    def weakened(self) -> Kept:
        """The branch of the weakened network."""
        return EVERYTHING._replace(weakness=Weakness(tuple(self.skip_blocks or ()), self.attention_window))

    def weights(self, t: float) -> Weights:
        return push_away(super().weights(t), self.weakened, self.weak(t) - 1)
