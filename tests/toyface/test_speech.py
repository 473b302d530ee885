"""Phones: parsed from IPA, without gaps, and aligned with the sound after changes of prosody."""

import re
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from fake_voice import FakeVoice

from float_research.errors import UserError
from float_research.program import install
from float_research.toyface.align import add_stress, align
from float_research.toyface.phones import IPA, PHONES, SILENCE, VOWELS, sounds
from float_research.toyface.prosody import PROSODIES, add_hesitations, sample_prosody
from float_research.toyface.recordings import recordings
from float_research.toyface.speech import RATE_HZ, Phone, Utterance, fill_gaps
from float_research.toyface.voices import EspeakVoice, HibariVoice, PiperVoice, Voice, piper_phones, tool
from float_research.types import Waveform

TOOLS = {
    "piper": PiperVoice(name="joe", pitch=1.1, rate=1.0),
    "hibari": HibariVoice(name="heart", pitch=0.9, rate=1.0),
    "espeakng_loader": EspeakVoice(name="fay", variant="en-us+f2", pitch=1.0, words_per_minute=160),
}
PLAIN = PROSODIES["neutral"]
FAKE = FakeVoice(name="fake")


def spelled(ipa: str) -> str:
    return " ".join(sound.label + {0.0: "", 0.5: "2", 1.0: "1"}[sound.stress] for sound in sounds(ipa))


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("ðə kwˈɪk bɹˈaʊn fˈɑːks dʒˈʌmps ˌoʊvɚ", "DH AH K W IH1 K B R AW1 N F AA1 K S JH AH1 M P S OW2 V ER"),
        ("tʃˈaɪldz vˈɔɪs, dˈɪdnt ʃiː?", "CH AY1 L D Z V OY1 S SIL D IH1 D N T SH IY SIL"),
        (
            "ʤˈʌʤ ʧˈAnʤd mˈInd, əbˈWt ɹˈYᵊl—bˈɛTəɹ",
            "JH AH1 JH CH EY1 N JH D M AY1 N D SIL AH B AW1 T R OY1 AH L SIL B EH1 D AH R",
        ),
        ("mˈɛʒɚ θˈɜːzdeɪ ɡɚɹˈɑːʒ", "M EH1 ZH ER TH ER1 Z D EY G ER AA1 ZH"),
        ("bˈʌʔn̩ lˈɪɾəl fˈaɪɚɹ ɐɹˈaʊnd", "B AH1 T N L IH1 D AH L F AY1 ER AH R AW1 N D"),
        ("sˈiːʲ ɹᵻspˈɛktəbəl ænd nˌɪɹ pˈʊɹ", "S IY1 R IH S P EH1 K T AH B AH L AE N D N IH2 R P UH1 R"),
        ("ɡˈəʊ hˈɒt hˈæŋɡ jˈuːs", "G OW1 HH AA1 T HH AE1 NG G Y UW1 S"),
    ],
)
def test_ipa_is_mapped_to_arpabet(ipa: str, phones: str) -> None:
    assert spelled(ipa) == phones


def test_the_phones_are_pocketsphinxs() -> None:
    assert len(PHONES) == len(set(PHONES)) == 40
    assert set(IPA.values()) | {SILENCE} == set(PHONES), "every phone has an IPA spelling"
    with pytest.raises(UserError, match="'ʘ'"):
        sounds("ʘa")


def test_gaps_are_filled_with_silence() -> None:
    phones = [Phone("B", 0.1, 0.2, 0.0), Phone("AA", 0.2, 0.4, 1.0), Phone(SILENCE, 0.4, 0.5, 0.0)]
    covered = fill_gaps([*phones, Phone("M", 0.45, 0.7, 0.0), Phone("S", 0.70001, 2.0, 0.0)], 1.0)
    assert [phone.label for phone in covered] == ["SIL", "B", "AA", "SIL", "M", "S"]
    check_cover(covered, 1.0)
    assert fill_gaps([], 1.0) == (Phone(SILENCE, 0.0, 1.0, 0.0),)


def check_cover(phones: tuple[Phone, ...], duration_s: float) -> None:
    assert phones[0].start_s == 0
    assert phones[-1].end_s == pytest.approx(duration_s, abs=1e-3)
    for left, right in pairwise(phones):
        assert left.end_s == right.start_s
        assert (left.label, right.label) != (SILENCE, SILENCE)
    assert all(phone.end_s > phone.start_s and phone.label in PHONES for phone in phones)


def levels_db(waveform: Waveform, phones: tuple[Phone, ...], labels: tuple[str, ...]) -> float:
    """Returns the loudness within phones, without their first and last 10 ms."""
    time = np.arange(len(waveform)) / RATE_HZ
    inside = np.zeros(len(time), dtype=bool)
    for phone in phones:
        inside |= (phone.label in labels) & (time > phone.start_s + 0.01) & (time < phone.end_s - 0.01)
    return float(10 * np.log10(np.square(waveform[inside]).mean() + 1e-12))


@pytest.mark.parametrize("emotion", PROSODIES)
def test_phones_stay_aligned_with_the_sound(emotion: str) -> None:
    generator = np.random.default_rng(0)
    waveform, phones = FAKE.say("one two, three four", sample_prosody(emotion, generator), generator)
    check_cover(phones, len(waveform) / RATE_HZ)
    vowels, others = (levels_db(waveform, phones, labels) for labels in (VOWELS, ("S", SILENCE)))
    assert vowels > others + 15
    assert np.abs(waveform).max() <= 1


