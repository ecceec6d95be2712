"""Sentence pairs as episodes: a task is a language, its support K pairs, its queries sentences that are none of them.

    training     a real language, a real one under a cipher of its own, or an invented one, see `invented.py`
    evaluation   the languages of a `Protocol`, whose queries were fixed first; episode i is language i mod their number

Episodes i .. i + G - 1 of one step have the same K, so that little is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.translation.invented import Relexifier, ciphered
from regard.domains.translation.pairs import Pair
from regard.domains.translation.protocol import EvaluationLanguage
from regard.domains.translation.reader import SentenceReader, items_of, padded, word_arrays
from regard.domains.translation.tokens import normalise_english, romanise, tokenise_english, tokenise_source
from regard.episode import Episode, Support
from regard.errors import DataError
from regard.nn.spelling import spell
from regard.sampling.counts import Count
from regard.sampling.source import EpisodeSource, Numbers

SHARES = {"real": 0.45, "ciphered": 0.25, "invented": 0.30}
"""Of training tasks."""

_SIZES = (0, 5, 10, 20, 50, 100, 200, 500)
_CHANCES = (0.05, 0.08, 0.15, 0.22, 0.32, 0.13, 0.05, 0.0)
LONGEST = 14
"""Tokens of a sentence in training; 95% of Tatoeba's have at most 12."""


