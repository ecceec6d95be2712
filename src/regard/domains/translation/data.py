"""Translation's data: languages to train on, languages that are kept apart, and English to invent languages with."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.domains.base import Domain
from regard.domains.data import Data, describe_items
from regard.domains.options import EpisodeOptions
from regard.domains.translation.pairs import Pair, by_language, read_pairs
from regard.domains.translation.protocol import EnglishSides, EvaluationLanguage, Protocol, fix_queries
from regard.domains.translation.reader import SentenceReader
from regard.domains.translation.source import EvaluationLanguages, TrainingLanguages
from regard.domains.translation.tokens import Truecaser, tokenise_english
from regard.errors import ConfigError, DataError, did_you_mean
from regard.nn.spelling import spell
from regard.sampling.source import EpisodeSource

_TEXT_KEYS = ("text", "eng", "en", "english", "sentence")


@dataclass(frozen=True)
class PairsData(Data):
    """Sentence pairs of many languages.

    Args:
        domain, title: as `Data`.
        pairs: to train on, by language.
        english: sentences to invent languages with.
        protocol: languages that are kept apart, whose queries' English is in neither.
        splits: languages of "validation" and "test".
        reader: of sentences, which knows the words of the training English.
        encoder: options of the encoder: its vocabulary.
    """

    domain: Domain
    title: str
    pairs: Mapping[str, Sequence[Pair]]
    english: Sequence[str]
    protocol: Protocol
    splits: Mapping[str, tuple[str, ...]]
    reader: SentenceReader
    encoder: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        domain: Domain,
        title: str,
        pairs: Iterable[Pair],
        english: Iterable[str],
        validation: Sequence[str],
        test: Sequence[str],
        n_queries: int = 150,
        n_words: int = 4500,
    ) -> PairsData:
        """Fix the queries, ban their English, and learn which English words there are.

        Raises:
            ConfigError: a language that the pairs do not have, or that is in both splits.
        """
        languages = by_language(pairs)
        wanted = [*validation, *test]
        for language in wanted:
            if language not in languages:
                raise ConfigError(f"there are no pairs of {language!r}: {did_you_mean(language, languages)}")
        if len(set(wanted)) < len(wanted):
            raise ConfigError(f"validation is {list(validation)} and test {list(test)}: expected each language once.")
        protocol = fix_queries({language: languages[language] for language in wanted}, n_queries)
        kept = {name: protocol.training(rows) for name, rows in languages.items() if name not in protocol.languages}
        ours = protocol.english(pair.target for rows in languages.values() for pair in rows)
        everything = protocol.english([*ours, *english])
        counts: Counter[str] = Counter()
        for number, sentence in enumerate(everything):
            # A word of the pairs counts more than one of the other English, which is of other things.
            counts.update(dict.fromkeys(tokenise_english(sentence), 3 if number < len(ours) else 1))
        words = [word for word, count in counts.most_common(n_words) if count >= 6]
        reader = SentenceReader(words, Truecaser.fit(ours).forms)
        splits = {"validation": tuple(validation), "test": tuple(test)}
        return cls(domain, title, kept, everything, protocol, splits, reader, {"vocabulary": words})

    @property
    def items(self) -> dict[str, Any]:
        return describe_items(self.domain, self.reader)

    def english_tokens(self) -> list[Tensor]:
        """The English that may be trained on, as tokens (L,) of each sentence."""
        return [torch.tensor([spell(word) for word in tokenise_english(sentence)]) for sentence in self.english]

    @property
    def english_sides(self) -> EnglishSides:
        train = [*self.english, *(pair.target for rows in self.pairs.values() for pair in rows)]
        return EnglishSides.of(self.protocol, train)

    def languages(self, split: str) -> list[EvaluationLanguage]:
        """Those of a split that is not trained on.

        Raises:
            DataError: there is no such split, or it has no languages.
        """
        if not self.splits.get(split):
            raise DataError(f"{self.title} has no languages of {split!r}: {did_you_mean(split, self.splits)}")
        return [self.protocol.languages[language] for language in self.splits[split]]

    def source(self, split: str, episodes: EpisodeOptions, seed: int) -> EpisodeSource:
        if split == "train":
            return self.training(episodes, seed)
        if isinstance(episodes.n_shot, tuple) or isinstance(episodes.n_query, tuple):
            raise ConfigError(f"n_shot of {split!r} is {episodes.n_shot}: expected one number of pairs.")
        return EvaluationLanguages(self.languages(split), self.reader, episodes.n_shot, episodes.n_query, seed=seed)

    def training(self, episodes: EpisodeOptions, seed: int) -> TrainingLanguages:
        names = {word for word, form in self.reader.forms.items() if form[:1].isupper()}
        return TrainingLanguages(
            self.pairs, self.english, names.__contains__, episodes.n_shot, episodes.n_query, seed=seed
        )


def read_english(path: Path) -> list[str]:
    """English sentences of a file: JSON lines with a "text", or one sentence per line; also packed by gzip.

    Raises:
        DataError: it cannot be read, or has no such line.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            lines = [line.strip() for line in file if line.strip()]
        if ".jsonl" not in path.suffixes:
            return lines
        rows = [json.loads(line) for line in lines]
        return [str(row[next(key for key in _TEXT_KEYS if key in row)]) for row in rows]
    except (OSError, ValueError, StopIteration, TypeError) as error:
        raise DataError(
            f"{path}: {type(error).__name__} {error}: expected an English sentence per line, or JSON lines with one of "
            f"{', '.join(_TEXT_KEYS)}."
        ) from error


def read_pairs_below(folder: Path, languages: Sequence[str] = ()) -> list[Pair]:
    """The pairs of a file, or of all files of a folder whose names end as tables or JSON lines do.

    Raises:
        DataError: there are none.
    """
    files = [folder] if folder.is_file() else sorted(p for p in folder.glob("*") if _is_table(p))
    if not files:
        raise DataError(
            f"{folder} has no sentence pairs: expected .jsonl, .tsv or .csv files, or such a file, also .gz."
        )
    pairs = [pair for file in files for pair in read_pairs(file)]
    return [pair for pair in pairs if not languages or pair.language in languages]


def _is_table(path: Path) -> bool:
    return bool({".jsonl", ".tsv", ".csv"} & set(path.suffixes))
