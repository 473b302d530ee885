"""The complete evaluation of a demo model."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from float_research.data.image import read_image
from float_research.evaluation.converging import solvers
from float_research.evaluation.figure import Figure, table
from float_research.evaluation.landmarks import agreement
from float_research.evaluation.moving import moving
from float_research.evaluation.portraits import reading, reconstruction
from float_research.evaluation.speaking import Speaking
from float_research.inference.api import Pipeline
from float_research.printing import say
from float_research.toyface.corpus import HELD_OUT, read_corpus
from float_research.toyface.reader import load_reader
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ
from float_research.tracking import record

SUBJECTS = ("portraits", "landmarks", "speaking", "motion", "solvers")


@dataclass(frozen=True, kw_only=True)
class DemoEvaluation:
    """Evaluates a model on held-out people, sentences and real recordings. `load` loads it with further overrides."""

    load: Callable[[Sequence[str]], Pipeline]
    subjects: Sequence[str]
    reader: Path
    portrait: Path
    corpus: Path | None
    num_pairs: int
    coordinate_scale: float
    output: Path

    def run(self, console: Console) -> bool:
        """Prints and writes all figures; returns whether every goal is reached."""
        found: list[Figure] = []
        began = time.monotonic()
        for number, subject in enumerate(self.subjects, 1):
            say(console, f"{number}/{len(self.subjects)} {subject}")
            figures = []
            for figure in self.figures(subject):
                say(console, f"  {time.monotonic() - began:4.0f} s  {figure}")
                figures.append(figure)
            console.print(table(subject, figures))
            found += figures
        record.write_json(self.output, {"figures": [figure.as_json() for figure in found]})
        missed = [figure.name for figure in found if figure.reached is False]
        say(console, f"{len(missed)} goals missed; all figures: {self.output}")
        return not missed

    def figures(self, subject: str) -> Iterator[Figure]:
        """Yields the figures of a subject as they are found."""
        reader, portrait = load_reader(self.reader), read_image(self.portrait, "black")
        real = recordings()
        if subject == "portraits":
            with torch.inference_mode():
                model = self.load([]).core.model.motion_autoencoder
                yield from reconstruction(model, self.num_pairs)
                yield from reading(reader, self.num_pairs)
        elif subject == "landmarks":
            with torch.inference_mode():
                yield from agreement(reader)
        elif subject == "solvers":
            yield from solvers(self.load, portrait, real[0].waveform, RATE_HZ)
        else:
            spoken = [entry.load() for entry in read_corpus(self.corpus, HELD_OUT)] if self.corpus else []
            speaking = Speaking(
                load=self.load,
                reader=reader,
                portrait=portrait,
                recordings=real,
                synthetic=spoken,
                coordinate_scale=self.coordinate_scale,
            )
            yield from moving(speaking) if subject == "motion" else speaking.figures()
