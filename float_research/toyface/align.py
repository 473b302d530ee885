"""Forced alignment of a recording and its words with pocketsphinx. For generating data, not for inference."""

import difflib
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from float_research.errors import UserError
from float_research.program import install
from float_research.toyface.phones import VOWELS, sounds
from float_research.toyface.speech import RATE_HZ, Phone, fill_gaps
from float_research.types import Waveform

FRAME_HZ = 100


def align(waveform: Waveform, text: str) -> tuple[Phone, ...]:
    """Aligns a recording at 16 kHz with its `text`; returns phones on a grid of 10 ms, without stress.

    Raises:
        UserError: pocketsphinx is not installed, lacks a word, or cannot align the text with the recording.
    """
    try:
        decoder = import_module("pocketsphinx").Decoder(lm=None, samprate=RATE_HZ, loglevel="FATAL")
    except ImportError as error:
        raise UserError(f"pocketsphinx is not installed; {install('toyface')}") from error
    words = re.sub(r"[^a-z' ]+", " ", text.lower()).split()
    if unknown := [word for word in words if decoder.lookup_word(word) is None]:
        raise UserError(f"pocketsphinx has no pronunciation of {', '.join(unknown)}; respell it with known words")
    decoder.set_align_text(" ".join(words))
    samples = (waveform.clip(-1, 1) * 32767).astype(np.int16).tobytes()
    try:
        _hear(decoder, samples)
        decoder.set_alignment()
        _hear(decoder, samples)
        phones = [
            Phone(phone.name, phone.start / FRAME_HZ, (phone.start + phone.duration) / FRAME_HZ, 0.0)
            for word in decoder.get_alignment()
            for phone in word
        ]
    except (RuntimeError, TypeError) as error:
        raise UserError(f"the recording does not match {text!r}; give the words that are spoken") from error
    return fill_gaps(phones, len(waveform) / RATE_HZ)


def _hear(decoder: Any, samples: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()


def add_stress(phones: Sequence[Phone], ipa: str) -> tuple[Phone, ...]:
    """Adds the stresses in a text's IPA to the phones, wherever the two agree on the vowel or its neighbours."""
    spelled = sounds(ipa)
    labels = [phone.label for phone in phones], [sound.label for sound in spelled]
    matcher = difflib.SequenceMatcher(None, *labels, autojunk=False)
    marked = list(phones)
    for kind, left, left_end, right, right_end in matcher.get_opcodes():
        pairs = zip(range(left, left_end), range(right, right_end), strict=False) if kind != "delete" else ()
        for i, j in pairs:
            if phones[i].label in VOWELS:
                marked[i] = marked[i]._replace(stress=spelled[j].stress)
    return tuple(marked)
