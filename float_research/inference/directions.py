"""Finds out what a model's motion directions do: moves along them, decodes, reads the faces, and writes an atlas."""

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pictures
from PIL import ImageDraw
from rich.console import Console
from torch import Tensor

from float_research.data.examples import example
from float_research.errors import UserError
from float_research.files import whole
from float_research.inference.api import Pipeline
from float_research.inference.inputs import AudioInput
from float_research.inference.pipeline import EncodedPortrait
from float_research.inference.remeasuring import batches
from float_research.motion.atlas import Atlas
from float_research.printing import Table, say
from float_research.toyface.portraits import save_portraits
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ
from float_research.types import FaceReader, Image, Meaning

PORTRAIT_PX = 512
HELD_OUT = 3
"""Every third clip is held out from the fit."""
STEPS = 5
"""Positions along a direction that are decoded and shown, from its low to its high end."""
ENDS = (0.01, 0.99)
"""Quantiles of the sampled coordinates that count as their range."""
LEAST_R2 = 0.5
"""Meanings that the map predicts less well than this, between clips and within them, are pointed out."""
FRAME_PX, LABEL_PX = 96, 150
NAMED = 4
"""Meanings that the picture names for each direction."""


class ReadClip(NamedTuple):
    """Motion coordinates of a clip, and what was read from its frames; NaN where no face was seen."""

    coordinates: Float[Tensor, "t m"]
    read: Float[Tensor, "t k"]


class MovedPortrait(NamedTuple):
    """A portrait to move: as the decoder needs it, and as an image for the reader."""

    encoded: EncodedPortrait
    image: Image


