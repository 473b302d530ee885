"""Lists videos of other programs: each with an id, and the recording and the portrait that belong to it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from float_research.data import audio as audio_files
from float_research.data import image as image_files
from float_research.data.clips import file_name, pair_id
from float_research.data.listing import is_recording, names, sort
from float_research.data.manifest import ManifestColumns, read_manifest
from float_research.errors import UserError, named, printable
from float_research.files import present, require_file
from float_research.media import opens_as_video
from float_research.texts import count
from float_research.types import WHOLE, Clip, Excerpt

SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".ts"})
MANIFEST = ManifestColumns(
    what="--videos",
    needed=("video",),
    allowed=("id", "audio", "image", "start_s", "end_s", "seed", "crop", "face"),
    files=("video", "audio", "image"),
)


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A video of another program.

    `lacks`: why it has no recording or portrait, by `audio` or `image`. Without a recording and a reason, its own sound
    is measured. `excerpt`: the part of the recording that it shows. `seed`, `crop`, `face`: see `Clip`.
    """

    id: str
    video: Path
    audio: Path | None = None
    image: Path | None = None
    lacks: tuple[tuple[str, str], ...] = ()
    excerpt: Excerpt = WHOLE
    seed: int | None = None
    crop: tuple[int, int, int, int] | None = None
    face: int | None = None

    def clip(self) -> Clip:
        """Returns it as a clip, in which the video stands for files that it lacks."""
        return Clip(
            id=self.id,
            image=self.image or self.video,
            audio=self.audio or self.video,
            excerpt=self.excerpt,
            seed=self.seed,
            crop=self.crop,
            face=self.face,
        )


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """The recordings, or the portraits, of `--audio` or `--portrait`: one for all videos, or a folder."""

    option: str
    files: Sequence[Path]
    shared: bool
    ends: Callable[[str, str], bool]
    """Whether a video's id ends, or begins, with the name of a file."""

    def of(self, id: str) -> list[Path]:
        """Returns the files of a video: those named as its id, or else as a part of it."""
        if self.shared:
            return list(self.files)
        stems = {path: file_name(path.stem) for path in self.files}
        return [path for path in self.files if stems[path] == id] or [
            path for path in self.files if self.ends(id, stems[path])
        ]


def list_footage(videos: Sequence[Path], audio: Path | None, portrait: Path | None) -> tuple[list[Footage], list[str]]:
    """Lists videos given as files, as folders or by a manifest, a CSV file; also returns notes on what was skipped.

    The id is the name of a file without its suffix. A file of the folder `audio` or `portrait` belongs to the video of
    the same id, or of an id that a run gives to a pair, PORTRAIT-RECORDING.

    Raises:
        UserError: there are none, or two have the same id.
    """
    if any(path.suffix.lower() == ".csv" for path in videos):
        if len(videos) > 1 or audio or portrait:
            raise UserError("a manifest lists all videos with their audio and image; give --videos only that file")
        rows, notes = read_manifest(videos[0], MANIFEST)
        found = [Footage(**{**row, "id": file_name(row["id"] or row["video"].stem)}) for row in rows]
    else:
        paths, notes = _videos(videos)
        sounds = _belonging("--audio", audio, is_recording, audio_files.SUFFIXES, _ends_with)
        pictures = _belonging("--portrait", portrait, image_files.is_picture, image_files.SUFFIXES, _begins_with)
        found = [_matched(path, sounds, pictures) for path in paths]
    twice = [id for id, count in Counter(footage.id for footage in found).items() if count > 1]
    if twice:
        raise UserError(
            f"two videos have the id {printable(twice[0])}; rename a file, or give ids in a manifest, a CSV file with "
            "the columns video and id"
        )
    return found, notes


def _videos(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    found, notes = list[Path](), list[str]()
    for path in (Path(present(str(path))) for path in given):
        if not path.is_dir():
            found.append(path)
            continue
        files = sort(path, opens_as_video, SUFFIXES, "--videos")
        if not files.found:
            left = f" (skipped {len(files.others)}: {names(files.others)})" if files.others else ""
            raise UserError(f"--videos={printable(path, 1000)} contains no video{left}; give another folder")
        if files.others:
            notes.append(
                f"{named('--videos', path)}: skipped {len(files.others)} without a video ({names(files.others)})"
            )
        found += files.found
    return found, notes


def _belonging(
    option: str,
    path: Path | None,
    holds: Callable[[Path], bool],
    suffixes: frozenset[str],
    ends: Callable[[str, str], bool],
) -> Belonging | None:
    if path is None:
        return None
    path = Path(present(str(path)))
    if not path.is_dir():
        require_file(path, option, "give the path of a file or of a folder")
        return Belonging(option=option, files=[path], shared=True, ends=ends)
    files = sort(path, holds, suffixes, option).found
    return Belonging(option=option, files=files, shared=False, ends=ends)


def _ends_with(id: str, stem: str) -> bool:
    return id.endswith(f"-{stem}")


def _begins_with(id: str, stem: str) -> bool:
    return id.startswith(f"{stem}-")


def _matched(video: Path, sounds: Belonging | None, pictures: Belonging | None) -> Footage:
    """Finds the recording and the portrait of a video by its id."""
    id = file_name(video.stem)
    audios, images = sounds.of(id) if sounds else [], pictures.of(id) if pictures else []
    whole = [(image, audio) for image in images for audio in audios if pair_id(image, audio) == id]
    if len(whole) == 1:
        images, audios = [whole[0][0]], [whole[0][1]]
    lacks = [
        (kind, f"{held.option} has {_count(files)} for the video {printable(id)}; name one in a manifest")
        for kind, held, files in (("audio", sounds, audios), ("image", pictures, images))
        if held and len(files) != 1
    ]
    return Footage(
        id=id,
        video=video,
        audio=audios[0] if len(audios) == 1 else None,
        image=images[0] if len(images) == 1 else None,
        lacks=tuple(lacks),
    )


def _count(files: Sequence[Path]) -> str:
    return f"{count(len(files), 'file')} ({names(files)})" if files else "no file"


def suffix_of(video: Path) -> str:
    """Returns the suffix of a copy of a video, which no browser takes for anything else."""
    return suffix if (suffix := video.suffix.lower()) in SUFFIXES else ".mp4"
