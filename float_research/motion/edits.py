"""A list of edits, applied to the motion of clips as the sampler returns it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.motion.edit import Coordinates, Edit
from float_research.types import MotionWindow

LIPS = "jaw"
"""The meaning whose correlation with the unedited motion tells what an edit costs in lip sync."""


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What edits need besides motion: the decoder's directions Q, the portrait's motion latent, and the frame rate.

    `video`: returns the motion latents of a video file. `own`: those of the video that the portrait is of.
    """

    directions: Float[Tensor, "d m"]
    portrait: Float[Tensor, " d"]
    video: Callable[[str], Float[Tensor, "n d"]]
    own: Callable[[], Float[Tensor, "n d"]]
    fps: float


@dataclass(frozen=True, kw_only=True)
class Edits:
    """Applies edits one after another. Motion outside of the decoder's directions, `r - r Q Qᵀ`, is left as it is."""

    edits: Mapping[Any, Edit]

    @property
    def whole(self) -> bool:
        """Whether an edit needs the complete motion of a clip."""
        return any(edit.whole for edit in self.edits.values())

    @property
    def drivers(self) -> list[str]:
        """The video files that motion is taken from."""
        return [edit.driver for edit in self.edits.values() if edit.driver is not None]

    @property
    def dubs(self) -> bool:
        """Whether the result is shown in the video that the portrait is of."""
        return any(edit.dubs for edit in self.edits.values())

    def check(self, num_directions: int) -> None:
        """Raises a UserError if an edit does not fit the number of the model's directions."""
        for edit in self.edits.values():
            edit.check(num_directions)

    def windows(
        self, sampled: Iterator[MotionWindow], clips: Sequence[Rest], num_frames: Sequence[int]
    ) -> Iterator[MotionWindow]:
        """Edits windows of several clips, of `num_frames` each, as they are sampled.

        Where an edit needs the complete motion of a clip, its windows follow once the last of them is sampled.
        """
        waiting: dict[int, list[MotionWindow]] = {}
        for window in sampled:
            held = [*waiting.pop(window.index, []), window]
            if self.whole and window.start + len(window.motion) < num_frames[window.index]:
                waiting[window.index] = held
            else:
                yield from self._edited(held, clips[window.index])

    def _edited(self, windows: Sequence[MotionWindow], rest: Rest) -> Iterator[MotionWindow]:
        motion, coordinates = self(torch.cat([window.motion for window in windows]), rest, windows[0].start)
        sizes = [len(window.motion) for window in windows]
        for window, part, pair in zip(windows, motion.split(sizes), coordinates.split(sizes, 1), strict=True):
            yield replace(window, motion=part, edited=pair)

    def __call__(
        self, motion: Float[Tensor, "t d"], rest: Rest, start: int = 0
    ) -> tuple[Float[Tensor, "t d"], Float[Tensor, "2 t m"]]:
        """Returns the edited motion of frames from `start` on, and its coordinates before and after.

        Where nothing changes, it is the motion itself.
        """
        self.check(rest.directions.shape[1])
        directions = rest.directions.cpu().double()  # some devices have no float64

        def coordinates(latents: Float[Tensor, "*t d"]) -> Float[Tensor, "*t m"]:
            return latents.cpu().double() @ directions

        before = coordinates(motion)
        now = Coordinates(
            values=before,
            portrait=coordinates(rest.portrait),
            video=lambda file: coordinates(rest.video(file)),
            own=lambda: coordinates(rest.own()),
            start=start,
            fps=rest.fps,
        )
        for edit in self.edits.values():
            now = replace(now, values=edit(now))
        change = now.values - before
        edited = motion + (change @ directions.T).to(motion) if change.any() else motion
        return edited, torch.stack([before, now.values])

    def record(self, edited: Sequence[Float[Tensor, "2 _ m"]]) -> dict[str, Any] | None:
        """Returns what was changed: the root mean square by meaning, or by direction without an atlas; None if nothing.

        `lips_kept`: the correlation of the jaw, read by the atlas, before and after. `edited`: coordinates before and
        after, of consecutive frames.
        """
        if not edited:
            return None
        pair = torch.cat(list(edited), 1)
        atlas = next((edit.atlas for edit in self.edits.values() if edit.atlas is not None), None)
        if atlas is None:
            names, read, kept = [f"direction_{k:02}" for k in range(pair.shape[2])], pair, None
        else:
            names, read = atlas.names, torch.stack([atlas.read(coordinates) for coordinates in pair])
            kept = correlation(read[:, :, names.index(LIPS)]) if LIPS in names else None
        rms = (read[1] - read[0]).square().mean(0).sqrt()
        return {"names": list(self.edits), "rms": dict(zip(names, rms.tolist(), strict=True)), "lips_kept": kept}


def correlation(pair: Float[Tensor, "2 t"]) -> float | None:
    """Returns Pearson's correlation, or None if one of the two does not move."""
    value = float(torch.corrcoef(pair)[0, 1]) if pair.shape[1] > 1 else math.nan
    return value if math.isfinite(value) else None
