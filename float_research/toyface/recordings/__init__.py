"""Real speech with aligned phones, held out from all training: CMU ARCTIC and LibriVox."""

import json
import shutil
from pathlib import Path

from float_research.files import whole
from float_research.toyface.corpus import HELD_OUT, INDEX, TRAIN, read_corpus
from float_research.toyface.speech import Utterance

FOLDER = Path(__file__).parent


def recordings() -> list[Utterance]:
    """Loads arctic_a0007 and five sentences of Sense and Sensibility, aligned with phones by pocketsphinx."""
    return [entry.load() for entry in read_corpus(FOLDER, HELD_OUT)]


def write_trial_corpus(folder: Path) -> None:
    """Writes the LibriVox sentences as a corpus in which each is both trained on and held out: for trials only."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for text in (FOLDER / INDEX).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if (FOLDER / line["file"]).parent == FOLDER:
            shutil.copyfile(FOLDER / line["file"], folder / line["file"])
            lines += [json.dumps({**line, "split": split}) for split in (TRAIN, HELD_OUT)]
    with whole(folder / INDEX) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
