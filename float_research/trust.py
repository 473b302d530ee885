"""Settings that come from a record are data: which classes they may name, and nothing else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from float_research.errors import UserError, printable

TARGET, PARTIAL = "_target_", "_partial_"


def check_record(config: Mapping[Any, Any], source: Path, folder: Path, trusted: Sequence[str]) -> None:
    """Raises a UserError for settings, read from `source`, that could do more than choose and set parts.

    Each class must be one of those that the files of its group in `folder`, our `conf/`, name, or of a module among
    `trusted`. Interpolations are refused, and so are the other words of Hydra's that begin with an underscore.
    """
    for keys, value in leaves(config):
        place = printable(".".join(map(str, keys)))
        if isinstance(value, str) and "${" in value:
            raise UserError(
                f"{source}: {place}={printable(value)} holds ${{, which would be read as an interpolation; "
                "make the run again with names that do not"
            )
        words = [key for key in keys if isinstance(key, str) and key.startswith("_")]
        if words == [PARTIAL] and isinstance(value, bool):
            continue
        if words and words != [TARGET]:
            raise UserError(f"{source}: {place} is no setting of a record; make the run again")
        if words and not (keys[-1] == TARGET and isinstance(value, str) and allowed(keys, value, folder, trusted)):
            raise UserError(
                f"{source}: {place}={printable(value)} is no part of this framework that belongs there; "
                "if it is a class of yours, name its module with trust=MODULE"
            )


def leaves(node: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value that is no mapping or list, under the keys that lead to it. Empty ones count, too."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*keys, key))
    if not items:
        yield keys, node


def allowed(keys: Sequence[Any], target: str, folder: Path, trusted: Sequence[str]) -> bool:
    """Whether a class may stand at `keys`."""
    if any(target.startswith(f"{module}.") for module in trusted):
        return is_class(target)
    return target in targets(str(keys[0]), folder)


@cache
def targets(group: str, folder: Path) -> frozenset[str]:
    """The classes that the files of a group name, and those of the files and groups that their defaults take in."""
    if not re.fullmatch(r"\w+", group):
        return frozenset()
    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / group).glob("*.yaml"))]
    shared = {name for text in texts for name in re.findall(r"- /(\w+/\w+)@", text)}
    texts += [(folder / f"{name}.yaml").read_text(encoding="utf-8") for name in sorted(shared)]
    found = {name for text in texts for name in re.findall(rf"{TARGET}: *([\w.]+)", text)}
    others = {name for text in texts for name in re.findall(r"- /(\w+)@", text)} - {group}
    return frozenset(found.union(*(targets(other, folder) for other in others)))


def is_class(target: str) -> bool:
    """Whether a dotted name is a class of the very module it names."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__ == module
