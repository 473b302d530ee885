"""Sentences for the corpus: hand-written ones, and any number more from a small grammar."""

import re
from pathlib import Path

import numpy as np

from float_research.errors import UserError

GRAMMAR = {
    "SENTENCE": (
        *("{WHO} {DID} {THING} {WHERE}.", "{WHEN}, {WHO} {DID} {THING}.", "{WHO} {DID} {THING} and {DID} {THING}."),
        *("Did {WHO} really {DO} {THING}?", "{WHO} will {DO} {THING} {WHEN}.", "Why did {WHO} {DO} {THING} {WHERE}?"),
        *("{WHO} said that {WHO} {DID} {THING}.", "Please {DO} {THING} {WHERE}.", "There is {THING} {WHERE}."),
        *("{WHO} could {DO} {THING}, but {WHO} {DID} it.", "I never saw {WHO} {DO} {THING}.", "{WHO} {DID} {THING}!"),
    ),
    "WHO": (
        *("my brother", "the {KIND} doctor", "her mother", "our {KIND} neighbor", "the judge", "a {KIND} boy"),
        *("the old sailor", "nobody", "everybody", "Joyce", "Thomas", "the {KIND} shepherd", "your uncle", "Beth"),
        *("the mayor", "Mister Young", "a {KIND} woman", "the fisherman", "George", "this {KIND} robot", "the chef"),
    ),
    "DID": (
        *("bought", "watched", "found", "pushed", "borrowed", "showed us", "threw away", "painted", "measured"),
        *("forgot", "brought", "washed", "enjoyed", "chose", "stole", "fixed", "juggled", "moved", "gave me", "liked"),
    ),
    "DO": (
        *("buy", "watch", "find", "push", "borrow", "show us", "throw away", "paint", "measure", "forget", "bring"),
        *("wash", "enjoy", "choose", "steal", "fix", "move", "give me", "keep", "open", "sell", "mix", "pull"),
    ),
    "THING": (
        *("a {KIND} boat", "the {KIND} book", "five apples", "the map", "a {KIND} vase", "two thin leather gloves"),
        *("a jar of honey", "the piano", "that {KIND} shirt", "the broom", "a bowl of soup", "the {KIND} toy horse"),
        *("a few feathers", "a treasure chest", "the {KIND} umbrella", "the third chair", "a zebra", "the purple pie"),
    ),
    "KIND": (
        *("big", "yellow", "smooth", "young", "funny", "heavy", "quiet", "noisy", "beautiful", "strange", "orange"),
        *("famous", "lovely", "thick", "huge", "empty", "charming", "blue", "unusual", "wise", "shy", "warm"),
    ),
    "WHERE": (
        *("in the garage", "near the church", "under the bridge", "behind the house", "at the market", "by the river"),
        *("on the roof", "in front of the school", "over there", "beside the fire", "above the village", "at home"),
    ),
    "WHEN": (
        *("last Thursday", "in the evening", "after the show", "every July", "this morning", "before lunch", "today"),
        *("about an hour ago", "on Wednesday", "as usual", "at half past five", "in the autumn"),
    ),
}
"""Each word in braces expands to one of its lines at random."""


def written_sentences() -> list[str]:
    """Reads the sentences of `sentences.txt`."""
    return (Path(__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()


def all_sentences(num: int, generator: np.random.Generator) -> list[str]:
    """Returns `num` different sentences in random order: hand-written ones first, the rest from the grammar.

    Raises:
        UserError: `num` is not positive.
    """
    if num < 1:
        raise UserError(f"num_sentences={num} must be at least 1")
    sentences = dict.fromkeys(written_sentences()[:num])
    while len(sentences) < num:
        sentences[compose_sentence(generator)] = None
    chosen = list(sentences)
    return [chosen[i] for i in generator.permutation(num)]


def compose_sentence(generator: np.random.Generator) -> str:
    """Samples a sentence from the grammar."""
    text = "{SENTENCE}"
    while words := re.findall(r"\{(\w+)\}", text):
        lines = GRAMMAR[words[0]]
        text = text.replace("{" + words[0] + "}", lines[generator.integers(len(lines))], 1)
    return text[0].upper() + text[1:]