def say(**changes: float) -> tuple[Waveform, tuple[Phone, ...]]:
    return FAKE.say("one two, three four", replace(PLAIN, slope=0.0, **changes), np.random.default_rng(0))


def vowel_hz(waveform: Waveform, phones: tuple[Phone, ...]) -> float:
    """Estimates the frequency of the first vowel from its zero crossings."""
    vowel = next(phone for phone in phones if phone.label == "AA")
    inside = waveform[int((vowel.start_s + 0.02) * RATE_HZ) : int((vowel.end_s - 0.02) * RATE_HZ)]
    return np.count_nonzero(np.diff(np.sign(inside))) * RATE_HZ / 2 / len(inside)


def test_each_prosody_parameter_has_its_effect() -> None:
    waveform, phones = say()
    high, high_phones = say(pitch=1.5)
    assert vowel_hz(high, high_phones) / vowel_hz(waveform, phones) == pytest.approx(1.5, rel=0.1)
    pause, long_pause = ([p for p in w if p.label == SILENCE][1] for w in (phones, say(pause=2.0)[1]))
    assert long_pause.end_s - long_pause.start_s == pytest.approx(2 * (pause.end_s - pause.start_s), rel=0.1)
    quiet = say(gain_db=-6.0)[0]
    assert 20 * np.log10(quiet.std() / waveform.std()) == pytest.approx(-6, abs=0.3)
    bright = say(tilt_db=3.0)[0]
    hiss = [np.abs(np.fft.rfft(w))[int(len(w) / 4) :].mean() / w.std() for w in (waveform, bright)]
    assert hiss[1] > 1.5 * hiss[0]


def test_prosody_is_random_and_reproducible() -> None:
    one, two, again = (sample_prosody("sad", np.random.default_rng(seed)) for seed in (1, 2, 1))
    assert one == again != two
    text = add_hesitations(
        "they were the only ones left there", replace(PLAIN, hesitation=1.0), np.random.default_rng(0)
    )
    assert text == "they, were, the only, ones, left, there"
    with pytest.raises(UserError, match="'bored' is unknown"):
        sample_prosody("bored", np.random.default_rng(0))


def test_pipers_durations_are_split_among_neighbours() -> None:
    # ^ _ h _ ˈ _ a _ ɪ _ . _ $: 0.1 s each
    phones = piper_phones("hˈaɪ.", [0.1] * 13, 0.0)
    assert [phone.label for phone in phones] == ["HH", "AY", "SIL"]
    assert [phone.stress for phone in phones] == [0.0, 1.0, 0.0]
    times = [(phone.start_s, phone.end_s) for phone in phones]
    assert np.allclose(times, [(0.09, 0.39), (0.39, 0.89), (0.89, 1.09)]), "half of the stress mark's 0.2 s each"


@pytest.mark.parametrize(("module", "voice"), TOOLS.items(), ids=TOOLS)
def test_phones_of_a_tools_voice_are_aligned(module: str, voice: Voice) -> None:
    if find_spec(module) is None:
        pytest.skip(f"needs {module}, of the extra toyface")
    text = "Thomas bought a big yellow boat, and he laughed."
    waveform, phones = voice.say(text, PLAIN, np.random.default_rng(0))
    voice.say("Something else.", PLAIN, np.random.default_rng(1))
    again, same = voice.say(text, PLAIN, np.random.default_rng(0))
    assert np.array_equal(waveform, again)
    assert phones == same
    check_cover(phones, len(waveform) / RATE_HZ)
    assert levels_db(waveform, phones, VOWELS) > levels_db(waveform, phones, (SILENCE,)) + 20
    assert levels_db(waveform, phones, VOWELS) > levels_db(waveform, phones, ("P", "T", "K", "B", "D", "G")) + 5
    assert max(phone.stress for phone in phones) == 1


def test_an_absent_tool_is_named() -> None:
    with pytest.raises(UserError, match="no_such_tool is not installed; " + re.escape(install("toyface"))):
        tool("no_such_tool")


RECORDINGS = recordings()


@pytest.mark.parametrize("recording", RECORDINGS, ids=[recording.id for recording in RECORDINGS])
def test_real_recordings_are_louder_in_vowels_than_in_silence(recording: Utterance) -> None:
    assert recording.waveform.dtype == np.float32
    check_cover(recording.phones, recording.duration_s)
    loud, quiet = (levels_db(recording.waveform, recording.phones, labels) for labels in (VOWELS, (SILENCE,)))
    assert loud > quiet + 15
    assert 0.2 < np.mean([phone.stress > 0 for phone in recording.phones if phone.label in VOWELS]) < 0.8


def test_alignment_agrees_with_the_stored_one() -> None:
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx, of the extra toyface")
    arctic = RECORDINGS[0]
    phones = align(arctic.waveform, arctic.text)
    assert [phone.label for phone in phones] == [phone.label for phone in arctic.phones]
    assert np.allclose([phone.start_s for phone in phones], [phone.start_s for phone in arctic.phones], atol=0.02)
    with pytest.raises(UserError, match="xyzzy"):
        align(arctic.waveform, "and xyzzy")


def test_stress_comes_from_the_text() -> None:
    phones = fill_gaps([Phone(label, i, i + 1.0, 0.0) for i, label in enumerate(["HH", "AH", "L", "OW"])], 4.0)
    assert [phone.stress for phone in add_stress(phones, "həlˈoʊ")] == [0, 0, 0, 1]
    assert [phone.stress for phone in add_stress(phones, "hɛlˈoʊ")] == [0, 0, 0, 1], "another first vowel"
