"""Labelled texts in the forms in which few-shot corpora are published: one reader that knows their columns.

    BANKING77, CLINC150   {text, intent, domain, split} as JSON lines or a table
    HWU64                 a folder of tables or JSON lines with text and category, or of one file per intent; the
                          original table with answer, scenario and intent
    HuffPost              {text, label} with numbers for labels, and label_words.json beside it
    FewRel                {relation, tokens, h: {pos}, t: {pos}}, whose entities become marks in the text
    ARSC                  {text, label, domain, threshold, split}: one task per domain and threshold

Casanueva et al. 2020 (arXiv:2003.04807), Larson et al. 2019 (arXiv:1909.02027), Liu et al. 2019 (arXiv:1903.05566),
Bao et al. 2020 (arXiv:1908.06039), Han et al. 2018 (arXiv:1810.10147), Yu et al. 2018 (arXiv:1805.07513).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from regard.domains.texts.files import Row, read_rows
from regard.errors import DataError

TEXT_COLUMNS = ("text", "sentence", "utterance", "headline", "answer_normalised", "answer")
LABEL_COLUMNS = ("intent", "label", "relation", "category", "class")
GROUP_COLUMNS = ("domain", "scenario")
_FILES = (".csv", ".tsv", ".json", ".jsonl", ".gz", ".txt")
_NOT_DATA = ("domains.json", "categories.json", "label_words.json", "readme.txt")


@dataclass(frozen=True)
class LabelledTexts:
    """N texts with labels.

    Args:
        texts, labels: N of each.
        groups: the group of each label, such as its domain; empty where labels have none.
        splits: the corpus's own split of each row; empty strings where it has none.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    groups: Mapping[str, str]
    splits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: LabelledTexts) -> LabelledTexts:
        """The rows of both."""
        texts, labels, splits = self.texts + other.texts, self.labels + other.labels, self.splits + other.splits
        return LabelledTexts(texts, labels, {**self.groups, **other.groups}, splits)

    def rows(self, index: Sequence[int]) -> Self:
        """Only these rows."""
        texts, labels, splits = (tuple(values[i] for i in index) for values in (self.texts, self.labels, self.splits))
        return replace(self, texts=texts, labels=labels, splits=splits)

    def of_labels(self, labels: Collection[str]) -> Self:
        """Only the rows of these labels.

        Raises:
            DataError: a label that no row has.
        """
        missing = sorted(set(labels) - set(self.labels))
        if missing:
            raise DataError(f"no text has the label {missing[0]!r}: expected some of {sorted(set(self.labels))[:10]}.")
        return self.rows([i for i, label in enumerate(self.labels) if label in labels])

    def at_most(self, n_rows: int) -> Self:
        """The first so many rows of each label."""
        count: dict[str, int] = {}
        kept = []
        for i, label in enumerate(self.labels):
            count[label] = count.get(label, 0) + 1
            if count[label] <= n_rows:
                kept.append(i)
        return self.rows(kept)


def read_corpus(path: Path) -> LabelledTexts:
    """One file, or all files of a folder.

    Raises:
        DataError: nothing there, other columns, or rows without text or label.
    """
    if path.suffix.lower() == ".txt" and path.is_file():  # one text per line, and the file is called like their label
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        return LabelledTexts(lines, (path.stem,) * len(lines), {}, ("",) * len(lines))
    if not path.is_dir():
        return _of_rows(path, read_rows(path, (*TEXT_COLUMNS, *LABEL_COLUMNS)))
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in _FILES and file.name.lower() not in _NOT_DATA and not file.name.startswith(".")
    )
    if not files:
        raise DataError(f"{path} has no file of texts: expected tables or JSON lines with {TEXT_COLUMNS[0]} and label.")
    corpora = [read_corpus(file) for file in files]
    return LabelledTexts(
        tuple(text for corpus in corpora for text in corpus.texts),
        tuple(label for corpus in corpora for label in corpus.labels),
        {label: group for corpus in corpora for label, group in corpus.groups.items()},
        tuple(split or file.stem for corpus, file in zip(corpora, files, strict=True) for split in corpus.splits),
    )


