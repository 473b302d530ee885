"""Guidance with differences evaluated ahead on the conditional path."""

from dataclasses import dataclass

from torch import Tensor

from float_research.errors import UserError
from float_research.sampling.branches import AUDIO, EVERYTHING, REFERENCE, Branches, Weights, without_zeros
from float_research.sampling.guidance import Incremental
from float_research.types import VectorField


@dataclass(frozen=True, kw_only=True)
class RectifiedCfgPp(Incremental):
    """Rectified-CFG++ (arXiv 2510.07631): the conditional field plus differences evaluated further along its path.

    `v = c_ae(t, x) + (a - 1) (c_a - u)(t', x') + (e - 1) (c_ae - c_a)(t', x')`, with `t' = min(t + ahead, 1)` and
    `x' = x + (t' - t) c_ae(t, x)`. The paper looks half a step ahead; here `ahead` is flow time, so that the field
    does not depend on the steps. 0 is incremental guidance. One branch plus those of the differences.
    """

    ahead: float

    def __post_init__(self) -> None:
        if not 0 <= self.ahead <= 1:
            raise UserError(f"guidance.ahead={self.ahead} must be in [0, 1]; 0 is incremental guidance")

    def differences(self, t: float) -> Weights:
        """Returns the weights of the branches computed ahead; they sum to 0."""
        a, e = self.audio(t), self.emotion(t)
        return without_zeros({REFERENCE: 1 - a, AUDIO: a - e, EVERYTHING: e - 1})

    def calls(self, t: float) -> list[Weights]:
        return [{EVERYTHING: 1.0}, self.differences(t)]

    def field(self, branches: Branches) -> VectorField:
        def guided(t: Tensor, x: Tensor) -> Tensor:
            here, weights = self.calls(float(t))
            conditional = branches(t, x, here)[EVERYTHING]
            if not weights:
                return conditional
            later = (t + self.ahead).clamp_max(1)
            return conditional + self.combine(weights, branches(later, x + (later - t) * conditional, weights))

        return guided
