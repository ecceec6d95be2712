"""A language under a permutation of its letters: grammar and words stay, and no word looks like another language's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Cipher:
    """Letters for letters; marks, digits and signs stay.

    Args:
        table: code point to code point, lower case.
    """

    table: dict[int, int]

    @classmethod
    def of(cls, texts: Iterable[str], seed: int) -> Self:
        """A permutation of the letters that stand in these texts.

        Args:
            texts: all that will be ciphered.
            seed: of the permutation.
        """
        letters = sorted({character for text in texts for character in text.lower() if character.isalpha()})
        order = np.random.default_rng(seed).permutation(len(letters))
        return cls({ord(letter): ord(letters[i]) for letter, i in zip(letters, order.tolist(), strict=True)})

    def __call__(self, text: str) -> str:
        """The text in lower case, its letters changed."""
        return text.lower().translate(self.table)
