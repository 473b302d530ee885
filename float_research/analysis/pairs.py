"""Clips of several settings in pairs: the same clip and seed, with the same recording and portrait."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np
import pandas as pd
from jaxtyping import Float

from float_research.analysis.crossed import Design
from float_research.analysis.load import SETTINGS, varying
from float_research.analysis.numbers import COSTS, known_metrics, numbers_of_runs
from float_research.errors import UserError, guess, printable
from float_research.metrics.metric import Better, Number
from float_research.program import command
from float_research.texts import count
from float_research.tracking.runs import OURS, SOURCE, parse_overrides

KEY = ["clip", "seed"]
Groups = Mapping[str, pd.DataFrame]
"""Name of a setting → its rows of `load_clips`."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """One number of all settings over the same pairs. `runs` has a row per setting, in the order of `labels`.

    Its last axis are other settings, over which each pair is averaged.
    """

    number: Number
    labels: Sequence[str]
    runs: Float[np.ndarray, "s n k"]
    design: Design

    @cached_property
    def values(self) -> Float[np.ndarray, "s n"]:
        return self.runs.mean(2)

    @cached_property
    def compared(self) -> Float[np.ndarray, "s n"]:
        """The values, or the distances to the one that the number is best close to."""
        better = self.number.better
        return np.abs(self.runs - better).mean(2) if isinstance(better, float) else self.values

    @property
    def worth(self) -> Float[np.ndarray, "s n"]:
        """What is compared, turned so that higher is better."""
        return self.compared if self.number.better == Better.HIGHER else -self.compared

    @property
    def best(self) -> int | None:
        """The place of the setting with the best mean; None for a number without a better direction."""
        return None if self.number.better is None else int(self.worth.mean(1).argmax())

    @property
    def means(self) -> dict[str, float]:
        return dict(zip(self.labels, self.values.mean(1).tolist(), strict=True))


def settings(clips: pd.DataFrame, chosen: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Returns the clips of each chosen setting, such as `solver=euler` or `solver=euler,nfe=8`.

    Without any, the clips are divided by all settings that vary, except for seeds and inputs.
    """
    if chosen:
        return {choice: clips[_rows_of(clips, choice)] for choice in chosen}
    names = compared_names(clips)
    if not names:
        raise UserError("these runs do not differ in a setting; give two runs, or a sweep over a setting")
    return {str(label): group for label, group in clips.groupby(_labels(clips, names), sort=False)}


def compared_names(clips: pd.DataFrame) -> list[str]:
    """Returns the settings that vary, except for seeds and inputs."""
    return [name for name in varying(clips) if name != "seed" and not name.startswith("data.")]


def matched(groups: Groups) -> dict[str, Groups]:
    """Divides all groups by the other settings that vary within them, if these are the same in all: `nfe=4`, ….

    Otherwise, or if none varies, the only part is that of all clips, without a name.
    """
    names = list(dict.fromkeys(name for clips in groups.values() for name in compared_names(clips)))
    if not names:
        return {"": groups}
    parts = {label: dict(list(clips.groupby(_labels(clips, names), sort=False))) for label, clips in groups.items()}
    first, *others = (frozenset(own) for own in parts.values())
    if any(own != first for own in others):
        return {"": groups}
    return {str(part): {label: own[part] for label, own in parts.items()} for part in next(iter(parts.values()))}


def _labels(clips: pd.DataFrame, names: Sequence[str]) -> "pd.Series[str]":
    """Returns `NAME=VALUE,NAME=VALUE` of each clip."""
    return clips[list(names)].apply(
        lambda row: ",".join(f"{name}={row[name]}" for name in names if not pd.isna(row[name])), axis=1
    )


def pair(groups: Groups) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Returns the factors of each pair, and each setting's clips in the order of the pairs.

    Videos from outside that have no seed are paired with the clips of the only seed of the other settings.

    Raises:
        UserError: the settings have different suites or clips, clips occur twice, those without a seed have several
            partners, or there is one pair only.
    """
    _require_one_suite(groups)
    frames = {label: _once(label, clips) for label, clips in seeded(groups).items()}
    (first, base), *others = frames.items()
    for label, frame in others:
        for here, there, own, other in (first, label, base, frame), (label, first, frame, base):
            if len(only := own.index.difference(other.index)):
                raise UserError(
                    f"{first} and {label} were run on different clips: {len(only)} of {len(own)} of {here}, such as "
                    f"{_said(only[0])}, are not in {there}; run both on the same clips and seeds"
                )
        frames[label] = ordered = frame.loc[base.index]
        for kind, column in ("recording", "audio_sha256"), ("portrait", "image_sha256"):
            if column in base and column in ordered:
                differ = base[column].notna() & ordered[column].notna() & (base[column] != ordered[column])
                if differ.any():
                    raise UserError(
                        f"{_said(base.index[differ][0])} has another {kind} in {label} than in {first}; "
                        "run both on the same files"
                    )
    if len(base) < 2:
        raise UserError(
            f"there is one pair only, {_said(base.index[0])}, from which nothing can be told; "
            "run more recordings, portraits or seeds"
        )
    return factors(list(frames.values())), frames


def factors(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns recording, portrait and seed of each row, which all frames (of `keyed`) have in the same order."""
    index = frames[0].index
    recording, portrait = (_content(frames, kind) for kind in ("audio", "image"))
    clip, seed = (pd.Series(index.get_level_values(name), index) for name in KEY)
    return pd.DataFrame({"recording": recording.fillna(clip), "portrait": portrait.fillna(""), "seed": seed})


