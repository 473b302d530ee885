"""Repeats of a finished run in another folder, with changes: its recorded settings, and what differs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from float_research.compose import check_single_seed, compose_config, resolved
from float_research.errors import UserError, printable, reading
from float_research.options import config_folder, options_of
from float_research.packages import package_versions
from float_research.texts import read_yaml
from float_research.tracking.record import CLIPS, CONFIG, PACKAGES, PLACES, RECORD, identity, read_record
from float_research.tracking.runs import word
from float_research.trust import TARGET, check_record, renamed

UNSET = "not set"
Leaves = Mapping[tuple[Any, ...], Any]


@dataclass(frozen=True, kw_only=True)
class Again:
    """The settings of a repeated run, the record of the first run, and the settings that differ."""

    config: DictConfig
    record: Mapping[str, Any]
    differs: Sequence[str]


def again(folder: Path, overrides: Sequence[str], output_dir: Path, trusted: Sequence[str] = ()) -> Again:
    """Returns a run's settings with `overrides`. Defaults that changed since keep their recorded values.

    Raises:
        UserError: there is no finished run in `folder`, or its record holds more than data.
    """
    record, path = read_record(folder / RECORD), folder / CONFIG
    with reading(path, "choose another run"):
        stored = renamed(read_yaml(path, what="settings", remedy="choose another run"))
        if not isinstance(stored, dict):
            raise UserError(f"{path} does not hold the settings of a run; choose another run")
        stored = {**dict.fromkeys(CLIPS), **stored}  # older records lack them
        check_record(stored, path, config_folder(), trusted)
        first = [str(text) for text in record.get("overrides") or []]
        for text in first:
            if "${" in text or text.lstrip("+~").startswith("hydra"):
                raise UserError(f"{folder / RECORD}: {printable(text)} is not a setting of a run; choose another run")
    place = [f"output_dir={json.dumps(str(output_dir), ensure_ascii=False)}"]
    first = [text for text in first if text.lstrip("+~").partition("=")[0] not in ("output_dir", "resume")]
    defaults = resolved(compose_config([*first, *place]))
    if options := list(changed_options(stored, defaults)):
        first += options
        defaults = resolved(compose_config([*first, *place]))
    now = compose_config([*first, *overrides, *place])
    merge(now, leaves(stored), leaves(defaults), leaves(resolved(now)))
    check_single_seed(now, overrides)
    check_record(resolved(now), path, config_folder(), trusted)
    return Again(config=now, record=record, differs=list(differences(stored, resolved(now))))


def changed_options(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields an override for each config group whose default option has changed since."""
    for group, node in then.items():
        target, default = (each.get(TARGET) if isinstance(each, Mapping) else None for each in (node, now.get(group)))
        if target and default and word(target) != word(default) and word(target) in options_of(group):
            yield f"{group}={word(target)}"


def merge(config: DictConfig, then: Leaves, defaults: Leaves, now: Leaves) -> None:
    """Restores recorded values where a default has changed since and no new override sets the value."""
    for keys, value in then.items():
        changed = keys in defaults and value != defaults[keys] and now.get(keys) == defaults[keys]
        if changed and TARGET not in keys and keys[0] not in PLACES:
            OmegaConf.update(config, ".".join(map(str, keys)), value)


def leaves(node: Any, keys: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Returns key path → value. A list is a value."""
    if not isinstance(node, Mapping):
        return {keys: node}
    return {place: value for key, child in node.items() for place, value in leaves(child, (*keys, key)).items()}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each setting that differs."""
    before, after = leaves(then), leaves(now)
    for keys in dict.fromkeys([*before, *after]):
        old, new = before.get(keys, UNSET), after.get(keys, UNSET)
        if old != new and keys[0] not in ("output_dir", "time", "resume"):
            yield f"{printable('.'.join(map(str, keys)))}: {printable(old, 200)} → {printable(new, 200)}"


def other_code(made: Again) -> Iterator[str]:
    """Yields a line for each difference in code and package versions."""
    record, config = made.record, resolved(made.config)
    if record.get("sources") != identity(config, "").sources:
        commit = (record.get("git") or {}).get("commit") or "unknown"
        yield f"code: differs from the run's, at commit {printable(commit)}; see changes.patch and code/ in its folder"
    versions = record.get("versions")
    for name, version in package_versions(PACKAGES).items():
        then = versions.get(name, UNSET) if isinstance(versions, Mapping) else UNSET
        if then != version:
            yield f"{name}: {printable(then)} → {version}"


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each clip: whether its inputs and its motion equal those of the first run."""
    before = {clip.get("id"): clip for clip in then["clips"]}
    for clip in now["clips"]:
        first, name = before.get(clip["id"]), printable(clip["id"])
        if first is None:
            yield f"{name}: not in the first run"
            continue
        others = [kind for kind in ("image", "audio") if first.get(f"{kind}_sha256") != clip[f"{kind}_sha256"]]
        if others:
            yield f"{name}: other {' and '.join(others)}"
        elif first.get("motion_sha256") == clip["motion_sha256"]:
            yield f"{name}: the same motion, bit for bit"
        else:
            yield f"{name}: other motion"
