"""ARPAbet phones, and the mapping to them from the IPA of espeak-ng and piper, and from hibari's shorter spellings."""

from typing import NamedTuple

from float_research.errors import UserError

SILENCE = "SIL"
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P"),
    *("R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
PHONES = (*VOWELS, *CONSONANTS, SILENCE)
"""The 39 phones of American English without stress digits, as in pocketsphinx's en-us model, and silence."""

STRESS_MARKS = {"ˈ": 1.0, "ˌ": 0.5}
IGNORED = frozenset("ː̩̯̃ˑʲ̪‿͡-")
"""Length, syllabicity and other marks that do not change the phone."""
PAUSES = frozenset(',.;:!?^$_"()—…“”')
"""Symbols that a voice renders as silence."""
_SPELLINGS = {
    "AA": "ɑː ɑ ɒ",
    "AE": "a æ",
    "AH": "ʌ ə ɐ ᵊ",
    "AO": "ɔː oː ɔ",
    "AW": "aʊ ʌʉ W",
    "AY": "aɪ I",
    "EH": "eə e ɛ",
    "ER": "ɜː ɜːɹ ɜ ɚ ɝ ɚɹ ɜɹ",
    "EY": "eɪ eː A",
    "IH": "ɪ ᵻ ɨ",
    "IY": "iː i y",
    "OW": "oʊ əʊ o O Q",
    "OY": "ɔɪ Y",
    "UH": "ʊ",
    "UW": "uː ʉː u ʉ",
    "B": "b",
    "CH": "tʃ ʧ",
    "D": "d ɾ T",
    "DH": "ð",
    "F": "f",
    "G": "ɡ g",
    "HH": "h ç",
    "JH": "dʒ ʤ",
    "K": "k x q",
    "L": "l ɫ ɬ",
    "M": "m",
    "N": "n ɲ",
    "NG": "ŋ",
    "P": "p",
    "R": "ɹ r ɻ ʁ",
    "S": "s",
    "SH": "ʃ",
    "T": "t ʔ",
    "TH": "θ",
    "V": "v",
    "W": "w ʍ",
    "Y": "j",
    "Z": "z",
    "ZH": "ʒ",
}
IPA = {group: label for label, groups in _SPELLINGS.items() for group in groups.split()}
"""The phone of each group of IPA symbols."""
LONGEST = max(map(len, IPA))


class Sound(NamedTuple):
    """The phone of the symbols `start` to `end` of an IPA text, with its stress."""

    label: str
    stress: float
    start: int
    end: int


def sounds(ipa: str) -> list[Sound]:
    """Parses an IPA text, longest known group first. A stress mark applies to the next vowel.

    Symbols of silence give a `SIL`; spaces only end a group. Ignored symbols extend the phone before them.

    Raises:
        UserError: a symbol is unknown.
    """
    found: list[Sound] = []
    stress, start, place = 0.0, 0, 0
    while place < len(ipa):
        symbol = ipa[place]
        if symbol in STRESS_MARKS:
            stress, place = STRESS_MARKS[symbol], place + 1
        elif symbol.isspace():
            place += 1
            start = place
        elif symbol in IGNORED:
            place += 1
            if found:
                found[-1] = found[-1]._replace(end=place)
            start = place
        elif symbol in PAUSES:
            place += 1
            found.append(Sound(SILENCE, 0.0, start, place))
            start = place
        else:
            group = next((ipa[place : place + n] for n in range(LONGEST, 0, -1) if ipa[place : place + n] in IPA), None)
            if group is None:
                raise UserError(f"phone {symbol!r} in {ipa!r} is unknown; use English words")
            is_vowel = IPA[group] in VOWELS
            place += len(group)
            found.append(Sound(IPA[group], stress if is_vowel else 0.0, start, place))
            stress = 0.0 if is_vowel else stress
            start = place
    return found