def _require_one_suite(groups: Groups) -> None:
    """Raises a UserError for clips of different suites. Clips of no suite, such as older ones, may have any partner."""
    first: dict[object, tuple[str, object]] = {}
    for label, clips in groups.items():
        if "suite_sha256" in clips:
            for name, digest in clips[["suite", "suite_sha256"]].dropna().drop_duplicates().itertuples(index=False):
                first.setdefault(digest, (label, name))
    if len(first) > 1:
        (one, known), (other, others), *_ = ((label, _suite(name, digest)) for digest, (label, name) in first.items())
        raise UserError(f"{one} was measured on the suite {known}, and {other} on {others}; compare runs of one suite")


def _suite(name: object, digest: object) -> str:
    return f"{printable(name)} (sha256 {printable(digest, 12)})"


def values_of(name: str, frames: Groups) -> Float[np.ndarray, "s n"]:
    """Returns a number of all settings (rows) and pairs, NaN where all settings lack it.

    Raises:
        UserError: it is one number per run, not a number, or missing in one setting only or in half of the clips.
    """
    if name in numbers_of_runs():
        raise UserError(f"{name} is one number for all clips of a run, so it has no pairs; leave it out")
    columns = [pd.to_numeric(frame[name], errors="coerce") if name in frame else None for frame in frames.values()]
    num_pairs = len(next(iter(frames.values())))
    values = np.stack([np.full(num_pairs, np.nan) if held is None else held.to_numpy(dtype=float) for held in columns])
    _require_same_frames(name, frames)
    lacks = ~np.isfinite(values)
    values[lacks] = np.nan
    if lacks.all():
        _refuse_unmeasured(name, frames)
    alone = lacks & ~lacks.all(0)
    if alone.any():
        worst = int(alone.sum(1).argmax())
        label = list(frames)[worst]
        raise UserError(
            f"{name} is missing in {alone[worst].sum()} of {count(num_pairs, 'clip')} of {label}, but not in other "
            f"settings{_reason(name, frames[label][alone[worst]])}; measure them, or leave {name} out"
        )
    if 2 * (absent := int(lacks.all(0).sum())) >= num_pairs or num_pairs - absent < 2:
        why = _reason(name, next(iter(frames.values()))[lacks.all(0)])
        raise UserError(
            f"{name} is missing in {absent} of {count(num_pairs, 'clip')}{why}; measure them, or leave {name} out"
        )
    return values


def _refuse_unmeasured(name: str, frames: Groups) -> NoReturn:
    """Raises a UserError for a number that no clip has, which may be the wrong name of one."""
    first = next(iter(frames.values()))
    if name in {**known_metrics(), **COSTS} or name in first or _reason(name, first):
        raise UserError(f"no clip has a number {name}{_reason(name, first)}; measure it, or leave {name} out")
    held = [own for own in {**known_metrics(), **COSTS} if own in first and first[own].notna().any()]
    raise UserError(f"no clip has a number {name}{guess(name, held)}; the clips have {', '.join(held) or 'none'}")


def _require_same_frames(name: str, frames: Groups) -> None:
    """Raises a UserError if a number was measured on encoded videos in one setting, and before encoding in another."""
    encoded: dict[bool, str] = {}
    for label, frame in frames.items():
        if name in frame and "from_video" in frame:
            for listed in frame["from_video"][frame[name].notna()].dropna().unique():
                encoded.setdefault(name in json.loads(listed), label)
    if len(encoded) > 1:
        raise UserError(
            f"{name} was measured on the encoded videos of {encoded[True]}, but before encoding in {encoded[False]}; "
            f"measure {encoded[False]} on its videos too, with {command('measure')} FOLDER"
        )


def _rows_of(clips: pd.DataFrame, choice: str) -> "pd.Series[bool]":
    """Returns which clips have all settings of `NAME=VALUE,NAME=VALUE`."""
    rows = pd.Series(True, clips.index)
    for name, value in parse_overrides(choice.split(",")):
        if name not in clips.attrs[SETTINGS]:
            raise UserError(f"{choice}: {name} is no setting of these runs; they differ in {', '.join(varying(clips))}")
        rows &= clips[name].map(lambda held, value=value: held == value or str(held) == str(value))
    if not rows.any():
        held = ", ".join(printable(value) for value in dict.fromkeys(clips[name].astype(str)))
        raise UserError(f"no run has {choice}; {name} is {held}")
    return rows


def _ids(clips: pd.DataFrame) -> pd.Series:
    """Returns the ids of clips without a seed in them."""
    return clips["base_id"].fillna(clips["clip"]) if "base_id" in clips else clips["clip"]


