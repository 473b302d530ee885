"""Renders saved motion with other portraits, edited anew, without sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from float_research.errors import UserError, printable
from float_research.files import present, require_file, sha256
from float_research.inference.api import Pipeline, rest_of
from float_research.inference.inputs import read_motion
from float_research.metrics.track import SUFFIX, load_track
from float_research.tracking.record import write_json

RECORD = "render.json"


@dataclass(frozen=True, kw_only=True)
class MotionRendering:
    """Saved motions, each with each portrait. Edits are those of the pipeline from `load`, on top of earlier ones.

    `audio`: the sound of the videos, if any. `output`: folder of the videos, their motion and the record.
    """

    load: Callable[[], Pipeline]
    motions: Sequence[Path]
    images: Sequence[Path]
    audio: Path | None
    output: Path

    def __post_init__(self) -> None:
        for path in self.motions:
            require_file(path, "motion file", f"give a NAME{SUFFIX} from the videos folder of a run")
        for path in self.images:
            require_file(path, "image", "give the path of a portrait")
        if self.audio is not None:
            require_file(self.audio, "audio", "give the path of a recording")
        names = [self._name(motion, image) for motion in self.motions for image in self.images]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"two videos would be called {printable(twice)}.mp4; rename a file, or render them in turn")

    def run(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Writes the videos, their motion and the record, and returns the record."""
        pipeline, made = self.load(), []
        for motion in self.motions:
            made += [self._render(pipeline, motion, image, say) for image in self.images]
        content = {"settings": pipeline.settings.name, "videos": made}
        write_json(self.output / RECORD, content)
        say(f"record: {self.output / RECORD}")
        return content

    def _render(self, pipeline: Pipeline, motion: Path, image: Path, say: Callable[[str], None]) -> dict[str, Any]:
        core, track = pipeline.core, load_track(motion)
        latents = read_motion(track, core.directions.T)
        rest = rest_of(pipeline, present(str(image)))
        with pipeline.computing():
            edited, pair = core.edits(latents, rest)
        track = replace(track, motion=edited.cpu(), directions=core.directions.detach().cpu())
        video = self.output / f"{self._name(motion, image)}.mp4"
        pipeline.decode(present(str(image)), track, self.audio).save(video)
        track.save(video.with_suffix(SUFFIX))
        say(f"video: {video}")
        return {
            "video": video.name,
            "video_sha256": sha256(video),
            "motion": str(motion),
            "motion_sha256": sha256(motion),
            "image": str(image),
            "image_sha256": sha256(image),
            "audio": self.audio and str(self.audio),
            "edits": core.edits.record([pair]) if core.edits.edits else None,
        }

    def _name(self, motion: Path, image: Path) -> str:
        return f"{image.stem}-{motion.name.removesuffix(SUFFIX)}"
