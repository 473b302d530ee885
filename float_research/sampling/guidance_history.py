"""Guidance on the frames before the window."""

from dataclasses import dataclass

from float_research.sampling.branches import FORGETFUL, Weights, push_away
from float_research.sampling.guidance import Incremental
from float_research.sampling.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class History(Incremental):
    """History guidance (arXiv 2502.06764): incremental guidance v pulled towards the frames before the window.

    `v + h (c_ae - c_0)` with h = `history`; c_0 is c_ae without previous motion and previous audio. One more branch;
    h = 0 is incremental guidance. The network must have been trained without previous frames too, as at clip starts.
    """

    history: Schedule

    def weights(self, t: float) -> Weights:
        return push_away(super().weights(t), FORGETFUL, self.history(t))
