"""Sentences to tensors and back: how a learner sees a source sentence, and how its words become English again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.domains.translation.tokens import Truecaser, romanise, tokenise_english, tokenise_source
from regard.errors import ConfigError, DataError
from regard.nn.spelling import PADDING, Spellings, spell
from regard.nn.words import N_CHARACTERS

N_TOKENS = 64
"""Tokens of a sentence that are read; what comes after them is not."""


@final
class SentenceReader(Reader):
    """Sentences of any language to items, English sentences to targets, and targets to English.

    Args:
        words: English words that a learner knows, in full.
        forms: how they are written where that is not in lower case, see `Truecaser`.
        calibration: weights of a constant and of what a confidence is made of, see `confidence`; none by default.
    """

    def __init__(
        self, words: Iterable[str] = (), forms: Mapping[str, str] | None = None, calibration: Iterable[float] = ()
    ) -> None:
        self.words, self.forms, self.calibration = tuple(words), dict(forms or {}), tuple(map(float, calibration))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            ConfigError: something else.
        """
        words, forms, calibration = content.get("words", []), content.get("forms", {}), content.get("calibration", [])
        if not isinstance(words, list) or not isinstance(forms, dict) or not isinstance(calibration, list):
            raise ConfigError(f"the reader of sentences is {dict(content)!r:.100}: expected words and their forms.")
        return cls(map(str, words), {str(key): str(value) for key, value in forms.items()}, calibration)

    def to_dict(self) -> dict[str, Any]:
        return {"words": list(self.words), "forms": self.forms, "calibration": list(self.calibration)}

    def confidence(self, features: Sequence[float]) -> float:
        """Expected chrF of a translation, 0 to 1: a logistic function of its features, fitted on validation languages.

        Without such a fit, the mean probability of a word.
        """
        if not self.calibration:
            return math.exp(min(0.0, features[0]))
        constant, *weights = self.calibration
        return 1 / (1 + math.exp(-constant - sum(w * f for w, f in zip(weights, features, strict=True))))

    def __call__(self, things: Any) -> dict[str, Tensor]:
        if isinstance(things, str) or not all(isinstance(thing, str) for thing in things):
            raise DataError(f"sentences are a {type(things).__name__}: expected a list of texts.")
        tokens = [tokenise_source(thing)[:N_TOKENS] for thing in things]
        types = {word: i for i, word in enumerate(dict.fromkeys(word for row in tokens for word in row))}
        characters, latin = word_arrays(list(types), [romanise(word) for word in types])
        return items_of([np.array([types[word] for word in row], dtype=np.int64) for row in tokens], characters, latin)

    def targets(self, sentences: Sequence[str]) -> Tensor:
        """(N, L) int64 tokens of English sentences; -1 for padding."""
        rows = [np.array([spell(w) for w in tokenise_english(s)[:N_TOKENS]], dtype=np.int64) for s in sentences]
        return torch.from_numpy(padded(rows))

    def write(
        self,
        numbers: Iterable[int],
        spellings: Spellings | None = None,
        copied: Spellings | None = None,
        case: Truecaser | None = None,
    ) -> str:
        """The English sentence of these words.

        Args:
            numbers: of words, see `spell`.
            spellings: words of a support in full; these count first.
            copied: words of the sentence in Latin letters; these count last.
            case: how words are written; as in the English of training by default.
        """
        first, last = spellings or Spellings(), copied or self.spellings
        return (case or Truecaser(self.forms))(
            [first.get(n) or self.spellings.get(n) or last(n) for n in numbers if n > 0]
        )

    @cached_property
    def spellings(self) -> Spellings:
        """Of the words that a learner knows."""
        return Spellings(self.words)


def word_arrays(words: Sequence[str], latin: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(T, 16) code points and (T,) numbers of words and their romanisation."""
    characters = np.zeros((len(words), N_CHARACTERS), dtype=np.int64)
    for row, word in zip(characters, words, strict=True):
        row[: len(word)] = [ord(letter) for letter in word[:N_CHARACTERS]]
    return characters, np.array([spell(word) for word in latin], dtype=np.int64)


def items_of(
    rows: Sequence[NDArray[np.int64]], characters: NDArray[np.int64], latin: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Items of sentences: which word each token is, and the words."""
    index = padded(rows)
    there = index >= 0
    if not len(latin):
        characters, latin = np.zeros((1, N_CHARACTERS), dtype=np.int64), np.zeros(1, dtype=np.int64)
    return {
        "characters": torch.from_numpy(np.where(there[..., None], characters[index], 0)),
        "latin": torch.from_numpy(np.where(there, latin[index], 0)),
    }


def padded(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows of different lengths as one table, at least one wide; -1 for padding."""
    table = np.full((len(rows), max([1, *map(len, rows)])), PADDING, dtype=np.int64)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table