@dataclass(frozen=True, kw_only=True)
class DirectionStudy:
    """Samples clips of each recording with each seed, cycling through portraits and emotions, and fits an atlas.

    `images`, `audios`: files; empty: rendered portraits and the recordings of this package. `weights`: returns the hash
    of the weights. `output`: a folder for atlas.safetensors, directions.csv, pairs.csv and directions.png.
    """

    load: Callable[[], Pipeline]
    weights: Callable[[], str]
    reader: FaceReader
    images: Sequence[str]
    audios: Sequence[str]
    seeds: Sequence[int]
    output: Path

    def __post_init__(self) -> None:
        if not self.seeds:
            raise UserError("seeds=[] must be one or more integers")

    def run(self, console: Console) -> Atlas:
        """Prints and writes what the directions do, and returns the atlas."""
        weights, pipeline = self.weights(), self.load()
        clips, portrait = self._clips(pipeline, console)
        spread = Spread.of(torch.cat([clip.coordinates for clip in clips]))
        say(console, f"{len(spread.mean)} directions, one at a time and in pairs")
        moved, both = self._moved(pipeline, portrait, spread), self._pairs(pipeline, portrait, spread)
        atlas, absent = fit(clips, [moved.clip, both], self.reader.meanings, weights)
        for name, reason in absent.items():
            say(console, f"{name}: {reason}", style="bold yellow")
        atlas.save(self.output / "atlas.safetensors")
        effects = moved.read[:, -1] - moved.read[:, 0]
        names = [meaning.name for meaning in self.reader.meanings]
        self._write("directions.csv", ["direction", "low", "high", *names], direction_rows(atlas, effects))
        self._write("pairs.csv", ["direction", "with", *names], pair_rows(moved, both))
        with whole(self.output / "directions.png") as part:
            sheet(moved.frames, labels(self.reader.meanings, effects)).save(part, format="PNG", optimize=True)
        console.print(effect_table(self.reader.meanings, effects))
        console.print(accuracy_table(atlas))
        say(console, f"atlas: {self.output / 'atlas.safetensors'}; picture: {self.output / 'directions.png'}")
        return atlas

    def _clips(self, pipeline: Pipeline, console: Console) -> tuple[list[ReadClip], MovedPortrait]:
        """Samples and reads clips. Returns them with the first portrait."""
        voices: Mapping[str, AudioInput] = {name: name for name in self.audios}
        voices = voices or {utterance.id: utterance.waveform for utterance in recordings()}
        wanted = [(name, seed) for name in voices for seed in self.seeds]
        moods: list[str | None] = [None, *pipeline.core.model.emotions]
        clips, moved = list[ReadClip](), None
        with tempfile.TemporaryDirectory() as folder:
            drawn = [] if self.images else save_portraits(Path(folder), num=len(wanted), size_px=PORTRAIT_PX, seed=0)
            faces: Sequence[str | Path] = self.images or [example("portrait"), *drawn[1:]]
            for number, (name, seed) in enumerate(wanted):
                say(console, f"clip {number + 1}/{len(wanted)}: {name}, seed {seed}")
                result = pipeline(
                    faces[number % len(faces)],
                    voices[name],
                    rate_hz=None if self.audios else RATE_HZ,
                    emotion=moods[number % len(moods)],
                    id=name,
                    seed=seed,
                )
                shown = result.clip.subject.portrait
                assert shown is not None
                moved = moved or MovedPortrait(result.clip, shown)
                read = [self.reader(frames, shown) for frames in batches(result.frames())]
                coordinates = result.motion.cpu().double() @ pipeline.core.directions.cpu().double()
                clips.append(ReadClip(coordinates, torch.from_numpy(np.concatenate(read)).double()))
        assert moved is not None
        return clips, moved

    def _moved(self, pipeline: Pipeline, portrait: MovedPortrait, spread: "Spread") -> "Moved":
        """Moves one coordinate at a time over its range, the others at the mean of the motion."""
        steps, m = torch.linspace(0, 1, STEPS, dtype=torch.float64), len(spread.mean)
        moved = spread.mean.expand(m, STEPS, m).clone()
        for k in range(m):
            moved[k, :, k] = torch.lerp(spread.low[k], spread.high[k], steps)
        coordinates = torch.cat([spread.mean[None], moved.flatten(0, 1)])
        frames, read = self._read(pipeline, portrait, coordinates)
        return Moved(frames[1:].reshape(m, STEPS, *frames.shape[1:]), ReadClip(coordinates, read))

    def _pairs(self, pipeline: Pipeline, portrait: MovedPortrait, spread: "Spread") -> ReadClip:
        """Moves two coordinates at a time to their high ends."""
        pairs = list(combinations(range(len(spread.mean)), 2))
        moved = spread.mean.expand(len(pairs), -1).clone()
        for row, pair in zip(moved, pairs, strict=True):
            row[list(pair)] = spread.high[list(pair)]
        return ReadClip(moved, self._read(pipeline, portrait, moved)[1])

    def _read(
        self, pipeline: Pipeline, portrait: MovedPortrait, coordinates: Float[Tensor, "n m"]
    ) -> tuple[np.ndarray, Float[Tensor, "n k"]]:
        directions = pipeline.core.directions
        motion = coordinates.to(directions) @ directions.T
        decoded = pipeline.computed(pipeline.core.frames(portrait.encoded, motion))
        frames = np.concatenate([batch.cpu().numpy() for batch in decoded])
        read = [self.reader(part, portrait.image) for part in batches(iter(frames))]
        return frames, torch.from_numpy(np.concatenate(read)).double()

    def _write(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
        with whole(self.output / name) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([[f"{value:.6g}" for value in row] for row in rows])


class Spread(NamedTuple):
    """How sampled coordinates are distributed. `low`, `high`: the quantiles `ENDS`."""

    mean: Float[Tensor, " m"]
    covariance: Float[Tensor, "m m"]
    low: Float[Tensor, " m"]
    high: Float[Tensor, " m"]

    @classmethod
    def of(cls, coordinates: Float[Tensor, "t m"]) -> "Spread":
        low, high = (torch.quantile(coordinates, end, dim=0) for end in ENDS)
        return cls(coordinates.mean(0), torch.cov(coordinates.T), low, high)


class Moved(NamedTuple):
    """Frames along each direction, and the clip of these frames, after one at the mean of the motion."""

    frames: np.ndarray
    clip: ReadClip

    @property
    def rest(self) -> Float[Tensor, " k"]:
        return self.clip.read[0]

    @property
    def read(self) -> Float[Tensor, "m s k"]:
        return self.clip.read[1:].view(len(self.frames), STEPS, -1)


def fit(
    clips: Sequence[ReadClip], moved: Sequence[ReadClip], meanings: Sequence[Meaning], weights: str
) -> tuple[Atlas, dict[str, str]]:
    """Fits the map to two thirds of the clips and to what was `moved`, and measures it on every third clip.

    Also returns why meanings are left out.

    Least squares with an intercept for each clip, since what is read of a still face differs between people; the map's
    offset is the mean over clips.
    """
    spread = Spread.of(torch.cat([clip.coordinates for clip in clips]))
    fitted = [*(clip for number, clip in enumerate(clips) if number % HELD_OUT), *moved]
    rows, absent = list[tuple[Meaning, Tensor, float, float, float]](), dict[str, str]()
    for k, meaning in enumerate(meanings):
        seen, held = (
            [part for clip in group if len((part := seen_of(clip, k))[1]) > 1] for group in (fitted, clips[::HELD_OUT])
        )
        num_seen = sum(len(y) for _, y in seen)
        if num_seen <= spread.mean.numel() or not held or not any(float(y.var()) > 0 for _, y in held):
            absent[meaning.name] = "left out, since it was read in too few frames, or never changes"
            continue
        x, y = (torch.cat([values - values.mean(0) for values in column]) for column in zip(*seen, strict=True))
        slope = torch.linalg.lstsq(x, y[:, None], driver="gelsd").solution[:, 0]
        offset = torch.stack([(y - x @ slope).mean() for x, y in seen]).mean()
        wrong = [x @ slope + offset - y for x, y in held]
        own = torch.cat([y - y.mean() for _, y in held])
        own_wrong = torch.cat([error - error.mean() for error in wrong])
        everything = torch.cat([y for _, y in held])
        r2 = 1 - float(torch.cat(wrong).square().mean() / everything.var(correction=0))
        within = 1 - float(own_wrong.square().mean() / own.square().mean())
        rows.append((meaning, torch.cat([slope, offset[None]]), r2, within, float(own_wrong.square().mean().sqrt())))
    if not rows:
        raise UserError("the reader saw no face that moves; give portraits that it can read, as in images=[FILE]")
    kept, solutions, r2s, withins, residuals = zip(*rows, strict=True)
    numbers = {"r2": r2s, "r2_within": withins, "residual": residuals}
    atlas = Atlas(
        weights=weights,
        meanings=list(kept),
        map=torch.stack(solutions)[:, :-1].contiguous(),
        offset=torch.stack(solutions)[:, -1].contiguous(),
        **{name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()},
        **spread._asdict(),
    )
    return atlas, absent


def seen_of(clip: ReadClip, k: int) -> tuple[Float[Tensor, "s m"], Float[Tensor, " s"]]:
    """Returns the coordinates and the reading of a meaning in those frames where it was read."""
    read = clip.read[:, k]
    return clip.coordinates[read.isfinite()], read[read.isfinite()]


def direction_rows(atlas: Atlas, effects: Float[Tensor, "m k"]) -> list[list[float]]:
    """Returns for each direction its number, its range, and the change of each meaning over it."""
    ends = zip(atlas.low.tolist(), atlas.high.tolist(), effects.tolist(), strict=True)
    return [[k, low, high, *effect] for k, (low, high, effect) in enumerate(ends)]


def pair_rows(moved: Moved, both: ReadClip) -> list[list[float]]:
    """Returns for each pair of directions, both at their high ends, what their effects do not add up to."""
    pairs = list(combinations(range(len(moved.frames)), 2))
    alone = moved.read[:, -1] - moved.rest
    rest = both.read - moved.rest - alone[[i for i, _ in pairs]] - alone[[j for _, j in pairs]]
    return [[i, j, *row] for (i, j), row in zip(pairs, rest.tolist(), strict=True)]


def strongest(meanings: Sequence[Meaning], effects: Float[Tensor, "m k"]) -> Iterator[list[int]]:
    """Yields for each direction the places of the meanings that it changes most, of their largest change by any."""
    share = (effects / effects.abs().amax(0).clamp_min(1e-12)).abs().nan_to_num()
    for row in share:
        yield [k for k in row.argsort(descending=True)[:NAMED].tolist() if row[k] > 0.25]


def labels(meanings: Sequence[Meaning], effects: Float[Tensor, "m k"]) -> list[str]:
    """Returns a text for each direction: the meanings that it changes most."""
    texts = []
    for number, (row, places) in enumerate(zip(effects, strongest(meanings, effects), strict=True)):
        lines = [f"{meanings[k].name} {float(row[k]):+.3g} {meanings[k].unit}".replace("toy units", "") for k in places]
        texts.append("\n".join([f"direction {number}", *lines]))
    return texts


def sheet(frames: np.ndarray, texts: Sequence[str]) -> Pictures.Image:
    """Returns a picture with a row for each direction, from its low to its high end, and its label."""
    picture = Pictures.new("RGB", (LABEL_PX + STEPS * FRAME_PX, len(frames) * FRAME_PX), "white")
    draw = ImageDraw.Draw(picture)
    for row, (line, text) in enumerate(zip(frames, texts, strict=True)):
        draw.multiline_text((6, row * FRAME_PX + 8), text, fill="black", spacing=4)
        for column, frame in enumerate(line):
            small = Pictures.fromarray(frame).resize((FRAME_PX, FRAME_PX), Pictures.Resampling.LANCZOS)
            picture.paste(small, (LABEL_PX + column * FRAME_PX, row * FRAME_PX))
    return picture


def effect_table(meanings: Sequence[Meaning], effects: Float[Tensor, "m k"]) -> Table:
    """Returns a table of the change of each meaning over the range of each direction."""
    rows = [[str(k), *(f"{value:.2g}" for value in row)] for k, row in enumerate(effects.tolist())]
    return Table(["direction", *(meaning.name for meaning in meanings)], rows, "change from the low to the high end")


def accuracy_table(atlas: Atlas) -> Table:
    """Returns a table of how well the linear map predicts each meaning on held-out clips."""
    rows = []
    for k, meaning in enumerate(atlas.meanings):
        r2, within = float(atlas.r2[k]), float(atlas.r2_within[k])
        note = "" if max(r2, within) >= LEAST_R2 else "edits of it are rough"
        error = f"{float(atlas.residual[k]):.3g} {meaning.unit}"
        rows.append([meaning.name, meaning.group, f"{r2:.2f}", f"{within:.2f}", error, note])
    title = "linear map from directions to meanings, on held-out clips"
    return Table(["meaning", "group", "R²", "R² within clips", "error within clips", ""], rows, title)
