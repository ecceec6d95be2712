"""A language model is a distribution, and the beam finds its best sentence."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from regard.domains.translation.beam import Beam, BeamOptions, Choice
from regard.domains.translation.language_model import END, START, CountedEnglish, TrigramModel
from regard.nn.spelling import END as END_NUMBER
from regard.nn.spelling import spell
from regard.nn.trigrams import Trigrams

SENTENCES = [
    s.split() for s in ("the dog sleeps", "the cat sleeps", "a dog eats", "the dog eats the cat", "i see a cat")
]
MODEL = TrigramModel(SENTENCES)


@pytest.mark.parametrize("before", [(START, START), ("the", "dog"), ("dog", "the"), ("never", "seen"), ("", "dog")])
def test_probabilities_sum_to_one(before: tuple[str, str]) -> None:
    """Over the words of the model, the end, and one share for all that was never seen."""
    total = sum(MODEL.probability(word, before) for word in MODEL.words)
    assert total + MODEL.probability("xyzzy", before) == pytest.approx(1)
    assert MODEL.log_probability("dog", before) < 0


def test_bigram_by_hand() -> None:
    """After "dog" come sleeps once and eats twice in two contexts: sleeps has kinds 1, eats 2."""
    d, n_bigrams = 0.75, len({pair for s in SENTENCES for pair in zip([START, *s], [*s, END], strict=True)})
    alone = (2 - d + d * len(MODEL.words) / (len(MODEL.words) + 1)) / n_bigrams  # "sleeps" follows dog and cat
    # Trigrams (the, dog, sleeps), (a, dog, eats), (the, dog, eats): continuations of (dog, .) by kind, 1 and 2.
    after_dog = (1 - d + d * 2 * alone) / 3
    assert MODEL.probability("sleeps", ("never", "dog")) == pytest.approx(after_dog)
    assert MODEL.probability("sleeps", ("the", "dog")) == pytest.approx((1 - d + d * 2 * after_dog) / 2)


def test_a_sentence_is_the_sum_of_its_words() -> None:
    by_hand = MODEL.log_probability("the", (START, START)) + MODEL.log_probability("dog", (START, "the"))
    assert MODEL.score(["the", "dog"]) == pytest.approx(by_hand + MODEL.log_probability(END, ("the", "dog")))
    assert MODEL.frequent(2) == MODEL.frequent(3)[:2] and END not in MODEL.frequent(10)


CHOICES = [
    [Choice("dog", -0.2), Choice("cat", -1.5), Choice(None, -3.0)],
    [Choice("the", -0.1), Choice(None, -2.0)],
    [Choice("sleeps", -0.7), Choice("eats", -0.6)],
]


@pytest.mark.parametrize("distortion", [0.0, 0.5, 3.0])
def test_the_beam_finds_what_an_exhaustive_search_finds(distortion: float) -> None:
    options = BeamOptions(distortion=distortion, insertion=100.0, width=1000, window=2, n_inserted=0)
    decoded = Beam(MODEL, options).decode(CHOICES)

    def score(order: tuple[int, ...], chosen: tuple[Choice, ...]) -> float:
        words = [chosen[j].word for j in order if chosen[j].word is not None]
        total, last = options.language * MODEL.score(words) + options.length * len(words), -1
        for j in order:
            total += options.translation * chosen[j].log_probability
            if chosen[j].word is not None:
                total -= distortion * abs(j - last - 1)
            last = j
        return total

    def allowed(order: tuple[int, ...], chosen: tuple[Choice, ...]) -> bool:
        """A word is left out in its turn only: jumping over it first would be another way to the same sentence."""
        return all(chosen[j].word is not None or j == min(order[i:]) for i, j in enumerate(order))

    every = [
        (score(order, chosen), order, chosen)
        for order in permutations(range(3))
        for chosen in product(*CHOICES)
        if allowed(order, chosen) and any(choice.word for choice in chosen)
    ]
    best, order, chosen = max(every)
    assert decoded.score == pytest.approx(best)
    assert decoded.words == tuple(chosen[j].word for j in order if chosen[j].word is not None)
    assert decoded.sources == tuple(j for j in order if chosen[j].word is not None)


def test_a_word_may_be_inserted_where_the_model_wants_it() -> None:
    choices = [[Choice("i", 0.0)], [Choice("see", 0.0)], [Choice("cat", 0.0)]]
    free = Beam(MODEL, BeamOptions(insertion=0.0, language=1.0)).decode(choices)
    assert free.words == ("i", "see", "a", "cat") and free.sources == (0, 1, -1, 2)
    assert Beam(MODEL, BeamOptions(insertion=50.0)).decode(choices).words == ("i", "see", "cat")


def test_words_that_the_model_does_not_know_are_kept() -> None:
    decoded = Beam(MODEL, BeamOptions()).decode([[Choice("the", 0.0)], [Choice("blorf", 0.0)], [Choice("sleeps", 0.0)]])
    assert "blorf" in decoded.words


def test_counted_english_is_that_of_the_tensors() -> None:
    sentences = [["the", "dog", "sees", "the", "cat"], ["the", "cat", "sees", "a", "dog"], ["a", "zebra", "sleeps"]]
    vocabulary = sorted({END_NUMBER, *(spell(word) for word in ("the", "dog", "cat", "sees", "a"))})
    place = {number: at for at, number in enumerate(vocabulary)}
    trigrams = Trigrams(len(vocabulary), 64)
    trigrams.count([[place.get(spell(word), len(vocabulary)) for word in row] for row in sentences])
    model = CountedEnglish(trigrams, vocabulary)
    for before in (("<s>", "<s>"), ("the", "dog"), ("a", "zebra"), ("dog", "dog")):
        u, v = (0 if word == "<s>" else place.get(spell(word), len(vocabulary)) for word in before)
        [row] = trigrams(torch.tensor([u]), torch.tensor([v])).tolist()
        for word in ("the", "cat", "a", "</s>"):
            at = 0 if word == "</s>" else place[spell(word)]
            assert model.log_probability(word, before) == pytest.approx(np.log(row[at]), abs=1e-6)
    assert model.knows("dog") and not model.knows("zebra")
    assert set(model.frequent(2)) <= {"the", "dog", "cat", "sees", "a"}
