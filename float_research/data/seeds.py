"""Several seeds in one run: every clip once for each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from float_research.data.clips import file_name
from float_research.data.manifest import MAX_SEED
from float_research.errors import UserError, printable
from float_research.types import Clip

MAX_SEEDS = 1000
"""The most that a record holds."""


def check_seeds(seeds: Sequence[object]) -> None:
    """Raises a UserError unless the seeds are distinct whole numbers."""
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise UserError(f"seeds: {printable(seed)} is not a whole number from 0 to {MAX_SEED}")
    if not 0 < len(seeds) <= MAX_SEEDS:
        raise UserError(f"seeds has {len(seeds)} numbers; give 1 to {MAX_SEEDS}, as in 'seeds=[15,16,17]', or null")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise UserError(f"seeds={printable(list(seeds))} has {twice} twice; give each seed once")


def seeded(clips: Iterable[Clip], seeds: Sequence[int]) -> Iterator[Clip]:
    """Yields each clip once for each seed, with the seed in its id.

    Its noise is that of a run with this seed alone, see `Clip.noise_id`.

    Raises:
        UserError: a clip has a seed of its own, or two have the same id.
    """
    ids = set[str]()
    for clip in clips:
        if clip.seed is not None:
            raise UserError(
                f"clip {printable(clip.id)} has the seed {clip.seed} of its own, so seeds={list(seeds)} has no effect "
                "on it; drop one of them"
            )
        for seed in seeds:
            id = file_name(f"{clip.id}-seed{seed}")
            if id in ids:
                raise UserError(f"clip id {id!r} occurs more than once, for clip {printable(clip.id)}; rename a file")
            ids.add(id)
            yield replace(clip, id=id, base_id=clip.id, seed=seed)
