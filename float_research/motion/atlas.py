"""What the decoder's directions mean: a linear map from motion coordinates to what a reader sees in the frames."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from float_research.errors import UserError, guess, named, printable, reading
from float_research.files import require_file, whole
from float_research.program import command
from float_research.tensors import AGAIN, read_safetensors, save_tensors
from float_research.types import Meaning

WHAT, METADATA = "atlas", "atlas"
REMEDY = f"{AGAIN}, or make one with {command('directions')}"
MAX_MEANINGS = 1000


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """A linear map `m = M λ + c` from m coordinates to k meanings, and how motion is distributed. All float64.

    `weights`: the hash of the weights that it was made from. `mean`, `covariance`, `low` and `high`: of sampled
    coordinates. `r2`: how well the map predicts held-out clips; `r2_within`, `residual`: R² and the standard deviation
    of the error of the changes within these clips.
    """

    weights: str
    meanings: Sequence[Meaning]
    map: Float[Tensor, "k m"]
    offset: Float[Tensor, " k"]
    r2: Float[Tensor, " k"]
    r2_within: Float[Tensor, " k"]
    residual: Float[Tensor, " k"]
    mean: Float[Tensor, " m"]
    covariance: Float[Tensor, "m m"]
    low: Float[Tensor, " m"]
    high: Float[Tensor, " m"]

    @property
    def names(self) -> list[str]:
        return [meaning.name for meaning in self.meanings]

    def read(self, coordinates: Float[Tensor, "t m"]) -> Float[Tensor, "t k"]:
        """Returns the meanings of motion coordinates."""
        return coordinates @ self.map.T.to(coordinates) + self.offset.to(coordinates)

    def places(self, setting: str, chosen: Sequence[str]) -> list[int]:
        """Returns the places of meanings, named by themselves or by their group, such as `head`.

        Raises:
            UserError: the atlas has no such meaning.
        """
        groups = dict.fromkeys(meaning.group for meaning in self.meanings)
        for name in chosen:
            if name not in groups and name not in self.names:
                known = [*groups, *self.names]
                raise UserError(
                    f"{setting}: this atlas has no meaning {printable(name)}{guess(str(name), known)}; it has "
                    f"{', '.join(known)}"
                )
        return [k for k, meaning in enumerate(self.meanings) if {meaning.name, meaning.group} & set(chosen)]

    def inverse(self, changed: Sequence[int]) -> Float[Tensor, "m c"]:
        """Returns G, where `G Δ` are the likeliest coordinates that change the meanings `changed` by Δ.

        `G = S Mᵀ (M S Mᵀ)⁺` with the rows M of these meanings minimises `Δλᵀ S⁻¹ Δλ` subject to `M Δλ = Δ`, and
        `S⁻¹ = Σ⁻¹ + M_hᵀ N⁻¹ M_h`: the covariance Σ of the motion keeps the change among motions that the model makes,
        and the residual variances N hold the other meanings h as firmly as the map knows them.
        """
        held = [k for k in range(len(self.meanings)) if k not in changed]
        spread, wanted = self.covariance, self.map[list(changed)]
        if held:
            others, noise = self.map[held], torch.diag(self.residual[held].square())
            gain = spread @ others.T @ torch.linalg.pinv(others @ spread @ others.T + noise, hermitian=True)
            spread = spread - gain @ others @ spread
        return spread @ wanted.T @ torch.linalg.pinv(wanted @ spread @ wanted.T, rtol=1e-9, hermitian=True)

    def check_directions(self, num_directions: int) -> None:
        """Raises a UserError if the atlas has another number of directions than the model."""
        if self.map.shape[1] != num_directions:
            raise UserError(
                f"the atlas has {self.map.shape[1]} directions, and the model {num_directions}; make one with "
                f"{command('directions')}"
            )

    def save(self, path: Path) -> None:
        """Writes the atlas atomically."""
        about = {"weights": self.weights, "meanings": [meaning._asdict() for meaning in self.meanings]}
        with whole(path) as part:
            save_tensors({name: getattr(self, name) for name in TENSORS}, part, {METADATA: json.dumps(about)})


TENSORS = ("map", "offset", "r2", "r2_within", "residual", "mean", "covariance", "low", "high")


def load_atlas(path: Path, setting: str = "atlas") -> Atlas:
    """Reads an atlas. Raises a UserError for a file that is missing or damaged, or no atlas."""
    state = require_file(path, WHAT, f"give {setting}=FILE, or make one with {command('directions')}").stat()
    return _load(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _load(path: Path, _changed: int, _size: int) -> Atlas:
    tensors, metadata = read_safetensors(path, what=WHAT, remedy=REMEDY)
    with reading(f"{WHAT} {path}", REMEDY, mistakes=False):
        about = json.loads(metadata[METADATA])
        meanings = [Meaning(**{name: str(part[name]) for name in Meaning._fields}) for part in about["meanings"]]
        atlas = Atlas(weights=str(about["weights"]), meanings=meanings, **{name: tensors[name] for name in TENSORS})
        check(atlas)
    return atlas


def check(atlas: Atlas) -> None:
    """Raises a ValueError for tensors whose shapes, types or values are not those of an atlas."""
    k, m = len(atlas.meanings), len(atlas.mean)
    shapes: dict[str, tuple[int, ...]] = {"map": (k, m), "covariance": (m, m)}
    shapes |= dict.fromkeys(("offset", "r2", "r2_within", "residual"), (k,))
    shapes |= dict.fromkeys(("mean", "low", "high"), (m,))
    if not 0 < k <= MAX_MEANINGS or len(set(atlas.names)) < k:
        raise ValueError(f"it has {k} meanings, or one twice")
    for name, shape in shapes.items():
        value = getattr(atlas, name)
        if value.shape != shape or value.dtype != torch.float64 or not bool(value.isfinite().all()):
            raise ValueError(f"its {name} is not {list(shape)} finite numbers")


def check_weights(atlas: Atlas, path: str, weights: str) -> None:
    """Raises a UserError if an atlas was made from other weights than those with this hash."""
    if atlas.weights != weights:
        raise UserError(
            f"{named(WHAT, path)} was made from other weights than this run uses; make one with "
            f"{command('directions')}, and give it as atlas=FILE"
        )
