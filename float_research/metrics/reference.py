"""The reference video of a clip."""

from collections.abc import Iterator
from pathlib import Path

from float_research.errors import UserError, reading
from float_research.files import inside, present
from float_research.metrics.metric import Subject
from float_research.metrics.requirements import GIVE
from float_research.texts import read_mapping
from float_research.types import Image


def reference_frames(reference: str, setting: str, clip: Subject) -> Iterator[Image]:
    """Yields the frames of the clip's reference video: `reference` itself, if it is a file.

    In the folder of a run it is the video of the clip with the same id, in any other folder `ID.mp4`.

    Raises:
        UserError: there is none.
    """
    place = Path(present(reference))
    record = place / "record.json"
    if record.is_file():
        content = read_mapping(record, what="record", remedy=GIVE)
        with reading(f"record {record}", GIVE):
            videos = {str(other["id"]): other["video"] for other in content["clips"]}
            changed = {str(other["id"]) for other in content["clips"] if other.get("composite")}
        if clip.id in changed:
            raise UserError(
                f"{setting}={reference} is a run with a composite, whose videos do not have the network's frames; "
                "repeat it with composite=none"
            )
        found = inside(place, videos[clip.id]) if clip.id in videos else place
    else:
        found = Path(present(str(place / f"{clip.id}.mp4"))) if place.is_dir() else place
    if not found.is_file():
        raise UserError(f"{setting}={reference} has no video for clip {clip.id}; {GIVE}")
    return clip.read(found, clip.fps)
