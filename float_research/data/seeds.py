"""Several seeds in one run: every clip once for each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from float_research.data.clips import file_name
from float_research.errors import UserError, printable
from float_research.types import Clip


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