def marked(tokens: Sequence[str], head: Sequence[int], tail: Sequence[int]) -> str:
    """Tokens as a text with marked entities.

    Args:
        tokens: of the sentence.
        head, tail: numbers of the tokens of each entity; of several mentions, the first run of tokens.

    Raises:
        DataError: tokens that are not there, or entities that share one.
    """
    spans = []
    for places in (head, tail):
        run = [place for i, place in enumerate(sorted(places)) if place == min(places) + i]
        if not run or not 0 <= run[0] <= run[-1] < len(tokens):
            raise DataError(f"an entity has the tokens {list(places)} of {len(tokens)}: expected numbers from 0.")
        spans.append((run[0], run[-1]))
    if spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1]:
        raise DataError(f"the entities {list(head)} and {list(tail)} share a token: expected two apart.")
    words = list(tokens)
    for name, (first, last) in zip(("E1", "E2"), spans, strict=True):
        words[first] = f"[{name}] {words[first]}"
        words[last] = f"{words[last]} [/{name}]"
    return " ".join(words)


def _of_rows(path: Path, rows: Sequence[Row]) -> LabelledTexts:
    texts, labels, splits, groups = [], [], [], {}
    for where, cells in rows:
        folded = {str(key).strip().casefold(): value for key, value in cells.items() if key is not None}
        text = _text(path, where, folded)
        label = _first(folded, LABEL_COLUMNS)
        group = _first(folded, GROUP_COLUMNS)
        if label is None:
            raise DataError(f"{path}, {where} has no label: expected a column {' or '.join(LABEL_COLUMNS)}.")
        if "scenario" in folded and "intent" in folded:
            label = f"{folded['scenario']}_{folded['intent']}"
        texts.append(text)
        labels.append(str(label))
        splits.append(str(folded.get("split") or ""))
        if group is not None:
            groups[str(label)] = str(group)
    if not texts:
        raise DataError(f"{path} holds no row: expected texts with labels.")
    return LabelledTexts(tuple(texts), tuple(labels), groups, tuple(splits))


def _text(path: Path, where: str, cells: Mapping[str, Any]) -> str:
    tokens, head, tail = cells.get("tokens"), cells.get("h"), cells.get("t")
    if isinstance(tokens, list) and isinstance(head, dict) and isinstance(tail, dict):
        try:
            # FewRel's own files have one list of token numbers for each mention of an entity.
            places = [[int(v) for v in (p[0] if isinstance(p[0], list) else p)] for p in (head["pos"], tail["pos"])]
            return marked([str(token) for token in tokens], *places)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{path}, {where} is no sentence with two entities ({error}).") from error
    text = _first(cells, TEXT_COLUMNS)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{path}, {where} has no text: expected a column {' or '.join(TEXT_COLUMNS)}.")
    return text


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if cells.get(name) not in (None, "")), None)


@dataclass(frozen=True)
class ReviewTask:
    """One task of ARSC: reviews of one kind of product, positive from so many stars on.

    Args:
        domain: of the products.
        threshold: "t2", "t4" or "t5": the stars from which a review counts as positive.
        reviews: with the labels "-1" and "1"; `splits` say train, dev or test.
    """

    domain: str
    threshold: str
    reviews: LabelledTexts


def read_reviews(path: Path) -> list[ReviewTask]:
    """The tasks of a file of ARSC, in order of domain and threshold.

    Raises:
        DataError: as `read_corpus`, and rows without domain or threshold.
    """
    rows: dict[tuple[str, str], list[Row]] = {}
    for where, cells in read_rows(path, ("text", "label", "domain", "threshold")):
        if not isinstance(cells.get("domain"), str) or not isinstance(cells.get("threshold"), str):
            raise DataError(f"{path}, {where} has no domain or threshold: expected a file of ARSC.")
        rows.setdefault((cells["domain"], cells["threshold"]), []).append((where, cells))
    return [ReviewTask(*key, _of_rows(path, some)) for key, some in sorted(rows.items())]


def read_json(path: Path) -> Any:
    """A small JSON file that belongs to a corpus, such as a split of its classes.

    Raises:
        DataError: no such file, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}): expected a file of the corpus.") from error