def keyed(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns the clips by id, without a seed in it, and seed."""
    seed = clips["seed"].astype(object) if "seed" in clips else pd.Series(None, clips.index, dtype=object)
    return clips.assign(seed=seed.where(seed.notna(), -1).infer_objects(), clip=_ids(clips)).set_index(KEY)


def _once(label: str, clips: pd.DataFrame) -> pd.DataFrame:
    """Returns `keyed` clips. Raises a UserError for one that occurs twice."""
    frame = keyed(clips)
    if frame.index.is_unique:
        return frame
    key = frame.index[frame.index.duplicated()][0]
    twice = frame.loc[[key]]
    for name in clips.attrs.get(SETTINGS, ()):
        if name in twice and twice[name].astype(str).nunique() > 1:
            held = list(dict.fromkeys(twice[name].astype(str)))
            raise UserError(
                f"{label} has {_said(key)} {len(twice)} times, for {name}={', '.join(map(printable, held))}; "
                f"choose one, as in {label},{name}={printable(held[0])}"
            )
    runs = ", ".join(map(printable, twice["run"]))
    raise UserError(f"{label} has {_said(key)} {len(twice)} times, in the runs {runs}; compare one of them")


def _content(frames: Sequence[pd.DataFrame], kind: str) -> pd.Series:
    """Returns what tells inputs of pairs apart: the hash of their content, or their place where no record has a hash.

    A video from outside whose recording or portrait is not known has its partner's.
    """
    found = pd.Series(None, frames[0].index, dtype=object)
    for name in (f"{kind}_sha256", f"{kind}_path"):
        for frame in frames:
            if name in frame:
                known = frame[name] if name.endswith("sha256") else frame[name].mask(from_outside(frame))
                found = found.where(found.notna(), known)
    return found


def from_outside(clips: pd.DataFrame) -> "pd.Series[bool]":
    """Returns which clips no run of ours made."""
    if SOURCE not in clips:
        return pd.Series(False, clips.index)
    return clips[SOURCE].notna() & (clips[SOURCE] != OURS)


def seeded(groups: Groups) -> dict[str, pd.DataFrame]:
    """Gives videos from outside that have no seed that of the other settings, if these have one for a clip.

    Raises:
        UserError: they have several.
    """
    known: dict[object, list[object]] = {}
    for clips in groups.values():
        for clip, held in zip(_ids(clips), clips.get("seed", ()), strict=False):
            seed = int(held) if isinstance(held, float) and held.is_integer() else held
            if not pd.isna(seed) and seed not in known.setdefault(clip, []):
                known[clip].append(seed)
    found = dict(groups)
    for label, clips in groups.items():
        ids, seed = _ids(clips), clips["seed"] if "seed" in clips else pd.Series(np.nan, clips.index)
        lacks = from_outside(clips) & seed.isna()
        for clip in ids[lacks]:
            if len(seeds := known.get(clip, [])) > 1:
                raise UserError(
                    f"{label} has clip {printable(clip)} without a seed, and the others with the seeds "
                    f"{', '.join(map(str, seeds))}; choose one, as in solver=euler,seed={seeds[0]}, "
                    "or measure the videos again with the column seed in a manifest"
                )
        only = ids.map({clip: seeds[0] for clip, seeds in known.items()})
        found[label] = clips.assign(seed=seed.where(~lacks, only)) if lacks.any() else clips
    return found


def doubts(groups: Groups) -> list[str]:
    """Returns notes on what is not known of pairs with videos from outside, or differs between them."""
    notes = []
    for label, clips in groups.items():
        if from_outside(clips).any():
            unknown = [
                kind
                for kind, column in (("recording", "audio_sha256"), ("portrait", "image_sha256"))
                if column not in clips or clips[column].isna().any()
            ]
            if unknown:
                what = " and ".join(unknown)
                notes.append(f"the {what} of videos of {label} is not known; their ids alone pair them")
    rates = {label: sorted(clips["fps"].unique()) for label, clips in groups.items() if "fps" in clips}
    if len(set(map(tuple, rates.values()))) > 1:
        said = ", ".join(f"{label} {'/'.join(f'{rate:g}' for rate in own)}" for label, own in rates.items())
        notes.append(f"the frame rates differ ({said} frames/s), which numbers per frame, such as flicker, depend on")
    return notes


def _said(key: tuple[object, object]) -> str:
    clip, seed = key
    name = f"clip {printable(clip)}" if isinstance(clip, str) else "a clip without an id"  # as in older records
    return name + ("" if seed == -1 else f" with seed {printable(seed)}")


def _reason(name: str, clips: pd.DataFrame) -> str:
    """Returns why the first of these clips lacks a number, in parentheses: its value, or the recorded reason."""
    if name in clips and not clips.empty and pd.notna(clips[name].iloc[0]):
        return f" (it is {printable(clips[name].iloc[0])})"
    if "absent" not in clips or clips.empty:
        return ""
    said = json.loads(clips["absent"].iloc[0]).get(name)
    return f" ({printable(said)})" if said else ""
