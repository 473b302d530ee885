"""An atlas whose meanings are exactly what its map says."""

import torch
from torch import Tensor

from float_research.motion.atlas import Atlas
from float_research.types import Meaning


def exact_atlas(meanings: list[Meaning], map: Tensor, *, offset: Tensor, covariance: Tensor) -> Atlas:
    k, m = map.shape
    ones = torch.ones(k, dtype=torch.float64)
    return Atlas(
        weights="w",
        meanings=meanings,
        map=map,
        offset=offset,
        r2=ones,
        r2_within=ones,
        residual=ones * 1e-6,
        mean=torch.zeros(m, dtype=torch.float64),
        covariance=covariance,
        low=-torch.ones(m, dtype=torch.float64),
        high=torch.ones(m, dtype=torch.float64),
    )
