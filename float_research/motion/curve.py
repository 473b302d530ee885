"""Strengths of edits: a number, or keyframes over the seconds of a clip."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, printable
from float_research.keyframes import check_times, interpolate

Strength = Any
"""A number, or a list of keyframes `{time_s: …, value: …}`, as it was given; `Curve` checks it."""
KEYS = {"time_s", "value"}


class Curve:
    """A number, or keyframes that are interpolated linearly, constant before the first and after the last.

    Raises:
        UserError: a value is not a number from `low` to `high`, or a keyframe is incomplete or out of order.
    """

    def __init__(self, name: str, given: Strength, *, low: float, high: float) -> None:
        keyframes = [{"time_s": 0.0, "value": given}] if isinstance(given, int | float) else given
        if isinstance(keyframes, str) or not isinstance(keyframes, Sequence):
            raise UserError(f"{name}={printable(given)} must be a number, or a list of {{time_s: …, value: …}}")
        for frame in keyframes:
            if not isinstance(frame, Mapping) or set(frame) != KEYS:
                raise UserError(f"{name}: keyframe {printable(frame)} must have exactly the keys time_s and value")
            for key, value in frame.items():
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise UserError(f"{name}: {key}={printable(value)} must be a number")
            if not low <= frame["value"] <= high:
                raise UserError(f"{name}={printable(frame['value'])} must lie between {low:g} and {high:g}")
        check_times(f"{name}: keyframes", [frame["time_s"] for frame in keyframes])
        self._times = torch.tensor([float(frame["time_s"]) for frame in keyframes], dtype=torch.float64)
        self._values = torch.tensor([[float(frame["value"])] for frame in keyframes], dtype=torch.float64)

    def __call__(self, times_s: Float[Tensor, " t"]) -> Float[Tensor, "t 1"]:
        """Returns the values at times, in seconds."""
        return interpolate(times_s.double(), self._times.to(times_s.device), self._values.to(times_s.device))
