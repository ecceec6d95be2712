"""A word as one number: its letters are the digits, so that a target sequence is its own dictionary.

A sentence is then (L,) int64 tokens, and any word can be a target, in a vocabulary or not: what a learner knows of it
beside its number is how it is spelled. The first 11 characters count; what is longer, or has other signs, is written in
full again by whoever keeps a table of words, see `Spellings`.

    number = sum_i 49^i digit_i        digit 0 is the end; 49^11 < 2^63
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789'-.,?!\":;$%&"
N_LETTERS: Final = 11
"""Characters of a word that its number holds."""

END: Final = 0
"""The number of the empty word, which ends a sentence."""

PADDING: Final = -1

_BASE: Final = len(LETTERS) + 1
_DIGIT: Final = {letter: digit for digit, letter in enumerate(LETTERS, 1)}


@lru_cache(maxsize=2**17)
def spell(word: str) -> int:
    """The number of a lower-case word; accents are dropped, and signs outside of `LETTERS` too.

    A word without a single such letter gets the number of "%", which stands for a sign that is not known.

    Examples:
        >>> read_spelling(spell("don't"))
        "don't"
        >>> read_spelling(spell("café")), read_spelling(spell("responsibility"))
        ('cafe', 'responsibil')
    """
    plain = word if word.isascii() else unicodedata.normalize("NFKD", word)
    digits = [_DIGIT[letter] for letter in plain if letter in _DIGIT][:N_LETTERS] or [_DIGIT["%"]]
    return sum(digit * _BASE**place for place, digit in enumerate(digits))


def read_spelling(number: int) -> str:
    """The word of a number; "" for the end."""
    letters = []
    while number > 0:
        number, digit = divmod(number, _BASE)
        letters.append(LETTERS[digit - 1])
    return "".join(letters)


def digits_of(number: Int[Tensor, "*N"]) -> Int[Tensor, "*N 11"]:
    """(..., 11) digits in 0..48 of numbers; padding has none."""
    powers = torch.tensor([_BASE**place for place in range(N_LETTERS)], device=number.device)
    return number.clamp_min(0)[..., None].div(powers, rounding_mode="floor") % _BASE


class Spellings:
    """Numbers to words as they were written.

    Args:
        words: lower-case; of several with one number, the first is kept.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._word: dict[int, str] = {}
        self.add(words)

    def add(self, words: Iterable[str]) -> None:
        """Further words; those there are stay."""
        for word in words:
            self._word.setdefault(spell(word), word)

    def get(self, number: int) -> str | None:
        """The word of this number; None where it was not added."""
        return self._word.get(number)

    def __call__(self, number: int) -> str:
        """The word of this number, or what the number itself says of it."""
        return self._word.get(number) or read_spelling(number)
