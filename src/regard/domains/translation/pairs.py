"""Sentence pairs: reading them, and saying at once what is wrong with them.

    {"lang": "afr", "src": "...", "eng": "..."}      JSON lines, one pair each (Tatoeba)
    {"en": "...", "de": "...", "fr": "..."}          JSON lines, one sentence in several languages each (Multi30k)
    source <tab> target [<tab> language]             a table, with a line of column names or without

Files may be packed by gzip. Targets are English: what the learners know of the target side, they learned from English.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.domains.texts.files import Row, read_cells, read_rows
from regard.errors import DataError
from regard.limits import SENTENCE_CHARACTERS

SOURCE_COLUMNS = ("source", "src", "sentence", "text")
TARGET_COLUMNS = ("target", "eng", "en", "english", "translation", "tgt")
LANGUAGE_COLUMNS = ("language", "lang")
_LISTED = 5
_CODE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?")

# The words that make up half of any English text; sentences of other languages have next to none of them.
_FREQUENT_WORDS = (
    "the a an and or but of to in on at for with from by about not no t s m re ve ll d is are was were be been am "
    "do does did don have has had will would can could should must may might i you he she it we they me him her "
    "us them my your his our their this that these those what who where when why how which there here if as so "
    "than then very all some any one two more out up down into over after before like just know think want go "
    "going get come see said say says man woman people tom"
)
_FREQUENT = frozenset(_FREQUENT_WORDS.split())


class Pair(NamedTuple):
    """A sentence and its English translation.

    Args:
        source: the sentence.
        target: its translation.
        language: of the source, as an ISO 639 code where it is known; "" where it is not.
    """

    source: str
    target: str
    language: str = ""


def read_pairs(path: Path, language: str | None = None) -> list[Pair]:
    """The pairs of a file, in its order.

    Args:
        path: JSON lines, or a table with or without a line of column names.
        language: only pairs of this one; by default all.

    Raises:
        DataError: no such file, columns that are not understood, an empty side or a line that is too long, each with
            its row; or no pair of this language.
    """
    pairs: list[Pair] = []
    mistakes: list[str] = []
    for where, cells in _rows(path):
        for pair in _pairs_of_row(path, where, cells):
            if language is None or pair.language == language:
                pairs.append(pair)
                mistakes += [f"{where} {mistake}" for mistake in _wrong_with(pair)]
    _complain(str(path), mistakes)
    if not pairs:
        languages = sorted({pair.language for _, cells in _rows(path) for pair in _pairs_of_row(path, "", cells)})
        raise DataError(
            f"{path} holds no pair{f' of the language {language!r}, but of {languages[:20]}' if language else ''}: "
            "expected a sentence and its translation per row."
        )
    return pairs


def by_language(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each language, languages in alphabetical order, pairs in theirs."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.language].append(pair)
    return {language: groups[language] for language in sorted(groups)}


def _rows(path: Path) -> list[Row]:
    """Rows by column; a table whose first line names no column has the columns source, target, language."""
    lines = read_cells(path, (*SOURCE_COLUMNS, *TARGET_COLUMNS))
    if lines is None:
        return read_rows(path, ())
    names = [name.strip().casefold() for name in lines[0][1]] if lines else []
    if set(names) & set(TARGET_COLUMNS) and len(set(names)) > 1:
        lines = lines[1:]
    else:
        names = ["source", "target", "language"]
        wrong = [f"{where} has {len(cells)} column(s)" for where, cells in lines if not 2 <= len(cells) <= 3]
        _complain(f"{path}: expected source, target and, optionally, language, separated by tabs or commas", wrong)
    return [(where, dict(zip(names, cells, strict=False))) for where, cells in lines]


def _pairs_of_row(path: Path, where: str, cells: Mapping[str, object]) -> list[Pair]:
    def cell(columns: Sequence[str]) -> str | None:
        name = next((column for column in columns if column in cells), None)
        value = None if name is None else cells[name]
        return None if name is None else value if isinstance(value, str) else ""

    source, target, language = cell(SOURCE_COLUMNS), cell(TARGET_COLUMNS), cell(LANGUAGE_COLUMNS)
    if source is not None and target is not None:
        return [Pair(source.strip(), target.strip(), (language or "").strip())]
    codes = [name for name in cells if _CODE.fullmatch(str(name)) and name not in TARGET_COLUMNS]
    if target is None or not codes:
        raise DataError(
            f"{path}, {where} has {sorted(map(str, cells))[:10]}: expected a source ({', '.join(SOURCE_COLUMNS)}, or "
            f"the code of its language) and its English ({', '.join(TARGET_COLUMNS)})."
        )
    return [Pair(str(cells[code] or "").strip(), target.strip(), code) for code in codes]


def _wrong_with(pair: Pair) -> list[str]:
    """What no learner can use."""
    mistakes = []
    for side, text in (("source", pair.source), ("target", pair.target)):
        if not text.strip():
            mistakes.append(f"has an empty {side}")
        elif len(text) > SENTENCE_CHARACTERS:
            mistakes.append(
                f"has a {side} of {len(text):,} characters: expected one sentence, of at most {SENTENCE_CHARACTERS:,}"
            )
    return mistakes


def _complain(what: str, mistakes: Sequence[str]) -> None:
    if mistakes:
        more = f"; and {len(mistakes) - _LISTED} more" if len(mistakes) > _LISTED else ""
        raise DataError(f"{what}: {'; '.join(mistakes[:_LISTED])}{more}. Mend or remove these rows.")


# ---- what is asked of a support set ---------------------------------------------------------------------------------


def check_sources(sources: Sequence[Any], what: str = "the sentences") -> list[str]:
    """Sentences that are to be translated, as they came.

    Raises:
        DataError: a single text instead of a list, no text, or rows that are empty or too long, each with its number.
    """
    if isinstance(sources, str):
        raise DataError(f"{what}: expected a list of sentences, and got one text: put it into a list.")
    rows = list(sources)
    wrong = [f"row {i} is {row!r:.40}, not a text" for i, row in enumerate(rows) if not isinstance(row, str)]
    _complain(what, wrong)
    _complain(what, [f"row {i} {m}" for i, row in enumerate(rows) for m in _wrong_with(Pair(row, "x"))])
    return rows


def check_support(sources: Sequence[Any], targets: Sequence[Any], fewest: int = 2) -> list[Pair]:
    """The pairs to learn a language from.

    Warns where rows are written in another script than most (they are used, each by itself), and where the targets do
    not look like English: then only words that stand in the pairs can be given back, for that is all that is known.

    Raises:
        DataError: sides of different lengths, fewer pairs than `fewest`, an empty or too long side, or sides that are
            swapped: in all rows, or in some.
    """
    left, right = check_sources(sources, "the sources"), check_sources(targets, "the targets")
    if len(left) != len(right):
        raise DataError(f"there are {len(left)} sources and {len(right)} targets: expected one target per source.")
    if len(left) < fewest:
        raise DataError(
            f"there is only {len(left)} pair: expected {fewest} or more. One pair cannot tell which of its words means "
            "what; ten begin to, and fifty help much."
        )
    pairs = [Pair(source, target) for source, target in zip(left, right, strict=True)]
    _check_sides(pairs)
    odd = other_script([pair.source for pair in pairs])
    if odd:
        main = _script([pair.source for i, pair in enumerate(pairs) if i not in odd])
        listed = ", ".join(f"row {i} ({pairs[i].source!r:.30})" for i in list(odd)[:_LISTED])
        warnings.warn(
            f"{len(odd)} of {len(pairs)} sources are not written in {main}, as the others are: {listed}. They are "
            "used, but teach little about the rest; transliterate or remove them.",
            UserWarning,
            stacklevel=3,
        )
    return pairs


def _check_sides(pairs: Sequence[Pair]) -> None:
    source = [english_share(pair.source) for pair in pairs]
    target = [english_share(pair.target) for pair in pairs]
    n_pairs, mean_source, mean_target = len(pairs), sum(source) / len(pairs), sum(target) / len(pairs)
    if mean_source > mean_target + 0.15:
        raise DataError(
            f"the sources look more like English than the targets ({mean_source:.0%} of their words are frequent in "
            f"English, and {mean_target:.0%}): the sides seem to be swapped; give the English second."
        )
    swapped = [i for i in range(n_pairs) if source[i] >= 0.5 and target[i] <= 0.1 and len(pairs[i].source.split()) > 2]
    if swapped and mean_target > 0.25:
        listed = ", ".join(f"row {i} ({pairs[i].source!r:.30})" for i in swapped[:_LISTED])
        raise DataError(f"{len(swapped)} of {n_pairs} rows seem to have their sides swapped: {listed}. Swap them back.")
    if n_pairs >= 5 and mean_target < 0.12:
        warnings.warn(
            f"the targets do not look like English (only {mean_target:.0%} of their words are frequent in it). The "
            "learner knows no other target language: it can give back words that stand in the pairs and nothing else, "
            "and their order will be poor.",
            UserWarning,
            stacklevel=4,
        )


def english_share(text: str) -> float:
    """Share of the words of a text that are among the most frequent of English; 0 for a text without words."""
    words = re.findall(r"[^\W\d_]+", text.lower().replace("\u2019", "'"))
    return sum(word in _FREQUENT for word in words) / len(words) if words else 0.0


def _script(texts: Iterable[str]) -> str:
    """The script of most letters, such as "Latin"; "" where there are none. Those that Japanese mixes count as one."""
    counts: Counter[str] = Counter()
    for text in texts:
        for character in text:
            if character.isalpha():
                name = unicodedata.name(character, "UNKNOWN").split()[0]
                counts["JAPANESE OR CHINESE" if name in ("CJK", "HIRAGANA", "KATAKANA") else name] += 1
    return counts.most_common(1)[0][0].title() if counts else ""


def other_script(texts: Sequence[str]) -> dict[int, str]:
    """Rows whose script is not that of most, with theirs."""
    scripts = [_script([text]) for text in texts]
    named = [script for script in scripts if script]
    main = Counter(named).most_common(1)[0][0] if named else ""
    return {i: script for i, script in enumerate(scripts) if script and script != main}
