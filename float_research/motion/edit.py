"""The interface of edits, and the edits that need no meaning of the directions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from float_research.errors import UserError, printable
from float_research.motion.atlas import Atlas, check_weights, load_atlas
from float_research.motion.curve import Curve, Strength

PORTRAIT, MEAN = "portrait", "mean"
"""What an edit takes as rest: the coordinates of the portrait, or the mean of the clip."""
MAX_SCALE = 10.0


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Motion as coordinates `λ = r Q` along the decoder's m orthonormal directions, in float64.

    `start`: number of the first frame within its clip. `portrait`: the coordinates of the portrait. `video`: returns
    those of all frames of a video file. `own`: returns those of all frames of the video that the portrait is of.
    """

    values: Float[Tensor, "t m"]
    portrait: Float[Tensor, " m"]
    video: Callable[[str], Float[Tensor, "n m"]]
    own: Callable[[], Float[Tensor, "n m"]]
    start: int
    fps: float

    @property
    def frames(self) -> Int[Tensor, " t"]:
        """The number of each frame."""
        return torch.arange(self.start, self.start + len(self.values), device=self.values.device)

    @property
    def times_s(self) -> Float[Tensor, " t"]:
        """The time of each frame."""
        return self.frames.double() / self.fps


class Edit(ABC):
    """Edits the motion coordinates of a clip, with a `strength` within `limits`."""

    strength: Strength
    limits: ClassVar[tuple[float, float]] = (0.0, MAX_SCALE)

    def __post_init__(self) -> None:
        self.strength_at(torch.zeros(1))

    def strength_at(self, times_s: Float[Tensor, " t"]) -> Float[Tensor, "t 1"]:
        """Returns the strength at times. Raises a UserError if it is none, or outside of its limits."""
        low, high = self.limits
        return Curve("motion: strength", self.strength, low=low, high=high)(times_s)

    @property
    def whole(self) -> bool:
        """Whether it needs the complete motion of a clip. Otherwise later frames may still be sampled meanwhile."""
        return False

    @property
    def atlas_place(self) -> str | None:
        """The file of its atlas, if it needs one."""
        return None

    @property
    def atlas(self) -> Atlas | None:
        """What it knows of the directions, if anything."""
        return None if self.atlas_place is None else load_atlas(Path(self.atlas_place))

    @property
    def driver(self) -> str | None:
        """The video file that motion is taken from, if any."""
        return None

    @property
    def dubs(self) -> bool:
        """Whether the result is shown in the video that the portrait is of."""
        return False

    def check_weights(self, weights: str) -> None:
        """Raises a UserError if its atlas was made from other weights than those with this hash."""
        if self.atlas is not None:
            check_weights(self.atlas, str(self.atlas_place), weights)

    @abstractmethod
    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        """Returns the edited coordinates."""

    def check(self, num_directions: int) -> None:
        """Raises a UserError if the edit does not fit the number of the model's directions."""
        if self.atlas is not None:
            self.atlas.check_directions(num_directions)


def rest(around: str, motion: Coordinates) -> Float[Tensor, " m"]:
    """Returns the coordinates that count as rest."""
    return motion.portrait if around == PORTRAIT else motion.values.mean(0)


def check_around(name: str, around: str) -> None:
    if around not in (PORTRAIT, MEAN):
        raise UserError(f"{name}={printable(around)} is unknown; choose {PORTRAIT} or {MEAN}")


def check_chosen(name: str, directions: Sequence[int] | None, num_directions: int) -> None:
    """Raises a UserError for a direction that the model does not have; directions are counted from 0."""
    for chosen in directions or ():
        if not 0 <= chosen < num_directions:
            raise UserError(f"{name}={chosen} must be one of the model's directions, 0 to {num_directions - 1}")


@dataclass(frozen=True, kw_only=True)
class OfDirections(Edit):
    """An edit of some `directions`, counted from 0; null: all."""

    directions: Sequence[int] | None

    def check(self, num_directions: int) -> None:
        check_chosen(f"motion.{type(self).__name__.lower()}.directions", self.directions, num_directions)

    def chosen(self, motion: Coordinates) -> Float[Tensor, " m"]:
        """Returns 1 for each direction that the edit changes, 0 for the others."""
        mask = torch.zeros_like(motion.portrait)
        mask[slice(None) if self.directions is None else list(self.directions)] = 1
        return mask


