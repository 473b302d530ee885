"""Head rotation in degrees: constant, by keyframes, or one row for each frame from a file such as a tracker writes."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, named, printable, reading
from float_research.files import present, require_file
from float_research.motion.curve import Curve, Strength
from float_research.motion.edit import Coordinates
from float_research.motion.meanings import ByAtlas
from float_research.texts import read_text

ANGLES, DEGREES = ("yaw", "pitch", "roll"), "°"
WHAT, REMEDY = "pose file", "give a CSV with columns among yaw, pitch, roll, or an NPY of (frames, 3), in degrees"
MAX_DEGREES = 180.0
MAX_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class SetPose(ByAtlas):
    """Sets the rotation of the head: `m + s (target - m)`. Angles are those that the atlas reads, in degrees.

    `yaw`, `pitch`, `roll`: a number, keyframes, or null, which leaves this angle to the model. `poses`: a file with one
    row for each frame of the video, instead; angles that it lacks are left to the model. `strength` s: 0 to 1, a number
    or keyframes; 0 changes nothing.
    """

    yaw: Strength
    pitch: Strength
    roll: Strength
    poses: str | None
    strength: Strength

    limits = (0.0, 1.0)

    def __post_init__(self) -> None:
        given = [name for name in ANGLES if getattr(self, name) is not None]
        if self.poses is not None and given:
            raise UserError(
                f"motion.pose.poses={printable(self.poses)} and motion.pose.{given[0]} both give the pose; give one"
            )
        if self.poses is None and not given:
            raise UserError("motion=pose needs an angle, such as motion.pose.yaw=10, or motion.pose.poses=FILE")
        super().__post_init__()
        places = self.atlas.places("motion.pose", list(self._targets))
        if other := next((self.atlas.meanings[k] for k in places if self.atlas.meanings[k].unit != DEGREES), None):
            raise UserError(
                f"the atlas reads {other.name} in {printable(other.unit)}, not in degrees; make one that does"
            )

    @cached_property
    def _targets(self) -> Mapping[str, Curve | Float[Tensor, " f"]]:
        """The angles to set: as curves, or one number for each frame."""
        if self.poses is not None:
            return read_poses(Path(present(self.poses)))
        given = {name: getattr(self, name) for name in ANGLES}
        return {
            name: Curve(f"motion.pose.{name}", value, low=-MAX_DEGREES, high=MAX_DEGREES)
            for name, value in given.items()
            if value is not None
        }

    def __call__(self, motion: Coordinates, /) -> Float[Tensor, "t m"]:
        strength = self.strength_at(motion.times_s)
        places = [self.atlas.names.index(name) for name in self._targets]
        target = torch.cat([self._target(name, motion) for name in self._targets], 1)
        return self.changed(motion, places, strength * (target - self.atlas.read(motion.values)[:, places]))

    def _target(self, name: str, motion: Coordinates) -> Float[Tensor, "t 1"]:
        target, end = self._targets[name], motion.start + len(motion.values)
        if isinstance(target, Curve):
            return target(motion.times_s)
        if end > len(target):
            raise UserError(
                f"{named(WHAT, self.poses)} has {len(target)} rows, too few for {end} frames at {motion.fps:g} frames "
                "per second; give one row for each frame"
            )
        return target[motion.start : end, None].to(motion.values)


def read_poses(path: Path) -> dict[str, Float[Tensor, " f"]]:
    """Reads angles by name. Raises a UserError for a file without them, or with one that is not finite."""
    size = require_file(path, WHAT, REMEDY).stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{named(WHAT, path)} has {size:,} bytes; give at most {MAX_BYTES:,}")
    with reading(f"{WHAT} {path}", REMEDY):
        found = from_npy(path) if path.suffix.lower() == ".npy" else from_csv(path)
    for name, values in found.items():
        for frame, value in enumerate(values):
            if not math.isfinite(value) or abs(value) > MAX_DEGREES:
                raise UserError(
                    f"{named(WHAT, path)}: {name} of row {frame + 1} is {value}; it must be from "
                    f"{-MAX_DEGREES:g} to {MAX_DEGREES:g} degrees"
                )
    return {name: torch.from_numpy(np.asarray(values, dtype=np.float64)) for name, values in found.items()}


def from_npy(path: Path) -> dict[str, np.ndarray]:
    """Reads yaw, pitch and roll from the columns of an array."""
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2 or array.shape[1] != len(ANGLES) or array.dtype.kind not in "fiu":
        raise ValueError(f"it holds {array.dtype} of shape {array.shape}")
    return {name: array[:, column].astype(np.float64) for column, name in enumerate(ANGLES)}


def from_csv(path: Path) -> dict[str, list[float]]:
    """Reads the columns yaw, pitch and roll, as many of them as there are."""
    rows = csv.DictReader(io.StringIO(read_text(path, what=WHAT, remedy=REMEDY)))
    names = [name for name in ANGLES if name in (rows.fieldnames or ())]
    if not names:
        raise ValueError(f"its columns are {', '.join(map(str, rows.fieldnames or ['none']))}")
    found: dict[str, list[float]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            found[name].append(float(row[name] or "nan"))
    return found
