"""Speech with phones."""

from typing import NamedTuple


class Phone(NamedTuple):
    """A phone."""

    label: str
    start_s: float
    end_s: float
    stress: float
