"""Texts to tokens, in any language: our own tokenizer, and the vocabulary that it learns.

Languages that are written with spaces are cut into words, and those without (Chinese, Japanese, Thai, Lao, Khmer,
Burmese, Tibetan) into overlapping pairs of characters, which need no dictionary and find words of any length.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.base import Reader
from regard.episode import Items
from regard.errors import DataError

_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")
_APOSTROPHES = str.maketrans("", "", "'\u2019")

# Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Bopomofo, Chinese, Yi.
_UNSPACED = re.compile(
    "[\u0e00-\u0e7f\u0e80-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LISTED = 5


def words(text: str) -> list[str]:
    """Lower-case words, single digits and single signs: "Pay $20" is pay, $, 2, 0.

    Of languages without spaces, the overlapping pairs of characters, a vowel sign with the character that it belongs
    to: three characters are two words.

    Examples:
        >>> words("Don't pay €20, café")
        ['dont', 'pay', '€', '2', '0', ',', 'café']
        >>> words("我想开户")
        ['我想', '想开', '开户']
    """
    plain = text.lower().translate(_APOSTROPHES)
    if plain.isascii():
        return _WORD.findall(plain)
    found: list[str] = []
    word, run = "", list[str]()

    def end() -> None:
        nonlocal word
        if word:
            found.append(word)
        found.extend([a + b for a, b in pairwise(run)] if len(run) > 1 else run)
        word = ""
        run.clear()

    for cluster in _clusters(unicodedata.normalize("NFKC", plain).lower().translate(_APOSTROPHES)):
        kind = unicodedata.category(cluster[0])
        if kind[0] == "L" and _UNSPACED.match(cluster):
            if word:
                end()
            run.append(cluster)
        elif kind[0] in "LM":
            if run:
                end()
            word += cluster
        else:
            end()
            if kind[0] not in "ZC" and not cluster.isspace():
                found.append(cluster)
    end()
    return found


def _clusters(text: str) -> list[str]:
    """Characters, each with the marks that follow it."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.category(character)[0] == "M":
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _is_writable(text: str) -> bool:
    """Whether it has no half of a character, as wrong decoding leaves behind, which no tokenizer takes."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def require_texts(things: Any, what: str = "texts") -> list[str]:
    """A list of texts, checked.

    Raises:
        DataError: one text, a table, or rows that are no text, with their numbers.
    """
    if isinstance(things, str | bytes) or not hasattr(things, "__iter__"):
        raise DataError(f"{what}: got {repr(things)[:80]}; expected a list of texts: put one into a list, [text].")
    if isinstance(things, Mapping) or hasattr(things, "columns") or getattr(things, "ndim", 1) != 1:
        raise DataError(f"{what}: got a {type(things).__name__} of several columns; expected the one with the texts.")
    texts = list(things)
    mistakes = [
        f"row {row} is {repr(text)[:40]} ({type(text).__name__})"
        for row, text in enumerate(texts)
        if not isinstance(text, str) or not _is_writable(text)
    ]
    if mistakes:
        more = f" and {len(mistakes) - _LISTED} more" if len(mistakes) > _LISTED else ""
        raise DataError(
            f"{what}: {', '.join(mistakes[:_LISTED])}{more}; expected text in every row; drop these rows, "
            "decode bytes, write numbers as text, and decode files again that left halves of characters."
        )
    return [str(text) for text in texts]


@dataclass(frozen=True)
class Tokenizer(Reader):
    """Words to ids, and words never seen in training to the ids of their character n-grams.

    Each token is a few ids: its word, where the vocabulary has it, and its character n-grams, hashed into buckets
    (Bojanowski et al. 2017, arXiv:1607.04606). So "refinancing" is near "finance", and an unknown word is still itself.

        0                              padding
        1                              a word that is not in the vocabulary
        2 .. 1 + len(vocabulary)       words
        then n_buckets                 n-grams

    Args:
        vocabulary: the known words, the general ones first; learned from training classes only, see `learn`.
        n_general: how many of them are general: used in every domain of training, so most likely in others too.
        n_buckets: of the hash (CRC-32, the same on every machine).
        sizes: shortest and longest n-gram, over the word between "<" and ">".
        rarity: inverse document frequency of each word, log((1 + texts) / (1 + texts with the word)) + 1, and at the
            end that of a word outside the vocabulary.
        n_grams: ids kept of one token; longer words lose their last n-grams.
        length: tokens kept of one text.
    """

    vocabulary: tuple[str, ...]
    rarity: tuple[float, ...]
    n_general: int = 0
    n_buckets: int = 8192
    sizes: tuple[int, int] = (3, 5)
    n_grams: int = 16
    length: int = 24

    @classmethod
    def learn(
        cls,
        texts: Sequence[str],
        domains: Sequence[str] | None = None,
        *,
        least: int = 2,
        general: int = 3,
        n_buckets: int = 8192,
        length: int = 24,
    ) -> Tokenizer:
        """The words that stand in at least `least` of these texts, the most frequent first.

        Where the domain of each text is known, words that stand in at least `general` texts of every domain come before
        all others.
        """
        counts = Counter(word for text in texts for word in set(words(text)))
        by_domain = {domain: Counter[str]() for domain in domains or ()}
        for text, domain in zip(texts, domains or (), strict=domains is not None):
            by_domain[domain].update(set(words(text)))

        def is_general(word: str) -> bool:
            return bool(by_domain) and all(counted[word] >= general for counted in by_domain.values())

        kept = sorted(
            (word for word, count in counts.items() if count >= least),
            key=lambda word: (not is_general(word), -counts[word], word),
        )
        rarity = [math.log((1 + len(texts)) / (1 + count)) + 1 for count in (*(counts[word] for word in kept), 0)]
        return cls(tuple(kept), tuple(rarity), sum(map(is_general, kept)), n_buckets, length=length)

    @property
    def vocabulary_size(self) -> int:
        """Ids below this one are padding, the unknown word and the general words."""
        return 2 + self.n_general

    @property
    def n_tokens(self) -> int:
        """How many ids there are, padding included: what an embedding needs."""
        return 2 + len(self.vocabulary) + self.n_buckets

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` reads it back."""
        return {
            "vocabulary": list(self.vocabulary),
            "rarity": list(self.rarity),
            "n_general": self.n_general,
            "n_buckets": self.n_buckets,
            "sizes": list(self.sizes),
            "n_grams": self.n_grams,
            "length": self.length,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tokenizer:
        """Undo `to_dict`.

        Raises:
            DataError: a key that is missing or not known.
        """
        expected = {field.name for field in fields(cls)}
        if set(content) != expected:
            raise DataError(f"tokenizer has the keys {sorted(content)}: expected {sorted(expected)}.")
        lists = {key: tuple(content[key]) for key in ("vocabulary", "rarity", "sizes")}
        return cls(**{**content, **lists})

    def __call__(self, things: Any) -> dict[str, torch.Tensor]:
        """N texts to {"ids": (N, L, G) int64, "mask": (N, L) bool, "rarity": (N, L)}; an empty text is all padding.

        Raises:
            DataError: something that is no list of texts, with the number of the row.
        """
        texts = require_texts(things)
        number = {word: 2 + i for i, word in enumerate(self.vocabulary)}
        ids = np.zeros((len(texts), self.length, self.n_grams), dtype=np.int64)
        ids_of: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for position, word in enumerate(words(text)[: self.length]):
                if word not in ids_of:
                    ids_of[word] = [number.get(word, 1), *self._grams(word)][: self.n_grams]
                ids[row, position, : len(ids_of[word])] = ids_of[word]
        first, mask = torch.from_numpy(ids[..., 0]), torch.from_numpy(ids[..., 0] > 0)
        # Id 1, a word outside the vocabulary, finds the last rarity, number -1.
        rarity = torch.tensor(self.rarity)[first - 2]
        return {"ids": torch.from_numpy(ids), "mask": mask, "rarity": rarity * mask}

    def is_blank(self, items: Items) -> NDArray[np.bool_]:
        """(N,) which texts have no word."""
        assert isinstance(items, dict)
        return np.asarray(~items["mask"].any(1).numpy(force=True))

    def _grams(self, word: str) -> list[int]:
        bounded, first = f"<{word}>", 2 + len(self.vocabulary)
        low, high = self.sizes
        grams = [bounded[i : i + n] for n in range(low, high + 1) for i in range(len(bounded) - n + 1)]
        # The whole word is an n-gram too: an unknown word is told from every other by one id of its own. Of a pair of
        # characters that are words of their own, each is one.
        characters = [] if word.isascii() else [c for c in _clusters(word) if _UNSPACED.match(c)]
        return [first + crc32(gram.encode()) % self.n_buckets for gram in dict.fromkeys([bounded, *characters, *grams])]
