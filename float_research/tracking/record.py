"""Records of runs: what ran, on what, at what cost; `record.json` in the run's folder."""

import hashlib
import json
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from float_research.errors import UserError, reading, writable
from float_research.files import sha256, whole
from float_research.folders import visible
from float_research.packages import package_versions, platform_module
from float_research.sources import code, parts
from float_research.texts import read_json, read_mapping, read_text
from float_research.tracking.schema import check_clip, check_run

if TYPE_CHECKING:  # what shows help or refuses a setting reads this module, and waits for no torch
    import torch

    from float_research.types import ClipResult

CONFIG, RECORD, FAILURE = "config.yaml", "record.json", "failure.json"
"""In a run's folder: the first from its beginning, one of the others from its end."""
MARK = "# A run of float-research. The next run in this folder replaces its files.\n"
"""The first line of a run's settings, by which its folder is known."""
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
        "overlap",
        "cache",
        "limits",
        "logger",
        "metrics",
    }
)
PLACES_IN_GROUPS = {
    "data": frozenset({"image", "audio", "images", "audios", "file"}),
    "checkpoint": frozenset({"folder", "file"}),
    "face": frozenset({"weights"}),
    "search": frozenset({"at_once"}),
    "trainer": frozenset({"accelerator", "devices", "num_nodes", "strategy", "plugins"}),
}
"""Settings that say where, when, in what portions and under which eyes a run happens, and not what it computes."""
CONTENTS = {"solver": frozenset({"file"}), "time_grid": frozenset({"file"})}
"""Settings that name a file of which the contents count, wherever it is."""
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
        "video",
        "data",
    }
)
"""Settings that the motion does not depend on which solvers approximate; clips are named beside it."""


UNITS = ("evaluations", "rows", "verified_frames")
"""What costs are counted in; records of older versions lack the last."""
COMPUTING = ("float_research.inference.module", "float_research.inference.solution")
"""The modules that put the parts of a run to work."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a result is known by besides its inputs: digests of settings, of weights and of code."""

    signature: str
    checkpoint: str
    sources: str

    def __str__(self) -> str:
        return f"{self.signature} {self.checkpoint} {self.sources}"

    def but_for_code(self, run: str) -> bool:
        """Whether a result has these settings and weights, whatever code made it."""
        return run.split()[:2] == [self.signature, self.checkpoint]


def identity(config: Mapping[str, Any], checkpoint: str, without: Collection[str] = ()) -> Identity:
    """Of a run's resolved config and the hash of its weights; `without` some groups and the code of their parts."""
    kept = computing(config, without)
    return Identity(signature=signature(config, without), checkpoint=checkpoint, sources=code(*COMPUTING, *parts(kept)))


def signature(config: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """SHA-256 of a resolved config without paths, times and devices: equal for runs that compute the same."""
    return hashlib.sha256(json.dumps(computing(config, without), sort_keys=True, default=str).encode()).hexdigest()


def computing(config: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """The settings of a resolved config that say what is computed."""
    return {
        group: {
            key: contents(value) if key in CONTENTS.get(group, ()) else value
            for key, value in settings.items()
            if key not in PLACES_IN_GROUPS.get(group, ())
        }
        if isinstance(settings, Mapping)
        else settings
        for group, settings in config.items()
        if group not in PLACES and group not in without
    }


def contents(file: str) -> str:
    """SHA-256 of a file; its name where it is gone."""
    return sha256(Path(file)) if Path(file).is_file() else file


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **package_versions(PACKAGES)}


def peak_memory_mb(device: "torch.device") -> dict[str, float]:
    """Peak resident memory of the process and peak allocated memory of a device, in MB, where the system tells."""
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
    return name(device) or f"{device.type} ({machine}, {torch.get_num_threads()} threads)"


def clip_record(result: "ClipResult") -> dict[str, Any]:
    return asdict(result)


def totals(clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums over clip records. `declared` is None where a solver chose its own evaluations."""

    def total(kind: str) -> dict[str, int] | None:
        costs = [clip[kind] for clip in clips]
        if any(cost is None for cost in costs):
            return None
        return {unit: sum(cost.get(unit, 0) for cost in costs) for unit in UNITS}

    stages = sorted({stage for clip in clips for stage in clip["seconds"]})
    return {
        "clips": len(clips),
        "frames": sum(clip["num_frames"] for clip in clips),
        "chunks": sum(clip["num_chunks"] for clip in clips),
        "declared": total("declared"),
        "measured": total("measured"),
        "seconds": {stage: sum(clip["seconds"].get(stage, 0.0) for clip in clips) for stage in stages},
    }


def write_text(path: Path, text: str) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any], *, mark: str = "") -> None:
    text = yaml.dump(writable(dict(content)), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    write_text(path, mark + text)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes the settings of a run under our mark. Its place is none of them: who reads them writes elsewhere."""
    write_yaml(folder / CONFIG, {name: value for name, value in config.items() if name != "output_dir"}, mark=MARK)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, by its mark; or, made by version 0.1, by its settings or its record.

    One whose run failed before it began holds the failure alone.
    """
    try:
        if visible(folder) == {FAILURE}:
            return read_mapping(folder / FAILURE).keys() == {"overrides", "error"}
        text = read_text(folder / CONFIG)
    except UserError:
        return False
    by_0_1 = re.search(r"^output_dir:", text, re.MULTILINE) and re.search(r"^solver:\n  _target_:", text, re.MULTILINE)
    return text.startswith(MARK) or by_0_1 is not None


def read_record(path: Path) -> dict[str, Any]:
    """The record of a run. Raises a UserError for what is none; of older versions, only what they have is checked."""
    content = read_json(path, what="record", remedy="make the run again")
    with reading(f"record {path}", "make the run again"):
        check_run(content)
    return dict(content)


def read_clip(path: Path) -> dict[str, Any]:
    """The record of a clip. Raises a UserError for what is none."""
    content = read_json(path, what="record", remedy="make the clip again")
    with reading(f"record {path}", "make the clip again"):
        check_clip(content)
    return dict(content)


def write_failure(folder: Path, overrides: str, error: str) -> None:
    """Says in a run's folder why there is no record."""
    write_json(folder / FAILURE, {"overrides": overrides, "error": error})


def read_clips(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The clip records among `paths` that exist."""
    return [read_clip(path) for path in paths if path.is_file()]
