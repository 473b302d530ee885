"""Items of a batch: clips as pairs or as the arguments of a call."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from float_research.errors import UserError
from float_research.types import Clip, FailedClip

Item = Sequence[Any] | Mapping[str, Any]
"""A clip of a batch: `(image, audio)`, or the arguments of a call by name."""
CALL = ("image", "audio", "rate_hz", "emotion", "id")
"""Names of the arguments of a clip; other names are settings."""


def arguments(item: Item, number: int) -> dict[str, Any]:
    """Returns an item of a batch as arguments by name. Raises a UserError for one that is neither pair nor mapping."""
    if isinstance(item, Mapping):
        named = {str(name): value for name, value in item.items()}
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes) and len(item) == 2:
        named = {"image": item[0], "audio": item[1]}
    else:
        raise UserError(
            f"item {number} of the batch is a {type(item).__name__}; give (image, audio), or a dictionary such as "
            "{'image': 'me.png', 'audio': 'hello.wav', 'seed': 3}"
        )
    if missing := [name for name in ("image", "audio") if name not in named]:
        raise UserError(f"item {number} of the batch has no {missing[0]}; give it as {{'{missing[0]}': …}}")
    return named


def failed(item: Mapping[str, Any], error: UserError) -> FailedClip:
    """Returns what a batch yields for an item that cannot be used."""
    id = str(item["id"])
    image, audio = (item.get(name) for name in ("image", "audio"))
    places = [Path(given) if isinstance(given, str | PathLike) else Path(id) for given in (image, audio)]
    return FailedClip(clip=Clip(id=id, image=places[0], audio=places[1]), reason=str(error))
