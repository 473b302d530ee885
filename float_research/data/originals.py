"""What the frames of a clip were cut from: its portrait, for all of them."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from float_research.types import FilmedFace, Image, Original, Region


@dataclass(frozen=True, kw_only=True)
class Still:
    """A portrait as the original of every frame. `read` returns it, and is called once, when it is first needed.

    `crop`: the face crop. `face`: the cropper's facts about it. `video`: the video that it is a frame of, if any, at a
    frame rate.
    """

    read: Callable[[], Image]
    crop: Image
    face: Mapping[str, Any]
    video: Callable[[float], FilmedFace] | None = None

    def __call__(self) -> Iterator[Original]:
        return itertools.repeat(self._original)

    @cached_property
    def _original(self) -> Original:
        return Original(picture=self.read(), region=region_of(self.face), crop=self.crop)


def region_of(facts: Mapping[str, Any]) -> Region | None:
    """Returns the region among the facts of a crop, or None."""
    values = [value for name in Region._fields if isinstance(value := facts.get(f"crop_{name}"), int)]
    return Region(*values) if len(values) == len(Region._fields) else None
