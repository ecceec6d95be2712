"""What is trained on, what is given as pairs and what is translated, without leaks.

English sides repeat across languages: of Tatoeba's, a third on average, and 97% of Sorbian's. A learner that has seen
the English of a query elsewhere has seen the answer. So the queries of each evaluation language are fixed first, and
exactly their normalised English is banned from all training: pairs of every language, synthetic tasks, language models.
What is nearly equal stays, and is counted: an oracle that returns the nearest training English scores chrF 42.

Queries and supports of a language depend on its own pairs and the seed only, not on the order of a file nor on which
other languages there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from regard.domains.translation.languages import has_cousin
from regard.domains.translation.pairs import Pair
from regard.domains.translation.tokens import normalise_english
from regard.errors import DataError

SHOTS = (0, 10, 50, 200)
"""Pairs that a language is learned from."""


@dataclass(frozen=True)
class EvaluationLanguage:
    """One language to be learned.

    Args:
        language: its code.
        queries: pairs to be translated, each English once.
        pool: the other pairs; none has the English of a query.
        seed: of the order in which pairs are given.
    """

    language: str
    queries: tuple[Pair, ...]
    pool: tuple[Pair, ...]
    seed: int = 0

    def support(self, n_pairs: int, draw: int = 0) -> tuple[Pair, ...]:
        """The first pairs of one order of the pool, so that the supports of one draw are nested.

        Args:
            n_pairs: K; fewer come back where the pool is smaller.
            draw: which order.
        """
        return tuple(_shuffled(self.pool, f"support {self.seed} {draw}")[:n_pairs])


@dataclass(frozen=True)
class Protocol:
    """Evaluation languages with their queries, and the English that nothing may be trained on.

    Args:
        languages: by code.
        banned: normalised English of all queries.
        left_out: pairs of an evaluation language that could not be queries, for their English is in training.
    """

    languages: Mapping[str, EvaluationLanguage]
    banned: frozenset[str]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def allows(self, english: str) -> bool:
        """Whether this sentence may be trained on."""
        return normalise_english(english) not in self.banned

    def training(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Pairs of other languages whose English is not banned."""
        return [pair for pair in pairs if pair.language not in self.languages and self.allows(pair.target)]

    def english(self, sentences: Iterable[str]) -> list[str]:
        """Sentences that are not banned, each once, in their order: for language models and synthetic languages."""
        seen = set(self.banned)
        kept = []
        for sentence in sentences:
            key = normalise_english(sentence)
            if key and key not in seen:
                seen.add(key)
                kept.append(sentence)
        return kept


@dataclass(frozen=True)
class EnglishSides:
    """English that training has seen and that is evaluated on, for `regard doctor`.

    Args:
        train: of all training: pairs, synthetic tasks, language models.
        queries: of the queries of each test language.
        supports: of the pairs that each test language is learned from.
    """

    train: Sequence[str]
    queries: Mapping[str, Sequence[str]]
    supports: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, protocol: Protocol, train: Sequence[str]) -> Self:
        """Of the languages of a protocol.

        Args:
            protocol: of the evaluation.
            train: English of all training.
        """
        languages = protocol.languages.items()
        return cls(
            train,
            {code: [pair.target for pair in language.queries] for code, language in languages},
            {code: [pair.target for pair in language.pool] for code, language in languages},
        )


def fix_queries(
    languages: Mapping[str, Sequence[Pair]],
    n_queries: int = 150,
    trained_on: Collection[str] = (),
    seed: int = 0,
) -> Protocol:
    """Choose the queries of each evaluation language before anything else.

    Args:
        languages: the pairs of each.
        n_queries: of each language at most; a third of its different English sentences at most, so that pairs remain.
        trained_on: normalised English that a model has been trained on already: no query has it. Leave it empty where
            the ban comes first and training after it.
        seed: of the choice.

    Raises:
        DataError: a language of which no query remains.
    """
    trained_on = set(trained_on)
    chosen, banned, left_out = {}, set[str](), {}
    for language, pairs in sorted(languages.items()):
        english = [normalise_english(pair.target) for pair in pairs]
        first: dict[str, int] = {}
        for i in sorted(range(len(pairs)), key=lambda i: pairs[i].source):
            first.setdefault(english[i], i)
        free = [pairs[i] for key, i in first.items() if key not in trained_on]
        left_out[language] = sum(key in trained_on for key in english)
        queries = _shuffled(free, f"queries {seed}")[: min(n_queries, max(1, len(first) // 3))]
        if not queries:
            raise DataError(
                f"{language!r} has {len(pairs)} pairs, and the English of each has been trained on: expected some new."
            )
        asked = {normalise_english(pair.target) for pair in queries}
        pool = tuple(pair for pair, key in zip(pairs, english, strict=True) if key not in asked)
        chosen[language] = EvaluationLanguage(language, tuple(queries), pool, seed)
        banned |= asked
    return Protocol(chosen, frozenset(banned), left_out)


def _shuffled(pairs: Sequence[Pair], salt: str) -> list[Pair]:
    """In an order that depends on each pair's content and the salt."""

    def key(pair: Pair) -> bytes:
        content = "\0".join((salt, pair.language, pair.source, pair.target))
        return hashlib.blake2b(content.encode(), digest_size=12).digest()

    return sorted(pairs, key=key)


@dataclass(frozen=True)
class NearEnglish:
    """Queries whose English is nearly that of a training sentence.

    Args:
        threshold: cosine from which a sentence counts as near.
        nearest: (N,) cosine of each query to the nearest training sentence.
        index: (N,) that sentence's number.
    """

    threshold: float
    nearest: np.ndarray
    index: np.ndarray

    @property
    def count(self) -> int:
        """Queries with a near copy."""
        return int((self.nearest >= self.threshold).sum())

    def __str__(self) -> str:
        share = self.count / max(1, len(self.nearest))
        return (
            f"{self.count} of {len(self.nearest)} queries ({share:.0%}) have a training sentence at cosine "
            f"{self.threshold} or nearer"
        )


def near_english(queries: Sequence[str], training: Sequence[str], threshold: float = 0.8) -> NearEnglish:
    """The nearest training sentence of each query, by tf-idf of character 3- and 4-grams of normalised English."""
    if not queries or not training:
        return NearEnglish(threshold, np.zeros(len(queries)), np.zeros(len(queries), dtype=np.int64))
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(3, 4), sublinear_tf=True)
    known = vectorizer.fit_transform([f" {normalise_english(text)} " for text in training]).T.tocsr()
    asked = vectorizer.transform([f" {normalise_english(text)} " for text in queries])
    nearest, index = [], []
    for start in range(0, len(queries), 100):
        cosine = (asked[start : start + 100] @ known).tocsr()
        dense_index = np.asarray(cosine.argmax(axis=1)).ravel()
        index.append(dense_index)
        nearest.append(np.asarray(cosine.max(axis=1).todense()).ravel())
    return NearEnglish(threshold, np.concatenate(nearest).clip(0, 1), np.concatenate(index))


def cousins(languages: Iterable[str], training: Iterable[str]) -> dict[str, bool | None]:
    """For each evaluation language whether a training language is of its branch; None where that is not known."""
    known = list(training)
    return {language: has_cousin(language, known) for language in languages}
