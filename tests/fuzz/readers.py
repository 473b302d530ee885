"""Every kind of file that the package reads: its samples, the files around it, and its reader."""

import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from fuzz import samples

MAX_FRAMES = 2000
"""The number of frames that a case reads from a video."""
TINY_CONFIG = ("model=tiny", "checkpoint=random", "face=none", "cache=none", "output_dir=.")


class LostGoodRunError(Exception):
    """A damaged file affected valid ones."""


class WrongValueError(Exception):
    """A damaged file was accepted."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    `samples`: valid files. `around`: a sample folder that is copied around the damaged file. `place`: the file's path
    in it. `text`: its language. `named`: whether its error messages must name it; otherwise the caller does. `mutated`:
    whether it is fast enough for thousands of cases. `weight`: its relative frequency among them.
    """

    name: str
    samples: Sequence[str]
    read: Callable[[Path], object]
    place: str
    around: str | None = None
    text: str | None = None
    named: bool = True
    mutated: bool = True
    weight: float = 1.0

    def contents(self, root: Path) -> list[bytes]:
        """Returns the contents of all samples."""
        found = [path for pattern in self.samples for path in sorted(root.glob(pattern))]
        assert found, f"there is no sample {self.samples}"
        return [path.read_bytes() for path in found]

    def lay(self, root: Path, folder: Path, content: bytes | None) -> Path:
        """Writes `content` where the package reads it, in an empty folder; None leaves the place for a bomb."""
        if self.around:
            shutil.copytree(root / self.around, folder, dirs_exist_ok=True)
        path = next(iter(sorted(folder.glob(self.place))), folder / self.place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        return path


@cache
def loader() -> Any:
    """Returns the reader of portraits and speech with the default settings, for a tiny model."""
    from float_research import compose

    return compose.build_loader(compose.compose_config(TINY_CONFIG))


@cache
def detecting_loader() -> Any:
    """Returns the same reader with a face detector."""
    from float_research import compose

    return compose.build_loader(compose.compose_config([*TINY_CONFIG, "face=mtcnn"]))


@cache
def videos() -> Any:
    """Returns the reader of talking-face videos for training."""
    from float_research import compose

    settings = ["model=tiny", "face=none", "data=video_folder", "data.folder=.", "output_dir=."]
    return compose.build(compose.compose_config(settings, "train").data.videos)


@cache
def chosen() -> Any:
    """Returns the metrics for measuring runs again."""
    from float_research import recorded

    return recorded.choose_metrics(["metrics=[motion]", "cache=none"])


def read_sound(path: Path) -> object:
    from float_research.types import Clip

    return loader().speech(Clip(id="a", image=path, audio=path))


def read_portrait(path: Path) -> object:
    from float_research.types import Clip

    return loader().portrait(Clip(id="a", image=path, audio=path))


def find_portrait(path: Path) -> object:
    from float_research.types import Clip

    return detecting_loader().portrait(Clip(id="a", image=path, audio=path))


def prepare_video(path: Path) -> object:
    shot = replace(videos(), cache=str(path.parent / "prepared")).prepared(path)
    return shot.frame(0), shot.waveform


def read_video(path: Path) -> object:
    from float_research.video import reader

    last = None
    for frames in (reader.read_frames(path), reader.read_frames_at(path, 25.0)):
        for last in islice(frames, MAX_FRAMES):  # noqa: B007
            pass
    return last


def probe_video(path: Path) -> object:
    from float_research.video.reader import probe

    return probe(path)


def read_weights(path: Path) -> object:
    from float_research.models import checkpoint

    return checkpoint.read_weights(path)


def read_script(path: Path) -> object:
    from float_research.metrics.networks import scripted

    return scripted(path)


def read_motion(path: Path) -> object:
    from float_research.metrics.track import load_track

    return load_track(path)


def read_traces(path: Path) -> object:
    """Reads the table, and writes the page of the sweep that has it."""
    from float_research.tables import read_table

    sweep = path.parents[2]
    surviving(lambda: write_page(sweep))
    return read_table(path)


def write_page(sweep: Path) -> None:
    from float_research.analysis.page import write_page as write

    page = write(sweep, sweep / "page", "page")
    if page.num_runs < 1:
        raise LostGoodRunError(f"the page shows {page.num_runs} runs")
    text = (sweep / "page" / "index.html").read_text(encoding="utf-8")
    if "<script>alert" in text or "<img src=x" in text:
        raise WrongValueError("the page has an element of a record's making")


def read_sweep(path: Path) -> object:
    """Runs everything that reads a folder of runs, with one of its files damaged."""
    from rich.console import Console

    from float_research.analysis.load import find_runs, run_table
    from float_research.analysis.summary import report
    from float_research.tracking.runs import find

    sweep = path.parent if path.name == "sweep.json" else path.parent.parent

    def all_of_it() -> None:
        found = find(sweep)
        if samples.GOOD not in {run.name for run in found.runs}:
            raise LostGoodRunError("the good run is not found")
        run_table(find_runs(sweep))
        report(sweep, Console(file=io.StringIO(), width=200))
        write_page(sweep)

    return surviving(all_of_it)


def surviving(work: Callable[[], object]) -> object:
    """Runs `work` over several files, one of them damaged, which must not end it, even with an error sentence."""
    from float_research.errors import UserError

    try:
        return work()
    except UserError as error:
        raise LostGoodRunError(str(error)) from error


def read_clip_record(path: Path) -> object:
    from float_research.tracking.record import read_clips

    return read_clips([path])


def remeasure(path: Path) -> object:
    """Measures the damaged run again."""
    from float_research import recorded

    run = path.parent if path.parent.name == samples.BAD else path.parent.parent
    return recorded.build_remeasuring(run, chosen()).run()


def build_again(path: Path) -> object:
    from float_research import recorded

    return recorded.build_remeasuring(path.parent, chosen())


def read_manifest(path: Path) -> object:
    from float_research.data.clips import Manifest

    return Manifest(track=None, channel=None, file=str(path)).clips()


def read_corpus(path: Path) -> object:
    from float_research.toyface import corpus

    folder = path.parent
    return [entry.load() for entry in corpus.read_corpus(folder, "train")]


SAMPLES_A_FRAME = 640


def read_shot(path: Path) -> object:
    from float_research.training.videos import Shot

    shot = Shot(path.parent).check(SAMPLES_A_FRAME)
    return shot.waveform, [shot.frame(number) for number in range(min(len(shot), 50))]


@cache
def usual_cache() -> Any:
    """Returns the cache of the default settings."""
    from float_research import compose

    return compose.build(compose.compose_config([*TINY_CONFIG, "cache=disk"]).cache)


def read_cache(path: Path) -> object:
    """Reads a damaged entry, which must not be accepted but computed again."""
    import torch

    from float_research import cache as module

    module.forget()
    right = torch.arange(12.0).reshape(3, 4)
    folder = path.parents[2]
    entry, _ = replace(usual_cache(), folder=str(folder)).get(
        "crop", {"n": 1}, lambda: module.Entry(tensors={"crop": right}, facts={"detector": "x"})
    )
    if not torch.equal(entry.tensors["crop"], right) or dict(entry.facts) != {"detector": "x"}:
        raise WrongValueError(f"the cache gave {entry}"[:300])
    return entry


def make_cache(folder: Path) -> None:
    """Creates a cache with the entry that `read_cache` requests."""
    read_cache(folder / "crop" / "xx" / "none")


SOUNDS = {"wav": "*.wav", "flac": "a.flac", "ogg": "a.ogg", "mp3": "a.mp3", "m4a": "a.m4a", "aac": "a.aac"}
SOUNDS |= {"webm": "a.webm", "opus": "a.opus"}
IMAGES = {"png": "*.png", "jpg": "*.jpg", "webp": "*.webp", "bmp": "*.bmp", "tif": "*.tif"}
VIDEOS = {"mp4": "v.mp4", "mkv": "v.mkv", "avi": "v.avi", "mov": "v.mov"}
RUN = f"{samples.BAD}/videos"


def _media(names: Mapping[str, str], read: Callable[[Path], object]) -> Iterable[Kind]:
    for ending, pattern in names.items():
        yield Kind(name=ending, samples=[f"{samples.MEDIA}/{pattern}"], read=read, place=f"a.{ending}")


def _in_sweep(name: str, place: str, read: Callable[[Path], object], **more: Any) -> Kind:
    pattern = place.replace(f"{samples.BAD}/", "*/", 1)
    more = {"weight": 0.4, **more}
    return Kind(name=name, samples=[f"{samples.SWEEP}/{pattern}"], read=read, place=place, around=samples.SWEEP, **more)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *_media(SOUNDS, read_sound),
        *_media(IMAGES, read_portrait),
        *_media(VIDEOS, read_video),
        Kind(name="video sound", samples=["media/v.*"], read=read_sound, place="a.mp4"),
        Kind(name="video facts", samples=["media/v.*"], read=probe_video, place="a.mp4"),
        Kind(name="video prepared", samples=["media/v.*"], read=prepare_video, place="a.mp4", weight=0.5),
        Kind(name="portrait found", samples=["media/a.png"], read=find_portrait, place="a.png", mutated=False),
        Kind(
            name="safetensors",
            samples=["media/a.safetensors", "trained/weights.safetensors"],
            read=read_weights,
            place="a.safetensors",
        ),
        Kind(name="pth", samples=["media/a.pth"], read=read_weights, place="a.pth"),
        Kind(name="bin", samples=["media/a.bin"], read=read_weights, place="a.bin"),
        Kind(name="torchscript", samples=["media/a.pt"], read=read_script, place="a.pt"),
        Kind(name="manifest", samples=["media/clips.csv"], read=read_manifest, place="clips.csv", text="csv"),
        Kind(
            name="corpus",
            samples=["corpus/corpus.jsonl"],
            read=read_corpus,
            place="corpus.jsonl",
            around=samples.CORPUS,
            text="json",
            named=False,  # it may name a missing sound
        ),
        Kind(
            name="utterance",
            samples=["corpus/000000.flac"],
            read=read_corpus,
            place="000000.flac",
            around=samples.CORPUS,
        ),
        *(
            Kind(
                name=f"shot {name}",
                samples=[f"shot/{name}"],
                read=read_shot,
                place=name,
                around=samples.SHOT,
                named=False,
            )
            for name in ("frames.bin", "offsets.npy", "speech.npy")
        ),
        Kind(
            name="cache",
            samples=["entry/crop/*/*.safetensors"],
            read=read_cache,
            place="crop/*/*.safetensors",
            around="entry",
        ),
        _in_sweep("motion", f"{RUN}/*.motion.safetensors", read_motion),
        _in_sweep("traces", f"{RUN}/*.traces.parquet", read_traces),
        _in_sweep("record", f"{samples.BAD}/record.json", read_sweep, text="json"),
        _in_sweep("record measured", f"{samples.BAD}/record.json", remeasure, text="json", named=False),
        _in_sweep("clip record", f"{RUN}/*.json", read_clip_record, text="json"),
        _in_sweep("config", f"{samples.BAD}/config.yaml", read_sweep, text="yaml"),
        _in_sweep("config built", f"{samples.BAD}/config.yaml", build_again, text="yaml", named=False),
        _in_sweep("motion measured", f"{RUN}/*.motion.safetensors", remeasure, named=False),
        Kind(
            name="sweep",
            samples=["sweep/sweep.json"],
            read=read_sweep,
            place="sweep.json",
            around=samples.SWEEP,
            text="json",
            weight=0.2,
        ),
        Kind(
            name="failure",
            samples=["sweep/2/failure.json"],
            read=read_sweep,
            place="2/failure.json",
            around=samples.SWEEP,
            text="json",
            weight=0.2,
        ),
    )
}
NOT_READ = {
    "offline W&B runs": "W&B's own command reads them, in a second each",
    "last.ckpt": "Lightning reads it, in seconds each; the class records damages some",
}


def fresh(folder: Path) -> Path:
    """Returns an empty folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    os.makedirs(folder, exist_ok=True)
    return folder
