"""Records of runs: settings, environment, cost and results, in `record.json` of the run's folder."""

import hashlib
import json
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from float_research.errors import UserError, reading, writable
from float_research.files import sha256, whole
from float_research.folders import visible
from float_research.packages import package_versions, platform_module
from float_research.sources import code, parts
from float_research.texts import count, read_json, read_mapping, read_text
from float_research.tracking.schema import check_clip, check_run

if TYPE_CHECKING:  # --help and rejected settings import this module and need no torch
    import torch

    from float_research.types import ClipResult

CONFIG, RECORD, FAILURE = "config.yaml", "record.json", "failure.json"
"""In a run's folder: the first is written at its start, one of the others at its end."""
MARK = "# A run of float-research. The next run in this folder replaces its files.\n"
"""The first line of a run's settings, which identifies its folder."""
PACKAGES = ("float-research", "torch", "torchdiffeq", "transformers", "lightning", "hydra-core", "opencv-python", "av")
PLACES = frozenset(
    {
        "output_dir",
        "on_error",
        "dry_run",
        "resume",
        "submit",
        "name",
        "time",
        "batch_clips",
        "threads",
        "overlap",
        "cache",
        "limits",
        "logger",
        "metrics",
        "metrics_missing",
        "atlas",
    }
)
CLIPS = frozenset({"seeds"})
"""Settings that list the clips of a run, which are identified one by one."""
PLACES_IN_GROUPS = {
    "data": frozenset({"image", "audio", "images", "audios", "file"}),
    "checkpoint": frozenset({"folder", "file"}),
    "face": frozenset({"weights"}),
    "search": frozenset({"at_once"}),
    "trainer": frozenset({"accelerator", "devices", "num_nodes", "strategy", "plugins"}),
}
"""Settings about place, time, batching and reporting of a run, which do not change what it computes."""
CONTENTS = {
    "solver": frozenset({"file"}),
    "time_grid": frozenset({"file"}),
    "motion": frozenset({"file", "poses", "atlas_file"}),
}
"""Settings that name a file, at any depth, which counts by its contents instead of its path."""
APPROXIMATION = frozenset(
    {
        "solver",
        "nfe",
        "budget",
        "time_grid",
        "guidance_reuse",
        "sampling_noise",
        "search",
        "vector_field",
        "decoding",
        "composite",
        "video",
        "data",
        "motion",
    }
)
"""Settings on which the exact motion that solvers approximate does not depend; clips are identified separately."""


UNITS = ("evaluations", "branches", "verified_frames")
"""What costs are counted in; records of older versions lack the last."""
RENAMED = {"rows": "branches", "num_chunks": "num_windows", "chunks": "windows"}
"""Entries of older records, and their names now."""
COMPUTING = ("float_research.inference.module", "float_research.inference.solution")
"""The modules that execute a run's parts."""


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """The identity of a result besides its inputs: digests of settings, weights and code."""

    signature: str
    checkpoint: str
    sources: str

    def __str__(self) -> str:
        return f"{self.signature} {self.checkpoint} {self.sources}"

    def but_for_code(self, run: str) -> bool:
        """Returns whether a result has these settings and weights, regardless of its code."""
        return run.split()[:2] == [self.signature, self.checkpoint]

    def same_code(self, run: str) -> bool:
        """Returns whether a result has this code, regardless of its settings and weights."""
        return run.split()[2:] == [self.sources]


def identity(config: Mapping[str, Any], checkpoint: str, without: Collection[str] = ()) -> RunIdentity:
    """Returns the identity of a resolved config and its weights, `without` some groups and the code of their parts."""
    kept = computing(config, without)
    return RunIdentity(
        signature=signature(config, without), checkpoint=checkpoint, sources=code(*COMPUTING, *parts(kept))
    )


