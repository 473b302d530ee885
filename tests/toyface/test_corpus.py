"""Corpora: written once, read lazily, resumed after an interruption, split by sentence."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_voice import FakeVoice
from rich.console import Console

from float_research import compose
from float_research.errors import UserError
from float_research.toyface.corpus import Corpus, read_corpus
from float_research.toyface.prosody import PROSODIES
from float_research.toyface.sentences import all_sentences, written_sentences
from float_research.toyface.voices import EspeakVoice, HibariVoice, PiperVoice

QUIET = Console(quiet=True)


def corpus(output: Path, fails_at: int = 10**9) -> Corpus:
    return Corpus(
        output=str(output),
        seed=3,
        num_train=14,
        num_held_out=7,
        num_sentences=40,
        held_out_sentences=0.2,
        silence_s=[0.2, 0.5],
        voices=[FakeVoice(name="a", fails_at=fails_at), FakeVoice(name="b")],
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!s]*")}


def test_a_corpus_is_read_as_it_was_written(tmp_path: Path) -> None:
    corpus(tmp_path / "c").make(QUIET)
    assert not (tmp_path / "c.part").exists()
    train, held_out = (read_corpus(tmp_path / "c", split) for split in ("train", "held_out"))
    assert (len(train), len(held_out)) == (14, 7)
    assert not {entry.text for entry in train} & {entry.text for entry in held_out}
    assert sorted(entry.emotion for entry in train) == sorted([*PROSODIES, *PROSODIES])
    assert [entry.voice for entry in train] == ["a"] * 7 + ["b"] * 7
    for entry in (train[0], held_out[-1]):
        utterance = entry.load()
        assert utterance.duration_s == pytest.approx(utterance.phones[-1].end_s, abs=1e-3)
        assert utterance.phones[0].start_s == 0
        assert 0.2 <= utterance.phones[0].end_s <= 0.5, "starts with silence"
        assert np.abs(utterance.waveform[: int(0.1 * 16000)]).max() < 0.01 < np.abs(utterance.waveform).max()
        vowel = next(phone for phone in utterance.phones if phone.label == "AA")
        begin, end = (int(second * 16000) for second in (vowel.start_s, vowel.end_s))
        assert np.abs(utterance.waveform[begin:end]).mean() > 3 * np.abs(utterance.waveform[begin - 800 : begin]).mean()


def test_an_interrupted_corpus_is_resumed(tmp_path: Path) -> None:
    corpus(tmp_path / "whole").make(QUIET)
    with pytest.raises(KeyboardInterrupt):
        corpus(tmp_path / "c", fails_at=5).make(QUIET)
    assert not (tmp_path / "c").exists()
    with (tmp_path / "c.part" / "corpus.jsonl").open("a") as index:
        index.write('{"id": "half a li')
    rest = corpus(tmp_path / "c")
    rest.make(QUIET)
    assert len(rest.voices[0].said) == 14 - 5, "only what was missing"
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")


def test_an_existing_corpus_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match=r"c exists; delete it"):
        corpus(tmp_path / "c").make(QUIET)
    (tmp_path / "d.part").mkdir()
    (tmp_path / "d.part" / "settings.json").write_text("{}")
    with pytest.raises(UserError, match=r"d\.part was started with other settings"):
        corpus(tmp_path / "d").make(QUIET)


def test_a_missing_corpus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no corpus\.jsonl"):
        read_corpus(tmp_path, "train")
    with pytest.raises(UserError, match="split=test"):
        read_corpus(tmp_path, "test")
    corpus(tmp_path / "c").make(QUIET)
    first, second, *_ = read_corpus(tmp_path / "c", "train")
    first.file.unlink()
    soundfile.write(second.file, np.zeros(100), 16000)
    with pytest.raises(UserError, match=r"000000\.flac does not exist"):
        first.load()
    with pytest.raises(UserError, match=r"000001\.flac does not match"):
        second.load()


GOOD = {
    "id": "0", "split": "train", "file": "0.flac", "voice": "a", "emotion": "happy",
    "text": "hm", "num_samples": 100, "phones": [["AA", 0, 0.1, 1]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "cannot be read"),
        ("[1]", "not a mapping"),
        (GOOD | {"id": 3}, "its id is 3"),
        (GOOD | {"text": None}, "its text is None"),
        (GOOD | {"split": "x" * 9999}, "its split is 'x{59}…"),
        (GOOD | {"num_samples": 1e99}, "its num_samples"),
        (GOOD | {"num_samples": 10**12}, "its num_samples"),
        (GOOD | {"num_samples": True}, "its num_samples"),
        (GOOD | {"phones": 5}, "its phones is 5"),
        (GOOD | {"phones": [["AA", 0, 1]]}, "its phones"),
        (GOOD | {"phones": [["AA", 0, float("nan"), 1]]}, "its phones"),
        (GOOD | {"phones": [["AA", 2, 1, 1]]}, "its phones"),
        (GOOD | {"phones": [["AA", "0", "1", 1]]}, "its phones"),
        (GOOD | {"file": "../0.flac"}, "'../0.flac', which is outside the corpus"),
        (GOOD | {"file": "/etc/passwd"}, "which is outside the corpus"),
        (GOOD | {"file": ["0"]}, "which is outside the corpus"),
    ],
)
def test_an_invalid_line_is_named(line: object, message: str, tmp_path: Path) -> None:
    texts = [text if isinstance(text, str) else json.dumps(text) for text in (GOOD, line)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(texts))
    with pytest.raises(UserError, match=message) as told:
        read_corpus(tmp_path, "train")
    if "inside" not in message:
        assert "corpus.jsonl, line 2, cannot be read" in str(told.value)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"noise" * 99, None])
def test_invalid_sound_is_named(content: bytes | None, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps(GOOD))
    if content is None:
        os.mkfifo(tmp_path / "0.flac")
    else:
        (tmp_path / "0.flac").write_bytes(content)
    (entry,) = read_corpus(tmp_path, "train")
    with pytest.raises(UserError, match=r"0\.flac .*generate the corpus again"):
        entry.load()


def test_sentences_are_many_and_speakable() -> None:
    written = written_sentences()
    assert len(written) == len(set(written)) >= 300
    sentences = all_sentences(1000, np.random.default_rng(0))
    assert len(set(sentences)) == 1000
    assert set(written) <= set(sentences)
    assert all(2 <= len(text.split()) <= 20 and text.isascii() and "{" not in text for text in sentences)
    assert len(all_sentences(20, np.random.default_rng(0))) == 20


def test_the_config_names_voices_of_all_tools(tmp_path: Path) -> None:
    built = compose.build(compose.compose_config([f"output={tmp_path}"], "make_speech").corpus)
    assert len({voice.name for voice in built.voices}) == len(built.voices) >= 4
    assert {type(voice) for voice in built.voices} == {EspeakVoice, HibariVoice, PiperVoice}
