"""File names of videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from float_research.data.clips import file_name
from float_research.errors import UserError
from float_research.files import short_name
from float_research.types import Clip


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Fills in `pattern` with {id}, {image} and {audio} of a clip and the `values` of the run.

    A name of more than `room` bytes is cut and ends with its hash.
    """

    pattern: str
    values: Mapping[str, Any]
    room: int

    def __call__(self, clip: Clip) -> str:
        values = {**self.values, "id": clip.id, "image": clip.image.stem, "audio": clip.audio.stem}
        if clip.emotion is not None:
            values["emotion"] = clip.emotion
        if clip.seed is not None:
            values["seed"] = clip.seed
        try:
            return short_name(file_name(self.pattern.format_map(values)), self.room)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise UserError(
                f"name={self.pattern!r} cannot be filled in ({error}); it may use {{{'}, {'.join(sorted(values))}}}"
            ) from error
