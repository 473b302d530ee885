"""Values at given seconds, interpolated linearly: the settings that change over a clip."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError


def check_times(what: str, times: Sequence[float]) -> None:
    """Raises a UserError unless there is a time, and all increase strictly."""
    if not times or any(b <= a for a, b in itertools.pairwise(times)):
        raise UserError(f"{what} must have at least one time, in strictly increasing order, not {list(times)}")


def interpolate(
    at: Float[Tensor, " t"], times: Float[Tensor, " k"], values: Float[Tensor, "k e"]
) -> Float[Tensor, "t e"]:
    """Interpolates linearly between the times, constant outside them."""
    if len(times) == 1:
        return values.expand(len(at), -1)
    right = torch.searchsorted(times, at).clamp(1, len(times) - 1)
    span = times[right] - times[right - 1]
    weight = ((at - times[right - 1]) / span).clamp(0, 1)[:, None].to(values.dtype)
    return values[right - 1] + weight * (values[right] - values[right - 1])
