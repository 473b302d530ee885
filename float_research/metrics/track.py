"""The motion of a clip as stored in its file, from which metrics can be computed again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from float_research.errors import reading
from float_research.files import whole
from float_research.tensors import read_safetensors, save_tensors

SUFFIX = ".motion.safetensors"
RENAMED = {"chunk_starts": "window_starts"}
"""Tensors of older files, and their names now."""


@dataclass(frozen=True, kw_only=True)
class MotionTrack:
    """The motion of a clip.

    `motion`: the sampled latents. `directions`: the orthonormal columns of Q. `emotion`: the condition of each frame.
    `window_starts`: first frames of the windows.
    """

    motion: Float[Tensor, "t d"]
    directions: Float[Tensor, "d m"]
    emotion: Float[Tensor, "t e"]
    window_starts: Int[Tensor, " c"]

    def save(self, path: Path) -> None:
        with whole(path) as part:
            save_tensors({field.name: getattr(self, field.name) for field in fields(self)}, part)


def load_track(path: Path) -> MotionTrack:
    """Reads a motion file. Raises a UserError for one that is missing, damaged, or without motion."""
    what, remedy = "motion file", "run the clip again"
    tensors, _ = read_safetensors(path, what=what, remedy=remedy)
    with reading(f"{what} {path}", remedy):
        tensors = {RENAMED.get(name, name): tensor for name, tensor in tensors.items()}
        check(tensors)
        return MotionTrack(**tensors)


def check(tensors: Mapping[str, Tensor]) -> None:
    """Raises a ValueError for tensors that are not those of a track, or whose shapes do not match."""
    names = {field.name for field in fields(MotionTrack)}
    if set(tensors) != names:
        raise ValueError(f"it holds {', '.join(sorted(tensors)) or 'nothing'} instead of {', '.join(sorted(names))}")
    motion, directions, emotion, starts = (tensors[field.name] for field in fields(MotionTrack))
    if not all(value.is_floating_point() and value.ndim == 2 for value in (motion, directions, emotion)):
        raise ValueError("its motion, directions and emotion are not matrices of floats")
    if not len(motion) == len(emotion) > 0 or motion.shape[1] != len(directions):
        raise ValueError(
            f"its motion {list(motion.shape)}, directions {list(directions.shape)} and emotion {list(emotion.shape)} "
            "do not match"
        )
    whole_numbers = starts.ndim == 1 and not starts.is_floating_point() and not starts.is_complex()
    if not whole_numbers or not all(0 <= start < len(motion) for start in starts.tolist()):
        raise ValueError(f"its windows do not start within its {len(motion)} frames")
