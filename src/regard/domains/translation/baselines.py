"""Translating with a handful of pairs and no training: what every learner has to beat.

Each is a function of support pairs and sentences: `baseline(support, sentences) -> translations`. Queries do not see
each other, and the order of the pairs does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from regard.domains.translation.beam import Beam, BeamOptions, Choice
from regard.domains.translation.ibm1 import Lexicon, fit_lexicon
from regard.domains.translation.language_model import EnglishModel
from regard.domains.translation.pairs import Pair
from regard.domains.translation.tokens import Truecaser, romanise, tokenise_english, tokenise_source
from regard.extras import import_extra

Translate = Callable[[Sequence[Pair], Sequence[str]], list[str]]
"""Support pairs and sentences to translations."""

Gloss = Mapping[str, float]
"""What a source word may mean: English words with their probabilities, which sum to at most 1."""


def copy_source(support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
    """The sentence itself in the letters a to z: names and signs come out right."""
    return [import_extra("anyascii", "translation").anyascii(sentence) for sentence in sentences]


def typical_target(support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
    """Always the target that is most like all the others; without pairs the sentence itself."""
    if not support:
        return copy_source(support, sentences)
    targets = sorted({pair.target for pair in support})
    vectors = _vectorizer().fit_transform(targets)
    likeness = np.asarray((vectors @ vectors.T).sum(axis=1)).ravel()
    return [targets[int(likeness.argmax())]] * len(sentences)


class TranslationMemory:
    """Finds the pair whose source is nearest to a sentence, by tf-idf of character 1- to 4-grams.

    Args:
        support: pairs, one at least.
        weight: of each; one of weight 0 is never found.
    """

    def __init__(self, support: Sequence[Pair], weight: Sequence[float] | None = None) -> None:
        there = [i for i in range(len(support)) if weight is None or weight[i] > 0]
        self._number = sorted(there, key=lambda i: support[i])  # of equals the first in the alphabet is found
        self._vectorizer = _vectorizer()
        self._known = self._vectorizer.fit_transform([support[i].source for i in self._number])

    def nearest(self, sentences: Sequence[str]) -> list[tuple[int, float]]:
        """For each sentence the number of the nearest pair, and the cosine of their sources."""
        cosines = np.asarray((self._vectorizer.transform(list(sentences)) @ self._known.T).toarray(), dtype=np.float64)
        best = np.round(cosines, 9).argmax(1)
        return [(self._number[k], float(cosine)) for k, cosine in zip(best, cosines.max(1), strict=True)]


def translation_memory(support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
    """The target of the pair whose source is nearest; without pairs the sentence itself."""
    if not support or not sentences:
        return copy_source(support, sentences)
    return [support[i].target for i, _ in TranslationMemory(support).nearest(sentences)]


def with_memory(
    support: Sequence[Pair], sentences: Sequence[str], answers: Sequence[str], above: float = 0.5
) -> list[str]:
    """Answers, but the target of the nearest pair where its cosine is above this; 1 and more change nothing."""
    if above >= 1 or not support or not sentences:
        return list(answers)
    nearest = TranslationMemory(support).nearest(sentences)
    return [support[k].target if cosine > above else said for said, (k, cosine) in zip(answers, nearest, strict=True)]


def _vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)


@dataclass(frozen=True)
class LexiconOptions:
    """How two lexicons become choices for each word.

    Args:
        forward: weight of log t(e | f).
        backward: weight of log t(f | e).
        n_choices: English words for each source word.
        unknown: log-probability of copying a word that no pair has.
        unknown_drop: log-probability of leaving it without a word.
        drop: weight of the expected number of English words, with which leaving a known word out is paid.
        gloss: share of a learner's gloss in t(e | f) and t(f | e) of a word that some pair has.
        guess: log-probability that is added to that of the gloss of a word that no pair has.
        n_guesses: English words that such a word may give.
    """

    forward: float = 0.25
    backward: float = 0.375
    n_choices: int = 6
    unknown: float = 0.0
    unknown_drop: float = -6.0
    drop: float = 6.0
    gloss: float = 0.2
    guess: float = -0.5
    n_guesses: int = 6


class IBM1Translator:
    """IBM model 1 on the pairs, and a beam with a language model; words that no pair has are copied, romanised.

    Args:
        model: of English that may be used.
        truecaser: for capitals.
        beam, lexicon: options.
        memory_above: the target of the nearest pair is taken where its cosine is above this; 1 never takes it.
    """

    def __init__(
        self,
        model: EnglishModel,
        truecaser: Truecaser,
        beam: BeamOptions | None = None,
        lexicon: LexiconOptions | None = None,
        memory_above: float = 1.0,
    ) -> None:
        self.beam = Beam(model, beam or BeamOptions())
        self.truecaser, self.options, self.memory_above = truecaser, lexicon or LexiconOptions(), memory_above

    def __call__(self, support: Sequence[Pair], sentences: Sequence[str]) -> list[str]:
        decode = self.read(support)
        answers = [self.truecaser(decode(sentence)) for sentence in sentences]
        return with_memory(sorted(support), sentences, answers, self.memory_above)

    def read(self, support: Sequence[Pair], weight: Sequence[float] | None = None) -> LexiconReading:
        """What reads sentences after these pairs.

        Args:
            support: pairs, in any order.
            weight: of each; ones by default.
        """
        order = sorted(range(len(support)), key=lambda i: support[i])
        tokens = [(tokenise_source(support[i].source), tokenise_english(support[i].target)) for i in order]
        mass = None if weight is None else [weight[i] for i in order]
        forward = fit_lexicon(tokens, weight=mass)
        backward = fit_lexicon([(target, source) for source, target in tokens], weight=mass)
        return LexiconReading(forward, backward, self.options, self.beam)


@dataclass(frozen=True)
class LexiconReading:
    """Translates sentences by two lexicons and a beam.

    Args:
        forward, backward: t(e | f) and t(f | e).
        options: how they become choices.
        beam: that chooses.
    """

    forward: Lexicon
    backward: Lexicon
    options: LexiconOptions
    beam: Beam
    _scored: dict[tuple[str, float], list[Choice]] = field(default_factory=dict, repr=False)

    def __call__(self, sentence: str, glosses: Sequence[Gloss] = ()) -> tuple[str, ...]:
        """English words in lower case.

        Args:
            sentence: of the source language.
            glosses: what a learner thinks that each of its tokens may mean; those beyond have none.
        """
        tokens = tokenise_source(sentence)
        given = [*glosses[: len(tokens)], *([{}] * (len(tokens) - len(glosses)))]
        choices = [self.choices(word, gloss) for word, gloss in zip(tokens, given, strict=True)]
        return self.beam.decode(choices).words if choices else ()

    def choices(self, word: str, gloss: Gloss) -> list[Choice]:
        """The English words that one word may give, and giving none."""
        o = self.options
        known = {e: p for e, p in self.forward.translations(word).items() if p > 0}  # 0 in pairs of weight 0 alone
        likely = sorted(gloss, key=lambda e: (-gloss[e], e))[: o.n_guesses]
        if not known:
            plain = next(iter(tokenise_english(romanise(word))), word)
            guesses = [Choice(e, log(gloss[e]) + o.guess) for e in likely if e != plain and gloss[e] > 0]
            return [Choice(plain, o.unknown), Choice(None, o.unknown_drop), *guesses]
        share = o.gloss if gloss else 0.0
        if (word, share) not in self._scored:  # of words that a gloss does not name, the best always are the same
            alone = [Choice(e, self._score(word, e, p, 0.0, share)) for e, p in known.items() if (1 - share) * p > 1e-6]
            self._scored[word, share] = sorted(alone, key=_best_first)
        told = [e for e in gloss if e in known or e in likely] if share else []
        heard = [Choice(e, self._score(word, e, known.get(e, 0.0), gloss[e], share)) for e in told]
        others = [choice for choice in self._scored[word, share][: o.n_choices + len(told)] if choice.word not in told]
        best = sorted([*heard, *others], key=_best_first)[: o.n_choices]
        dropped = -o.drop * float(self.forward.fertility[self.forward.given[word]])
        return [*best, Choice(None, dropped)]

    def _score(self, word: str, e: str, p: float, gloss: float, share: float) -> float:
        o, back = self.options, (1 - share) * self.backward(word, e) + share * gloss
        there = max((1 - share) * p + share * gloss, 1e-6)
        return o.forward * log(there) + o.backward * log(max(back, 1e-6))


def _best_first(choice: Choice) -> tuple[float, str]:
    return -choice.log_probability, choice.word or ""
