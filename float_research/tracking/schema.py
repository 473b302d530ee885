"""The schema of records: the types of their entries. All are optional, since older records lack some."""

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]
"""Raises a ValueError with the name of a value that has the wrong type."""
MAX_NAMES, MAX_CLIPS, MAX_TEXT = 1000, 50_000, 100_000
MAX_FRAMES = 10_000_000
"""Four days at 25 frames per second."""
LARGEST = 2**53
"""Integers up to here are exact in every file format of the summary."""


def _require(ok: bool, name: str, wanted: str) -> None:
    if not ok:
        raise ValueError(f"{name} is not a {wanted}")


def text(value: Any, name: str) -> None:
    _require(isinstance(value, str) and len(value) <= MAX_TEXT and encodable(value), name, "string")


def path(value: Any, name: str) -> None:
    """Accepts a text with surrogate escapes, which stand for bytes of a file name that are not UTF-8."""
    whole = value.encode(errors="surrogateescape").decode(errors="replace") if isinstance(value, str) else value
    text(whole, name)


def number(value: Any, name: str) -> None:
    kind = isinstance(value, (int, float)) and not isinstance(value, bool)
    _require(kind and (isinstance(value, float) or abs(value) <= LARGEST), name, "number")


def count(value: Any, name: str) -> None:
    _require(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST, name, "count")


def frames(value: Any, name: str) -> None:
    count(value, name)
    _require(value <= MAX_FRAMES, name, f"number of frames up to {MAX_FRAMES:,}")


def flag(value: Any, name: str) -> None:
    _require(isinstance(value, bool), name, "boolean")


def simple(value: Any, name: str) -> None:
    """Accepts a text, a number or a boolean."""
    if isinstance(value, bool):
        return
    (text if isinstance(value, str) else number)(value, name)


def maybe(check: Check) -> Check:
    """Accepts what `check` accepts, or null."""
    return lambda value, name: None if value is None else check(value, name)


def box(value: Any, name: str) -> None:
    """Accepts left, top, right, bottom."""
    each(count)(value, name)
    _require(len(value) == 4, name, "list of 4")


def each(check: Check, most: int = MAX_NAMES) -> Check:
    """Accepts a list of what `check` accepts."""

    def checked(value: Any, name: str) -> None:
        _require(isinstance(value, list) and len(value) <= most, name, f"list of at most {most}")
        for place, item in enumerate(value):
            check(item, f"{name}.{place}")

    return checked


def named(check: Check) -> Check:
    """Accepts a mapping from texts to what `check` accepts."""

    def checked(value: Any, name: str) -> None:
        _require(isinstance(value, dict) and len(value) <= MAX_NAMES, name, f"mapping of at most {MAX_NAMES} names")
        for key, item in value.items():
            text(key, f"a name in {name}")
            check(item, f"{name}.{key}")

    return checked


def having(checks: Mapping[str, Check]) -> Check:
    """Accepts a mapping whose entries, where present, pass the check of their name."""

    def checked(value: Any, name: str) -> None:
        _require(isinstance(value, dict), name, "mapping")
        for key, check in checks.items():
            if key in value:
                check(value[key], f"{name}.{key}")

    return checked


def encodable(value: str) -> bool:
    """Returns whether a text can be encoded: JSON may hold lone surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


COST = maybe(having(dict.fromkeys(("evaluations", "branches", "rows", "verified_frames"), count)))
NUMBERS, TEXTS = maybe(named(number)), maybe(named(text))
SOUND = having(
    {
        **dict.fromkeys(("tracks", "channels", "rate_hz", "packets", "dropped", "track"), count),
        "channel": maybe(count),
        **dict.fromkeys(("missing_s", "start_s"), number),
        "end_s": maybe(number),
    }
)
CLIP = having(
    {
        "id": text,
        "run": text,
        "video": maybe(text),
        "image": path,
        "audio": path,
        **dict.fromkeys(("video_sha256", "image_sha256", "audio_sha256", "motion_sha256"), maybe(text)),
        "label": maybe(text),
        "excerpt": maybe(
            having({"track": maybe(count), "channel": maybe(count), "start_s": number, "end_s": maybe(number)})
        ),
        "seed": maybe(count),
        "crop": maybe(box),
        "face_index": maybe(count),
        "base_id": maybe(text),
        "num_frames": frames,
        "fps": maybe(number),
        **dict.fromkeys(("num_windows", "num_chunks"), count),
        "declared": COST,
        "measured": COST,
        "emotion": NUMBERS,
        "face": maybe(named(maybe(simple))),
        "composite": maybe(having({"kind": text, "width": count, "height": count})),
        "sound": maybe(SOUND),
        "seconds": NUMBERS,
        "made_s": number,
        "reused": each(text),
        "search": maybe(
            having({"candidates": each(count, MAX_FRAMES), "scores": each(each(maybe(number)), MAX_FRAMES)})
        ),
        "edits": maybe(having({"names": each(text), "rms": NUMBERS, "lips_kept": maybe(number)})),
        "metrics": NUMBERS,
        "absent": TEXTS,
        "measured_by": TEXTS,
        "from_video": each(text),
        "traces": maybe(text),
        "flow": maybe(text),
    }
)
TOTALS = having(
    {
        **dict.fromkeys(("clips", "frames", "windows", "chunks"), maybe(count)),
        "declared": COST,
        "measured": COST,
        "seconds": NUMBERS,
    }
)
RUN = having(
    {
        "source": maybe(text),
        "signature": maybe(text),
        "sources": maybe(text),
        "git": maybe(having({"commit": maybe(text), "changed": maybe(flag)})),
        "other_code": maybe(count),
        "solver_order": maybe(count),
        "overrides": maybe(each(text)),
        "seeds": maybe(each(count)),
        "suite": maybe(having(dict.fromkeys(("name", "version", "sha256"), text))),
        "device": maybe(text),
        "started": maybe(text),
        "checkpoint": maybe(
            having(
                {"hash": maybe(text), "trained": maybe(flag), "toy": maybe(flag), "notice": maybe(text)},
            )
        ),
        "peak_memory_mb": NUMBERS,
        "totals": maybe(TOTALS),
        "load_s": maybe(number),
        "wall_s": maybe(number),
        "metrics": NUMBERS,
        "absent": TEXTS,
        "measured_by": TEXTS,
        "clips": each(CLIP, MAX_CLIPS),
        "failed": maybe(each(having({"id": text, "image": path, "audio": path, "reason": text}), MAX_CLIPS)),
    }
)


def check_run(record: Any) -> None:
    """Raises a ValueError for an invalid record of a run."""
    RUN(record, "the record")
    _require("clips" in record, "the record", "record with clips")


def check_clip(record: Any) -> None:
    """Raises a ValueError for an invalid record of a clip."""
    CLIP(record, "the clip")
