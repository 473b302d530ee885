"""Real speech with aligned phones, held out from all training: CMU ARCTIC and LibriVox."""

from pathlib import Path

from float_research.toyface.corpus import HELD_OUT, read_corpus
from float_research.toyface.speech import Utterance

FOLDER = Path(__file__).parent


def recordings() -> list[Utterance]:
    """Loads arctic_a0007 and five sentences of Sense and Sensibility, aligned with phones by pocketsphinx."""
    return [entry.load() for entry in read_corpus(FOLDER, HELD_OUT)]