@dataclass(frozen=True, kw_only=True)
class Scale(OfDirections):
    """Scales the motion around rest: `λ + (s - 1) (λ - λ_rest)`. `around`: portrait or mean.

    `strength` s: a number or keyframes; 1 changes nothing, 0 freezes at rest.
    """

    strength: Strength
    around: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_around("motion.scale.around", self.around)

    @property
    def whole(self) -> bool:
        return self.around == MEAN

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength = self.strength_at(motion.times_s)
        moved = motion.values - rest(self.around, motion)
        return motion.values + (strength - 1) * moved * self.chosen(motion)


@dataclass(frozen=True, kw_only=True)
class Freeze(OfDirections):
    """Holds directions still from `start_s` to `end_s`, null: the end, at their coordinates at the first such frame.

    `strength`: the share of the motion that is removed, 0 to 1; a number or keyframes.
    """

    start_s: float
    end_s: float | None
    strength: Strength

    limits = (0.0, 1.0)

    @property
    def whole(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise UserError(
                f"motion.freeze.start_s={self.start_s} must be 0 or more, and before motion.freeze.end_s={self.end_s}"
            )

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        times = motion.times_s
        during = times >= self.start_s - 0.5 / motion.fps
        if self.end_s is not None:
            during &= times < self.end_s - 0.5 / motion.fps
        if not during.any():
            return motion.values
        held = motion.values[int(during.nonzero()[0])]
        share = self.strength_at(times) * during[:, None]
        return motion.values + share * (held - motion.values) * self.chosen(motion)


@dataclass(frozen=True, kw_only=True)
class Offset(Edit):
    """Adds `strength` × `coordinates` to the motion: direction, counted from 0 → latent units.

    `strength`: a number or keyframes; 0 changes nothing.
    """

    coordinates: Mapping[int, float]
    strength: Strength

    limits = (-MAX_SCALE, MAX_SCALE)

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction, value in self.coordinates.items():
            if not isinstance(direction, int):
                raise UserError(f"motion.offset.coordinates: {printable(direction)} must be the number of a direction")
            Curve(f"motion.offset.coordinates.{direction}", value, low=-100, high=100)

    def check(self, num_directions: int) -> None:
        check_chosen("motion.offset.coordinates", list(self.coordinates), num_directions)

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        added = torch.zeros_like(motion.portrait)
        for direction, value in self.coordinates.items():
            added[direction] = value
        return motion.values + self.strength_at(motion.times_s) * added


@dataclass(frozen=True, kw_only=True)
class Smooth(OfDirections):
    """Low-pass filters the motion without delay: a Butterworth filter of order 2, run forwards and backwards.

    `cut_off_hz`: the frequency at which half the amplitude is left. `strength`: the share of what the filter removes
    that is removed, 0 to 1; a number or keyframes.
    """

    cut_off_hz: float
    strength: Strength

    limits = (0.0, 1.0)

    @property
    def whole(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cut_off_hz <= 0:
            raise UserError(f"motion.smooth.cut_off_hz={self.cut_off_hz} must be positive")

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        if self.cut_off_hz >= motion.fps / 2:
            raise UserError(
                f"motion.smooth.cut_off_hz={self.cut_off_hz:g} must be below half the frame rate, {motion.fps / 2:g} Hz"
            )
        strength = self.strength_at(motion.times_s)
        from scipy import signal  # which takes half a second

        sections = signal.butter(2, self.cut_off_hz, fs=motion.fps, output="sos")
        padded = min(len(motion.values) - 1, round(3 * motion.fps / self.cut_off_hz))
        filtered = signal.sosfiltfilt(sections, motion.values.cpu().numpy(), axis=0, padlen=padded)
        smooth = torch.from_numpy(filtered.copy()).to(motion.values)
        return motion.values + strength * (smooth - motion.values) * self.chosen(motion)
