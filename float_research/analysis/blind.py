"""The blind comparison of a sweep: videos of two settings side by side, on a page that names neither."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from float_research.analysis.filling import fill
from float_research.analysis.pairs import compared_names, settings
from float_research.data.clips import file_name
from float_research.tracking.record import write_text

PAGE, VIDEOS = "blind.html", "blind"
SCRIPTS = ("dom.js", "csv.js", "blind.js")
TITLE = "Blind comparison"


class Scene(NamedTuple):
    """What two settings must share to be compared: clip, seed, and the content of recording and portrait."""

    clip: str
    seed: str
    audio: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """What can be voted on.

    `page`: identity of the sweep, by which votes know it. `rows`: setting → scene → row of the clip. Of equal
    settings that were run twice, the first run counts.
    """

    page: str
    rows: Mapping[str, Mapping[Scene, int]]

    def rivals(self, left: str, right: str, clip: str, seed: str) -> bool:
        """Returns whether two settings have this clip with this seed, and of the same inputs."""
        held = self.rows[left].keys() & self.rows[right].keys()
        return any((scene.clip, scene.seed) == (clip, seed) for scene in held)

    def only(self, indices: Sequence[int]) -> "Ballot":
        """Returns the ballot of some rows, with the identity of all."""
        kept = set(indices)
        rows = {
            setting: {scene: row for scene, row in own.items() if row in kept} for setting, own in self.rows.items()
        }
        return Ballot(page=self.page, rows={setting: own for setting, own in rows.items() if own})


def ballot(clips: pd.DataFrame) -> Ballot | None:
    """Returns what can be voted on among clips of `load_clips`; None if they do not differ in a setting."""
    if not compared_names(clips):
        return None
    rows: dict[str, dict[Scene, int]] = {}
    known: list[list[str]] = []
    for setting, own in settings(clips, []).items():
        for index, clip in zip(own.index, own.to_dict("records"), strict=True):
            scene = Scene(*(word(clip.get(name)) for name in ("clip", "seed", "audio_sha256", "image_sha256")))
            rows.setdefault(setting, {}).setdefault(scene, int(index))
            known.append([setting, *scene, word(clip.get("signature")), word(clip.get("sources"))])
    return Ballot(page=hashlib.sha256(json.dumps(sorted(known)).encode()).hexdigest()[:16], rows=rows)


def word(value: Any) -> str:
    """Returns a value as it stands in a file of votes: whole numbers without a point, missing ones empty."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def write_blind(
    clips: pd.DataFrame, videos: Sequence[Path | None], folder: Path, chosen: Sequence[str], notices: Sequence[str]
) -> int:
    """Writes the blind page of clips whose `videos` are on the page in `folder`; returns its number of comparisons.

    `chosen`: settings that take part, such as `solver=euler`; all if empty. Its videos are links, whose names say
    nothing of the setting. Without anything to compare there is no page.

    Raises:
        UserError: no clip has a chosen setting.
    """
    rows = [index for group in settings(clips, chosen).values() for index in group.index] if chosen else clips.index
    (folder / PAGE).unlink(missing_ok=True)
    whole = ballot(clips)
    if whole is None:
        return 0
    held = whole.only([row for row in rows if videos[row] is not None])
    sharing: dict[Scene, list[int]] = {}
    for place, own in enumerate(held.rows.values()):
        for scene in own:
            sharing.setdefault(scene, []).append(place)
    scenes = [scene for scene, places in sharing.items() if len(places) > 1]
    if not scenes:
        return 0
    places = {scene: place for place, scene in enumerate(scenes)}
    shown = [
        [setting, places[scene], _hide(videos[row], f"{held.page} {row}", folder / VIDEOS)]
        for setting, own in enumerate(held.rows.values())
        for scene, row in own.items()
        if scene in places
    ]
    content = {
        "page": held.page,
        "notices": notices,
        "settings": list(held.rows),
        "clips": [[scene.clip, scene.seed] for scene in scenes],
        "videos": shown,
    }
    write_text(folder / PAGE, fill(PAGE, SCRIPTS, TITLE, content))
    return sum(len(sharing[scene]) * (len(sharing[scene]) - 1) // 2 for scene in scenes)


def _hide(video: Path | None, key: str, folder: Path) -> str:
    """Links a video under a name that says nothing."""
    assert video is not None
    folder.mkdir(exist_ok=True)
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.{file_name(video.suffix[1:20])}"
    (folder / name).unlink(missing_ok=True)
    try:
        os.link(video, folder / name)
    except OSError:
        shutil.copyfile(video, folder / name)
    return name