@dataclass(frozen=True)
class EncodedPairs:
    """Sentence pairs of one language, read.

    Args:
        characters, latin: (T, 16) and (T,) of its different words.
        sources: which of them each token of each sentence is.
        targets: tokens of the translations.
        english: (N,) a number for each normalised translation.
    """

    characters: NDArray[np.int64]
    latin: NDArray[np.int64]
    sources: list[NDArray[np.int64]]
    targets: list[NDArray[np.int64]]
    english: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Sequence[Pair], longest: int = LONGEST) -> Self:
        """Read pairs; those with a longer side are left out."""
        types: dict[str, int] = {}
        keys: dict[str, int] = {}
        sources, targets, english = [], [], []
        for pair in pairs:
            source, target = tokenise_source(pair.source), tokenise_english(pair.target)
            if 0 < len(source) <= longest and 0 < len(target) <= longest:
                sources.append(np.array([types.setdefault(w, len(types)) for w in source], dtype=np.int64))
                targets.append(np.array([spell(w) for w in target], dtype=np.int64))
                english.append(keys.setdefault(normalise_english(pair.target), len(keys)))
        characters, latin = word_arrays(list(types), [romanise(word) for word in types])
        return cls(characters, latin, sources, targets, np.array(english, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.sources)


@final
class TrainingLanguages(EpisodeSource):
    """Episodes to train on.

    Args:
        pairs: of each language, without what is banned.
        english: sentences to invent languages with, without what is banned.
        is_name: whether an English word is a name.
        n_shot: fewest and most pairs of a support.
        n_query: sentences to translate.
        group: episodes that follow each other and have one K.
        longest: tokens of a sentence, on either side; pairs and English with more are left out.
        seed: of the episodes.

    Raises:
        DataError: no language has enough pairs.
    """

    n_way = (0, 0)
    sequences = True

    def __init__(
        self,
        pairs: Mapping[str, Sequence[Pair]],
        english: Sequence[str],
        is_name: Callable[[str], bool],
        n_shot: Count = (0, 200),
        n_query: Count = 16,
        *,
        group: int = 4,
        longest: int = LONGEST,
        seed: int = 0,
    ) -> None:
        self.n_shot = n_shot if isinstance(n_shot, tuple) else (n_shot, n_shot)
        self.n_query, self.seed, self.group = n_query, seed, group
        self.is_name = is_name
        corpora = {language: EncodedPairs.of(rows, longest) for language, rows in sorted(pairs.items())}
        self.corpora = {name: corpus for name, corpus in corpora.items() if len(corpus) > 2 * self._most_queries}
        if not self.corpora:
            raise DataError(
                f"no language has more than {2 * self._most_queries} usable pairs (both sides of at most {longest} "
                "words): expected at least one; give more pairs, or lower n_query."
            )
        tokens = [tokenise_english(sentence) for sentence in english]
        self.english = [row for row in tokens if 2 <= len(row) <= longest]
        sizes = np.array([len(corpus) for corpus in self.corpora.values()], dtype=np.float64) ** 0.7
        self._chance = sizes / sizes.sum()

    @property
    def _most_queries(self) -> int:
        return self.n_query[1] if isinstance(self.n_query, tuple) else self.n_query

    def __call__(self, episodes: Numbers) -> Episode:
        tasks = [self._task(int(number)) for number in episodes]
        n_support, n_query = max(1, max(t.n_support for t in tasks)), max(len(t.rows) - t.n_support for t in tasks)
        parts = [t.padded(n_support, n_query) for t in tasks]
        return stack_tasks([t[0] for t in parts], [t[1] for t in parts])

    def _task(self, number: int) -> SentenceTask:
        low, high = self.n_shot
        sizes = [(k, p) for k, p in zip(_SIZES, _CHANCES, strict=True) if low <= k <= high and p] or [(high, 1.0)]
        shared = np.random.default_rng((self.seed, 0, number // self.group))
        chances = np.array([p for _, p in sizes])
        n_pairs = sizes[int(shared.choice(len(sizes), p=chances / chances.sum()))][0]
        rng = np.random.default_rng((self.seed, 1, number))
        kind = rng.choice(list(SHARES), p=list(SHARES.values()))
        if kind == "invented" and len(self.english) > n_pairs + self._most_queries:
            return self._invented(rng, n_pairs)
        corpus = list(self.corpora.values())[int(rng.choice(len(self._chance), p=self._chance))]
        order = rng.permutation(len(corpus))
        queries = order[: self._most_queries]
        rest = order[self._most_queries :]
        rest = rest[~np.isin(corpus.english[rest], corpus.english[queries])][:n_pairs]
        rows = [corpus.sources[i] for i in (*rest, *queries)]
        targets = [corpus.targets[i] for i in (*rest, *queries)]
        types, flat = np.unique(np.concatenate(rows), return_inverse=True)
        rows = np.split(flat, np.cumsum([len(row) for row in rows])[:-1])
        characters, latin = corpus.characters[types], corpus.latin[types]
        if kind == "ciphered":
            characters, latin = ciphered(characters, rng)
        return SentenceTask(rows, targets, characters, latin, len(rest))

    def _invented(self, rng: np.random.Generator, n_pairs: int) -> SentenceTask:
        language = Relexifier(rng, self.is_name)
        chosen = rng.choice(len(self.english), n_pairs + self._most_queries, replace=False)
        types: dict[tuple[str, str], int] = {}
        rows, targets = [], []
        for i in chosen:
            words = language(self.english[i])
            rows.append(np.array([types.setdefault(word, len(types)) for word in words], dtype=np.int64))
            targets.append(np.array([spell(word) for word in self.english[i]], dtype=np.int64))
        characters, latin = word_arrays([written for written, _ in types], [latin for _, latin in types])
        return SentenceTask(rows, targets, characters, latin, n_pairs)


@dataclass(frozen=True)
class SentenceTask:
    """Sentences of one language: the support first, then the queries.

    Args:
        rows: which word each token is.
        targets: tokens of the translations.
        characters, latin: the words.
        n_support: K.
    """

    rows: Sequence[NDArray[np.int64]]
    targets: Sequence[NDArray[np.int64]]
    characters: NDArray[np.int64]
    latin: NDArray[np.int64]
    n_support: int

    def padded(self, n_support: int, n_query: int) -> tuple[Padded, Padded]:
        """Support and queries, filled up with rows of weight 0."""
        k = self.n_support
        return self._part(slice(0, k), n_support), self._part(slice(k, None), n_query)

    def _part(self, part: slice, size: int) -> Padded:
        rows, targets = list(self.rows[part]), list(self.targets[part])
        n, none = len(rows), np.zeros(0, dtype=np.int64)
        x = items_of(rows + [none] * (size - n), self.characters, self.latin)
        y = torch.from_numpy(padded(targets + [none] * (size - n)))
        return x, y, torch.tensor([1.0] * n + [0.0] * (size - n))


Padded = tuple[dict[str, Tensor], Tensor, Tensor]
"""Items, tokens and weight of the rows of one task."""


def stack_tasks(supports: Sequence[Padded], queries: Sequence[Padded]) -> Episode:
    """Tasks as one batch."""
    (x, y, weight), (query_x, query_y, query_weight) = _stack(supports), _stack(queries)
    return Episode(Support(x, y, weight, 0), query_x, query_y, query_weight)


def _stack(parts: Sequence[Padded]) -> Padded:
    width, length = (max(p[0]["latin"].shape[1] for p in parts), max(p[1].shape[1] for p in parts))
    pad = torch.nn.functional.pad
    characters = torch.stack([pad(x["characters"], (0, 0, 0, width - x["characters"].shape[1])) for x, _, _ in parts])
    latin = torch.stack([pad(x["latin"], (0, width - x["latin"].shape[1])) for x, _, _ in parts])
    y = torch.stack([pad(y, (0, length - y.shape[1]), value=-1) for _, y, _ in parts])
    return {"characters": characters, "latin": latin}, y, torch.stack([w for _, _, w in parts])


@final
class EvaluationLanguages(EpisodeSource):
    """Episodes to evaluate on: episode i is language i modulo their number, under its next support.

    Args:
        languages: with their queries.
        reader: of sentences.
        n_shot: K.
        n_query: queries of each language at most.
        seed: of the supports.
    """

    n_way = (0, 0)
    sequences = True

    def __init__(
        self,
        languages: Sequence[EvaluationLanguage],
        reader: SentenceReader,
        n_shot: int = 50,
        n_query: int = 150,
        *,
        seed: int = 0,
    ) -> None:
        self.languages, self.reader, self.seed = tuple(languages), reader, seed
        self.n_shot, self.n_query = (n_shot, n_shot), n_query

    def __call__(self, episodes: Numbers) -> Episode:
        parts = [self.part(int(number)) for number in episodes]
        n_support = max(1, *(len(pairs) for pairs, _ in parts))
        n_query = max(len(queries) for _, queries in parts)
        return stack_tasks(
            [self._rows(pairs, n_support) for pairs, _ in parts], [self._rows(queries, n_query) for _, queries in parts]
        )

    def part(self, number: int) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        """Support and queries of an episode."""
        language = self.languages[number % len(self.languages)]
        pairs = language.support(self.n_shot[0], self.seed + number // len(self.languages))
        most = self.n_query[1] if isinstance(self.n_query, tuple) else self.n_query
        return pairs, language.queries[:most]

    def _rows(self, pairs: Sequence[Pair], size: int) -> Padded:
        extra = [""] * (size - len(pairs))
        x = self.reader([*(pair.source for pair in pairs), *extra])
        y = self.reader.targets([*(pair.target for pair in pairs), *extra])
        return x, y, torch.tensor([1.0] * len(pairs) + [0.0] * len(extra))
