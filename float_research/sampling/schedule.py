"""Guidance scales as functions of flow time t, from 0 (noise) to 1 (data)."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from float_research.errors import UserError

TOLERANCE = 1e-6
"""Tolerance at the ends of an interval, for rounding of t in a solver."""


@runtime_checkable
class Schedule(Protocol):
    """Scale at flow time t."""

    def __call__(self, t: float, /) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant scale."""

    scale: float

    def __call__(self, t: float, /) -> float:
        return self.scale


@dataclass(frozen=True, kw_only=True)
class Linear:
    """`start + (scale - start) t`."""

    start: float
    scale: float

    def __call__(self, t: float, /) -> float:
        return self.start + (self.scale - self.start) * t


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """`start + (scale - start) (1 - cos(π t)) / 2`."""

    start: float
    scale: float

    def __call__(self, t: float, /) -> float:
        return self.start + (self.scale - self.start) * (1 - math.cos(math.pi * t)) / 2


@dataclass(frozen=True, kw_only=True)
class Interval:
    """`scale` within [t_lo, t_hi] and 1 outside (arXiv 2404.07724), which saves branches there."""

    scale: float
    t_lo: float
    t_hi: float

    def __post_init__(self) -> None:
        if not 0 <= self.t_lo <= self.t_hi <= 1:
            raise UserError(f"schedule interval [{self.t_lo}, {self.t_hi}] must satisfy 0 <= t_lo <= t_hi <= 1")

    def __call__(self, t: float, /) -> float:
        return self.scale if self.t_lo - TOLERANCE <= t <= self.t_hi + TOLERANCE else 1.0