def signature(config: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Returns the SHA-256 of a resolved config without paths, times and devices: equal for equal computations."""
    return hashlib.sha256(json.dumps(computing(config, without), sort_keys=True, default=str).encode()).hexdigest()


def computing(config: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Returns the settings of a resolved config that affect what is computed."""
    return {
        group: {
            key: value
            for key, value in by_contents(settings, CONTENTS.get(group, frozenset())).items()
            if key not in PLACES_IN_GROUPS.get(group, ())
        }
        if isinstance(settings, Mapping)
        else settings
        for group, settings in config.items()
        if group not in PLACES and group not in CLIPS and group not in without
    }


def by_contents(settings: Mapping[Any, Any], files: Collection[str]) -> dict[Any, Any]:
    """Returns settings, of which those that name `files`, at any depth, are replaced by their contents."""
    return {
        key: by_contents(value, files)
        if isinstance(value, Mapping)
        else contents(value)
        if key in files and value is not None
        else value
        for key, value in settings.items()
    }


def contents(file: str) -> str:
    """Returns the SHA-256 of a file, or its name if it does not exist."""
    return sha256(Path(file)) if Path(file).is_file() else file


def versions() -> dict[str, str | None]:
    """Returns the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **package_versions(PACKAGES)}


def peak_memory_mb(device: "torch.device") -> dict[str, float]:
    """Returns the peak resident memory of the process and the peak allocated memory of a device, in MB, if known."""
    from float_research.devices import peak_mb

    peaks = {"host": _peak_resident_mb(), "device": peak_mb(device)}
    return {place: peak for place, peak in peaks.items() if peak is not None}


def _peak_resident_mb() -> float | None:
    if (resource := platform_module("resource")) is None:  # Windows
        return None
    unit = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def device_name(device: "torch.device") -> str:
    import torch

    from float_research.devices import name

    machine = platform.processor() or platform.machine()
    return name(device) or f"{device.type} ({machine}, {count(torch.get_num_threads(), 'thread')})"


def clip_record(result: "ClipResult") -> dict[str, Any]:
    return asdict(result)


def totals(clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums clip records. `declared` is None if a solver chose its own evaluations."""

    def total(kind: str) -> dict[str, int] | None:
        costs = [clip[kind] for clip in clips]
        if any(cost is None for cost in costs):
            return None
        return {unit: sum(cost.get(unit, 0) for cost in costs) for unit in UNITS}

    phases = sorted({phase for clip in clips for phase in clip["seconds"]})
    return {
        "clips": len(clips),
        "frames": sum(clip["num_frames"] for clip in clips),
        "windows": sum(clip["num_windows"] for clip in clips),
        "declared": total("declared"),
        "measured": total("measured"),
        "seconds": {phase: sum(clip["seconds"].get(phase, 0.0) for clip in clips) for phase in phases},
    }


def flat_costs(part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the costs of a clip or of a run's totals as `declared_evaluations`, `measured_branches` and so on."""
    return {f"{kind}_{unit}": (part.get(kind) or {}).get(unit) for kind in ("declared", "measured") for unit in UNITS}


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any], *, mark: str = "") -> None:
    text = yaml.dump(writable(dict(content)), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    write_text(path, mark + text)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes the settings of a run under our mark, without its folder: a rerun writes elsewhere."""
    write_yaml(folder / CONFIG, {name: value for name, value in config.items() if name != "output_dir"}, mark=MARK)


def is_run(folder: Path) -> bool:
    """Returns whether a folder is a run's, by its settings or, if they are damaged, by its record.

    The folder of a run that failed before it started only holds the failure.
    """
    with suppress(UserError):
        if visible(folder) == {FAILURE}:
            return read_mapping(folder / FAILURE).keys() == {"overrides", "error"}
        return has_settings(folder) or "signature" in read_record(folder / RECORD)
    return False


def has_settings(folder: Path) -> bool:
    """Returns whether a folder holds the settings of a run, with our mark or as version 0.1 wrote them."""
    try:
        text = read_text(folder / CONFIG)
    except UserError:
        return False
    by_0_1 = re.search(r"^output_dir:", text, re.MULTILINE) and re.search(r"^solver:\n  _target_:", text, re.MULTILINE)
    return text.startswith(MARK) or by_0_1 is not None


def read_record(path: Path) -> dict[str, Any]:
    """Reads and checks the record of a run; entries that older versions lack are optional. Raises a UserError."""
    content = read_json(path, what="record", remedy="repeat the run")
    with reading(f"record {path}", "repeat the run"):
        check_run(content)
    return renewed(content)


def renewed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the checked record of a run or a clip with the present names of its entries."""
    entries = {RENAMED.get(name, name): value for name, value in record.items()}
    for part in ("declared", "measured", "totals"):
        if entries.get(part):
            entries[part] = renewed(entries[part])
    if isinstance(record.get("clips"), list):
        entries["clips"] = [renewed(clip) for clip in record["clips"]]
    return entries


def read_clip(path: Path) -> dict[str, Any]:
    """Reads and checks the record of a clip. Raises a UserError."""
    content = read_json(path, what="record", remedy="repeat the clip")
    with reading(f"record {path}", "repeat the clip"):
        check_clip(content)
    return renewed(content)


def write_failure(folder: Path, overrides: str, error: str) -> None:
    """Writes why a run's folder has no record."""
    write_json(folder / FAILURE, {"overrides": overrides, "error": error})


def read_clips(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Reads the clip records among `paths` that exist."""
    return [read_clip(path) for path in paths if path.is_file()]
