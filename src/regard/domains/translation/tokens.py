"""Sentences of any language to words, English back to sentences.

Languages written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give one token per grapheme: with fifty
sentence pairs there is no dictionary to cut words by, and an alignment puts the graphemes of a word together again.
English clitics are tokens of their own ("do n't", "she 's"), so that "not" is one word of the lexicon.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Self

from regard.extras import import_extra

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-"),
        **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff\u00ad", None),
    }
)
"""Signs that differ in form only; marks that are not seen are dropped. Joiners stay: they change letters."""

_CLITICS = ("n't", "'s", "'m", "'re", "'ve", "'ll", "'d")
_GLUED_LEFT = frozenset(".,;:!?%)]}") | frozenset(_CLITICS)
_GLUED_RIGHT = frozenset("([{$£€")
_ENDS = frozenset(".!?")


@cache
def _patterns() -> tuple[Any, Any, Any]:
    """Of source tokens, of English tokens, and of what is no part of a word."""
    regex = import_extra("regex", "translation")
    unspaced = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    letter = rf"[\p{{L}}\p{{M}}\p{{Nd}}\u200c\u200d--[{unspaced}]]"
    source = rf"(?V1)(?=[{unspaced}])\X|{letter}+(?:['-]{letter}+)*'?|[^\s]"
    english = r"\d+(?:[.,:]\d+)*|[\p{L}\p{M}\d]+(?:['-][\p{L}\p{M}\d]+)*|[^\s]"
    return regex.compile(source), regex.compile(english), regex.compile(r"[^\p{L}\p{M}\p{N}]+")


def tokenise_source(text: str, lower: bool = True) -> list[str]:
    """Words and signs of a sentence of any language; graphemes where it is written without spaces.

    Examples:
        >>> tokenise_source("Ek gee nie 'n fok nie.")
        ['ek', 'gee', 'nie', "'", 'n', 'fok', 'nie', '.']
        >>> tokenise_source("我想开户。")
        ['我', '想', '开', '户', '。']
    """
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return _patterns()[0].findall(plain.lower() if lower else plain)


def tokenise_english(text: str, lower: bool = True) -> list[str]:
    """Words, clitics and signs of an English sentence.

    Examples:
        >>> tokenise_english("I don't think she's here, Tom.")
        ['i', 'do', "n't", 'think', 'she', "'s", 'here', ',', 'tom', '.']
    """
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    tokens = []
    for word in _patterns()[1].findall(plain.lower() if lower else plain):
        clitic = next((c for c in _CLITICS if word.lower().endswith(c) and len(word) > len(c)), None)
        tokens += [word] if clitic is None else [word[: -len(clitic)], word[-len(clitic) :]]
    return tokens


def normalise_english(text: str) -> str:
    """What equal English has in common: lower case, one space for whatever is neither letter nor digit.

    Examples:
        >>> normalise_english("Don't  stop, Tom!")
        'don t stop tom'
    """
    return _patterns()[2].sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()


@lru_cache(maxsize=2**18)
def romanise(word: str) -> str:
    """A word in the letters a to z, by anyascii; itself where it has none there.

    Examples:
        >>> romanise("Москва")
        'moskva'
    """
    return import_extra("anyascii", "translation").anyascii(word).lower().strip() or word


def detokenise(tokens: Sequence[str]) -> str:
    """Tokens of `tokenise_english` to a sentence, as they are written.

    Examples:
        >>> detokenise(["I", "do", "n't", "think", "so", ",", "Tom", "."])
        "I don't think so, Tom."
    """
    text, quoted, glue = "", False, True
    for token in tokens:
        closes = token == '"' and quoted
        if not (glue or closes or token in _GLUED_LEFT):
            text += " "
        text += token
        glue = token in _GLUED_RIGHT or (token == '"' and not quoted)
        quoted ^= token == '"'
    return text


@dataclass(frozen=True)
class Truecaser:
    """The case in which each English word is written most often, other than at the start of a sentence.

    Args:
        forms: written forms by lower-case token, only where they differ: {"tom": "Tom", "i": "I"}.
    """

    forms: Mapping[str, str]

    @classmethod
    def fit(cls, sentences: Iterable[str]) -> Self:
        """Counted in English sentences as people wrote them.

        A word that starts sentences only is taken as lower-case, unless it is written in capitals inside.
        """
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            starts = True
            for token in tokenise_english(sentence, lower=False):
                if not starts or (
                    token[0].isalnum() and not (token[:1].isupper() and token[1:].islower()) and token != "A"
                ):
                    counts[token.lower()][token] += 1
                starts = token in _ENDS or (starts and not token[0].isalnum())
        best = {lower: min(forms, key=lambda f: (-forms[f], f)) for lower, forms in counts.items()}
        return cls({lower: form for lower, form in sorted(best.items()) if form != lower})

    def __call__(self, tokens: Sequence[str]) -> str:
        """Lower-case tokens to a sentence with capitals.

        Examples:
            >>> Truecaser({"tom": "Tom", "i": "I"})(["do", "i", "know", "tom", "?"])
            'Do I know Tom?'
        """
        written, starts = [], True
        for token in tokens:
            form = self.forms.get(token, token)
            has_letter = form[:1].isalnum()
            written.append(form[:1].upper() + form[1:] if starts and has_letter else form)
            starts = token in _ENDS or (starts and not has_letter)
        return detokenise(written)
