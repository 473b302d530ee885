"""Bindings to the part of espeak-ng's C API (speak_lib.h) that returns samples and the positions of phonemes."""

import ctypes
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from float_research.errors import UserError
from float_research.types import Waveform

SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA = 1, 2
RATE, VOLUME, PITCH = 1, 2, 3
LIST_TERMINATED, PHONEME = 0, 7
UTF8 = 1
VOLUME_PERCENT = 60
"""Below the default of 100, at which some voices clip."""


class _Id(ctypes.Union):
    _fields_: ClassVar = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Samples, and for each phoneme its first sample and its IPA, `_` for a pause."""

    waveform: Waveform
    rate_hz: int
    events: list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Espeak:
    """espeak-ng, given the paths of its library and data. POSIX only."""

    library: str
    data: str

    def speak(self, text: str, *, variant: str, pitch: float, words_per_minute: float) -> Spoken:
        """Synthesises a text. `pitch`: factor of the voice's own pitch, from 0.5 to 2.

        Reloads the library for each text, because its state from earlier texts would change the sound.

        Raises:
            UserError: there is no such voice.
        """
        library = ctypes.CDLL(self.library)
        parts: list[np.ndarray] = []
        events: list[tuple[int, str]] = []

        def receive(samples: Any, num_samples: int, event: Any) -> int:
            if samples and num_samples:
                parts.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
            i = 0
            while event[i].type != LIST_TERMINATED:
                if event[i].type == PHONEME:
                    ipa = bytes(event[i].id.string).split(b"\0")[0].decode("utf-8", "ignore")
                    events.append((event[i].sample, ipa or "_"))
                i += 1
            return 0

        callback = _CALLBACK(receive)
        try:
            rate_hz = library.espeak_Initialize(SYNCHRONOUS, 0, self.data.encode(), PHONEME_EVENTS | PHONEME_IPA)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(variant.encode()) != 0:
                raise UserError(f"espeak voice {variant!r} is unknown; choose one such as en-us or en-us+f2")
            library.espeak_SetParameter(RATE, round(words_per_minute), 0)
            library.espeak_SetParameter(PITCH, round(50 + 50 * math.log2(pitch)), 0)
            library.espeak_SetParameter(VOLUME, VOLUME_PERCENT, 0)
            encoded = text.encode()
            library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
        finally:
            library.espeak_Terminate()
            ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
        return Spoken(waveform=np.concatenate(parts).astype(np.float32) / 32768, rate_hz=rate_hz, events=events)
