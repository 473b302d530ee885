"""Checks settings from a record, which are untrusted data: the classes they may name, and that they do nothing else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from float_research.errors import UserError, printable

TARGET, PARTIAL = "_target_", "_partial_"
RENAMED = {
    "float_research.tracking.lightning_tracker.LightningTracker": (
        "float_research.tracking.lightning_logger.LightningLogger"
    ),
    "float_research.tracking.mlflow_tracker.MlflowTracker": "float_research.tracking.mlflow_logger.MlflowLogger",
}
"""Classes that older records name, and their names now."""
FORMER = {"logger": {"float_research.tracking.lightning_logger.LightningLogger"}}
"""Classes that older records name in a group whose files no longer do."""


def renamed(config: Any) -> Any:
    """Returns recorded settings with the present names of classes."""
    if isinstance(config, Mapping):
        return {
            key: RENAMED.get(str(value), value) if key == TARGET else renamed(value) for key, value in config.items()
        }
    return [renamed(value) for value in config] if isinstance(config, list) else config


def check_record(config: Mapping[Any, Any], source: Path, folder: Path, trusted: Sequence[str]) -> None:
    """Raises a UserError for settings, read from `source`, that could do more than choose and configure parts.

    Each class must be named by a file of its group in `folder`, our `conf/`, or belong to a `trusted` module.
    Interpolations are refused, and so are Hydra's other keys that begin with an underscore.
    """
    for keys, value in leaves(config):
        place = printable(".".join(map(str, keys)))
        if isinstance(value, str) and "${" in value:
            raise UserError(
                f"{source}: {place}={printable(value)} contains ${{, which would be read as an interpolation; "
                "repeat the run with names without it"
            )
        words = [key for key in keys if isinstance(key, str) and key.startswith("_")]
        if words == [PARTIAL] and isinstance(value, bool):
            continue
        if words and words != [TARGET]:
            raise UserError(f"{source}: {place} is not allowed in a record; repeat the run")
        if words and not (keys[-1] == TARGET and isinstance(value, str) and is_allowed(keys, value, folder, trusted)):
            raise UserError(
                f"{source}: {place}={printable(value)} is not a part of float-research for this setting; "
                "if it is your own class, name its module with trust=MODULE"
            )


def leaves(node: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yields key path and value of every scalar and every empty mapping or list."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*keys, key))
    if not items:
        yield keys, node


def is_allowed(keys: Sequence[Any], target: str, folder: Path, trusted: Sequence[str]) -> bool:
    """Returns whether a class is allowed at `keys`."""
    if any(target.startswith(f"{module}.") for module in trusted):
        return is_class(target)
    return target in targets(str(keys[0]), folder) | FORMER.get(str(keys[0]), set())


@cache
def targets(group: str, folder: Path) -> frozenset[str]:
    """Returns the classes that a group's files name, including the files and groups in their defaults lists."""
    if not re.fullmatch(r"\w+", group):
        return frozenset()
    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / group).glob("*.yaml"))]
    shared = {name for text in texts for name in re.findall(r"- /(\w+/\w+)@", text)}
    texts += [(folder / f"{name}.yaml").read_text(encoding="utf-8") for name in sorted(shared)]
    found = {name for text in texts for name in re.findall(rf"{TARGET}: *([\w.]+)", text)}
    others = {name for text in texts for name in re.findall(r"- /(\w+)@", text)} - {group}
    return frozenset(found.union(*(targets(other, folder) for other in others)))


def is_class(target: str) -> bool:
    """Returns whether a dotted name is a class defined in the module it names."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__ == module
