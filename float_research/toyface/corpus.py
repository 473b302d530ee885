"""A corpus of utterances: a folder of FLAC files with one line of JSON each in `corpus.jsonl`."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import track

from float_research.errors import UserError, printable, reading
from float_research.files import require_file
from float_research.texts import read_text
from float_research.toyface.phones import SILENCE
from float_research.toyface.prosody import PROSODIES, sample_prosody
from float_research.toyface.sentences import all_sentences
from float_research.toyface.speech import RATE_HZ, Phone, Utterance, fill_gaps
from float_research.toyface.voices import Voice
from float_research.types import Waveform

INDEX, SETTINGS = "corpus.jsonl", "settings.json"
TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)
PACKAGE = Path(__file__).parents[1]
AGAIN = "generate the corpus again with scripts/make_speech.py"
MAX_SAMPLES = 600 * RATE_HZ
"""Longest utterance."""


@dataclass(frozen=True, kw_only=True)
class CorpusEntry:
    """One line of a corpus index; `load` reads its sound."""

    file: Path
    id: str
    text: str
    voice: str
    emotion: str
    num_samples: int
    phones: tuple[Phone, ...]

    def load(self) -> Utterance:
        """Loads the utterance.

        Raises:
            UserError: the file is missing or does not match the index.
        """
        require_file(self.file, "the sound", AGAIN)
        with reading(f"the sound {self.file}", AGAIN), soundfile.SoundFile(os.fsencode(self.file)) as file:
            form = file.samplerate, file.channels, file.frames
            waveform = file.read(self.num_samples, dtype="float32") if form == (RATE_HZ, 1, self.num_samples) else None
        if waveform is None or waveform.shape != (self.num_samples,):
            raise UserError(f"{self.file} does not match the index of its corpus; {AGAIN}")
        return Utterance(
            id=self.id, text=self.text, voice=self.voice, emotion=self.emotion, waveform=waveform, phones=self.phones
        )


def read_corpus(folder: Path, split: str) -> list[CorpusEntry]:
    """Reads the utterances of a split, `train` or `held_out`, in order. The splits share no sentence.

    Raises:
        UserError: there is no such corpus or split.
    """
    if split not in SPLITS:
        raise UserError(f"split={split} is unknown; choose one of {', '.join(SPLITS)}")
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} has no {INDEX}; generate it with python scripts/make_speech.py output={folder}")
    lines = enumerate(read_text(folder / INDEX, what="the index", remedy=AGAIN).splitlines(), 1)
    entries = (_entry(folder, f"{folder / INDEX}, line {number},", line) for number, line in lines)
    return [entry for entry, found in entries if found == split]


def _entry(folder: Path, name: str, text: str) -> tuple[CorpusEntry, str]:
    """Parses a line of the index to an entry and its split. `name` begins the message of a UserError."""
    with reading(name, AGAIN):
        line = json.loads(text)
        if not isinstance(line, dict):
            raise ValueError("it is not a mapping")
        for key in ("id", "split", "text", "voice", "emotion"):
            _require(isinstance(line.get(key), str), line, key)
        _require(line["split"] in SPLITS, line, "split")
        _require(type(line.get("num_samples")) is int and 0 < line["num_samples"] <= MAX_SAMPLES, line, "num_samples")
        _require(isinstance(line.get("phones"), list) and all(map(_is_phone, line["phones"])), line, "phones")
        phones = tuple(Phone(label, start, end, stress) for label, start, end, stress in line["phones"])
        words = {key: line[key] for key in ("id", "text", "voice", "emotion", "num_samples")}
        return CorpusEntry(file=_sound(folder, line.get("file")), phones=phones, **words), line["split"]


def _sound(folder: Path, name: Any) -> Path:
    """Returns the path of a sound file, which must be in the corpus folder, or in this package for its own corpus."""
    root = PACKAGE if folder.is_relative_to(PACKAGE) else folder
    if not isinstance(name, str) or "\0" in name or not Path(os.path.normpath(folder / name)).is_relative_to(root):
        raise ValueError(f"its file is {printable(repr(name), 60)}, which is outside the corpus")
    return folder / name


def _require(right: bool, line: Mapping[str, Any], key: str) -> None:
    if not right:
        raise ValueError(f"its {key} is {printable(repr(line.get(key)), 60)}")


def _is_phone(phone: Any) -> bool:
    """Returns whether this is a label, start and end in seconds, and a stress."""
    if not (isinstance(phone, list) and len(phone) == 4 and isinstance(phone[0], str)):
        return False
    numbers = all(type(value) in {int, float} and math.isfinite(value) for value in phone[1:])
    return numbers and 0 <= phone[1] <= phone[2]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Settings of a corpus. Each utterance depends only on the seed and its number."""

    output: str
    seed: int
    num_train: int
    num_held_out: int
    num_sentences: int
    held_out_sentences: float
    """Share of the sentences that are held out."""
    silence_s: Sequence[float]
    """Range of the silence before and after the speech."""
    voices: Sequence[Voice]

    def make(self, console: Console) -> None:
        """Synthesises the corpus in a `.part` folder, renamed to `output` at the end. Resumes if interrupted.

        Raises:
            UserError: `output` exists, a partial corpus with other settings exists, or a number is invalid.
        """
        output = Path(self.output)
        aside = output.with_name(output.name + ".part")
        if output.exists():
            raise UserError(f"output={output} exists; delete it or give another folder")
        if not 0 < self.held_out_sentences < 1:
            raise UserError(f"held_out_sentences={self.held_out_sentences:g} must be between 0 and 1")
        aside.mkdir(parents=True, exist_ok=True)
        settings = json.dumps({"settings": repr(self)}, indent=1) + "\n"
        if (aside / SETTINGS).is_file() and read_text(aside / SETTINGS) != settings:
            raise UserError(f"{aside} was started with other settings; delete it or give another output")
        (aside / SETTINGS).write_text(settings, encoding="utf-8")
        done = _finished_lines(aside / INDEX)
        with (aside / INDEX).open("a", encoding="utf-8") as index:
            plan = list(self.plan())
            for i, split, sentence in track(plan, "speaking", console=console, disable=not console.is_terminal):
                if i >= done:
                    index.write(json.dumps(self.speak(aside, i, split, sentence), ensure_ascii=False) + "\n")
                    index.flush()
        aside.rename(output)

    def plan(self) -> Iterator[tuple[int, str, str]]:
        """Yields number, split and sentence of each utterance. Sentences repeat only after all of a split were used."""
        generator = np.random.default_rng(self.seed)
        sentences = all_sentences(self.num_sentences, generator)
        num_held_out = max(round(self.held_out_sentences * len(sentences)), 1)
        pools = {HELD_OUT: sentences[:num_held_out], TRAIN: sentences[num_held_out:]}
        number = 0
        for split, count in ((TRAIN, self.num_train), (HELD_OUT, self.num_held_out)):
            for i in range(count):
                if i % len(pools[split]) == 0:
                    order = generator.permutation(len(pools[split]))
                yield number, split, pools[split][order[i % len(pools[split])]]
                number += 1

    def speak(self, folder: Path, number: int, split: str, sentence: str) -> dict[str, object]:
        """Writes one utterance's sound and returns its line of the index. Emotions and voices alternate."""
        generator = np.random.default_rng((self.seed, number))
        emotions = tuple(PROSODIES)
        emotion = emotions[number % len(emotions)]
        voice = self.voices[number // len(emotions) % len(self.voices)]
        waveform, phones = voice.say(sentence, sample_prosody(emotion, generator), generator)
        waveform, phones = set_silence(waveform, phones, *generator.uniform(self.silence_s[0], self.silence_s[1], 2))
        file = f"{number:06d}.flac"
        soundfile.write(folder / file, waveform, RATE_HZ, subtype="PCM_16")
        times = [(phone.label, round(phone.start_s, 4), round(phone.end_s, 4), phone.stress) for phone in phones]
        about = {"id": f"{number:06d}", "split": split, "file": file, "voice": voice.name, "emotion": emotion}
        return {**about, "text": sentence, "num_samples": len(waveform), "phones": times}


def set_silence(
    waveform: Waveform, phones: Sequence[Phone], before_s: float, after_s: float
) -> tuple[Waveform, tuple[Phone, ...]]:
    """Trims or pads speech to the given silence before and after it, and fades it in and out over 10 ms."""
    spoken = [phone for phone in phones if phone.label != SILENCE]
    first, last = (spoken[0].start_s, spoken[-1].end_s) if spoken else (0.0, len(waveform) / RATE_HZ)
    margin_s = 0.05
    begin, end = max(int((first - margin_s) * RATE_HZ), 0), min(int((last + margin_s) * RATE_HZ), len(waveform))
    kept = waveform[begin:end].copy()
    fade = np.linspace(0, 1, min(RATE_HZ // 100, len(kept)), dtype=np.float32)
    kept[: len(fade)] *= fade
    kept[len(kept) - len(fade) :] *= fade[::-1]
    lead = max(int(before_s * RATE_HZ) - (int(first * RATE_HZ) - begin), 0)
    trail = max(int(after_s * RATE_HZ) - (end - int(last * RATE_HZ)), 0)
    shift_s = (lead - begin) / RATE_HZ
    moved = [phone._replace(start_s=phone.start_s + shift_s, end_s=phone.end_s + shift_s) for phone in spoken]
    framed = np.pad(kept, (lead, trail))
    return framed, fill_gaps(moved, len(framed) / RATE_HZ)


def _finished_lines(path: Path) -> int:
    """Returns the number of complete lines of a file, after removing an incomplete last line."""
    if not path.is_file():
        return 0
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"\n") + 1])
    return content.count(b"\n")
