"""Baselines answer from the pairs alone, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("regex", reason="needs regard[translation]")
pytest.importorskip("anyascii", reason="needs regard[translation]")

from regard.domains.translation.baselines import (
    IBM1Translator,
    TranslationMemory,
    copy_source,
    translation_memory,
    typical_target,
)
from regard.domains.translation.language_model import TrigramModel
from regard.domains.translation.pairs import Pair
from regard.domains.translation.tokens import Truecaser, tokenise_english

NOUNS = {"hund": "dog", "katz": "cat", "haus": "house", "baum": "tree", "fisch": "fish"}
VERBS = {"sieht": "sees", "mag": "likes", "kennt": "knows"}
ALL = [
    Pair(f"das {n} {v} das {m} .", f"The {NOUNS[n]} {VERBS[v]} the {NOUNS[m]}.")
    for n in NOUNS
    for v in VERBS
    for m in NOUNS
]
RNG = np.random.default_rng(0)
ORDER = RNG.permutation(len(ALL))
SUPPORT, QUERIES = [ALL[i] for i in ORDER[:30]], [ALL[i] for i in ORDER[60:]]
ENGLISH = [tokenise_english(ALL[i].target) for i in ORDER[:60]]


@pytest.fixture(scope="module")
def ibm1() -> IBM1Translator:
    return IBM1Translator(TrigramModel(ENGLISH), Truecaser({}))


def test_ibm1_learns_a_language_from_thirty_pairs(ibm1: IBM1Translator) -> None:
    answers = ibm1(SUPPORT, [pair.source for pair in QUERIES])
    right = np.mean([answer == pair.target for answer, pair in zip(answers, QUERIES, strict=True)])
    assert right > 0.8, list(zip(answers, [pair.target for pair in QUERIES], strict=True))[:5]


def test_unknown_words_are_copied_in_latin_letters(ibm1: IBM1Translator) -> None:
    [answer] = ibm1(SUPPORT, ["das hund sieht das Москва ."])
    assert "moskva" in answer.lower()
    assert ibm1([], ["Москва"]) == ["Moskva"]
    assert ibm1(SUPPORT, []) == [] and ibm1(SUPPORT, [""]) == [""]


def every_baseline() -> list:
    model, caser = TrigramModel(ENGLISH), Truecaser({})
    return [
        copy_source,
        typical_target,
        translation_memory,
        IBM1Translator(model, caser),
        IBM1Translator(model, caser, memory_above=0.5),
    ]


@pytest.mark.parametrize("number", range(5))
def test_order_does_not_matter_and_queries_do_not_see_each_other(number: int) -> None:
    baseline, sentences = every_baseline()[number], [pair.source for pair in QUERIES[:6]]
    together = baseline(SUPPORT, sentences)
    assert baseline(SUPPORT[::-1], sentences) == together
    assert [baseline(SUPPORT, [sentence])[0] for sentence in sentences] == together
    assert len(baseline([], sentences)) == len(sentences)


def test_the_memory_gives_the_target_of_the_nearest_pair() -> None:
    assert translation_memory(SUPPORT, [SUPPORT[7].source + " "]) == [SUPPORT[7].target]
    (number, cosine), (_, unlike) = TranslationMemory(SUPPORT).nearest([SUPPORT[7].source, "xyz"])
    assert SUPPORT[number].source == SUPPORT[7].source and cosine == pytest.approx(1) and unlike < 0.5
    absent = [float(pair.source != SUPPORT[7].source) for pair in SUPPORT]
    assert SUPPORT[TranslationMemory(SUPPORT, absent).nearest([SUPPORT[7].source])[0][0]].source != SUPPORT[7].source


def test_ibm1_with_memory_takes_it_where_it_is_near() -> None:
    both = IBM1Translator(TrigramModel(ENGLISH), Truecaser({}), memory_above=0.99)
    odd = Pair("das hund sieht das katz .", "Something else entirely.")
    assert both([*SUPPORT, odd], [odd.source, "das baum mag das baum ."])[0] == odd.target


def test_the_typical_target_is_like_the_others() -> None:
    targets = ["the dog runs", "the dog ran", "the dogs run", "xyzzy"]
    assert typical_target([Pair("a", t) for t in targets], ["?"])[0] != "xyzzy"


def test_a_gloss_speaks_for_words_that_no_pair_has(ibm1: IBM1Translator) -> None:
    reading = ibm1.read(SUPPORT)
    sentence = "das hunde sieht das baum ."
    assert "hunde" in reading(sentence)  # copied
    assert reading(sentence, [{}, {"dog": 0.9}]) == ("the", "dog", "sees", "the", "tree", ".")
    assert reading(sentence, [{}] * 6) == reading(sentence)


def test_a_gloss_moves_what_the_pairs_say_by_its_share(ibm1: IBM1Translator) -> None:
    reading = ibm1.read(SUPPORT)
    before, after = (
        {choice.word: choice.log_probability for choice in reading.choices("hund", gloss)}
        for gloss in ({}, {"tree": 0.9})
    )
    assert after["dog"] < before["dog"] and after["dog"] > after["tree"] > before.get("tree", -9.0)


def test_a_pair_of_weight_zero_says_nothing_of_its_words(ibm1: IBM1Translator) -> None:
    odd = Pair("das wal .", "The whale.")
    without = ibm1.read([*SUPPORT, odd], [*([1.0] * len(SUPPORT)), 0.0])
    assert without("das wal .") == ibm1.read(SUPPORT)("das wal .") and "wal" in without("das wal .")
