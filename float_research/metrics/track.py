"""The motion of a clip as its file holds it, from which metrics can be computed again."""

from dataclasses import dataclass, fields
from pathlib import Path

from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from float_research.errors import UserError
from float_research.files import whole

SUFFIX = ".motion.safetensors"


@dataclass(frozen=True, kw_only=True)
class MotionTrack:
    """`motion`: the sampled latents. `directions`: the columns of Q, orthonormal. `emotion`: what each frame was
    conditioned on. `chunk_starts`: first frames of the chunks.
    """

    motion: Float[Tensor, "t d"]
    directions: Float[Tensor, "d m"]
    emotion: Float[Tensor, "t e"]
    chunk_starts: Int[Tensor, " c"]

    def save(self, path: Path) -> None:
        with whole(path) as part:
            save_file(
                {field.name: getattr(self, field.name).detach().cpu().contiguous() for field in fields(self)}, part
            )


def load_track(path: Path) -> MotionTrack:
    """Raises a UserError for a file that is missing or holds no motion."""
    try:
        return MotionTrack(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise UserError(f"{path} cannot be read as motion ({error}); run the clip again") from error
