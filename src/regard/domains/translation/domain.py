"""Translation: a language learned from a handful of sentence pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from regard.domains.base import Domain
from regard.domains.options import EpisodeOptions
from regard.sampling.counts import Count

if TYPE_CHECKING:
    from regard.domains.translation.data import PairsData
    from regard.domains.translation.reader import SentenceReader

VALIDATION = ("hrv", "nld", "fra", "ben", "gle", "zsm")
TEST = ("ces", "swe", "por", "tur", "eus", "vie", "heb", "kat", "hin", "lit", "mhr", "ceb")


class PairsOptions(EpisodeOptions):
    """Options of episodes made of sentence pairs: no classes."""

    n_way: Count = Field(default=0, description="targets are sentences, and there are no classes")
    n_shot: Count = Field(default=50, description="pairs of a language; a pair of numbers is a range")
    n_query: Count = Field(default=16, description="sentences to translate")

    @field_validator("n_way")
    @classmethod
    def _no_classes(cls, n_way: Count) -> Count:
        if n_way != 0:
            raise ValueError("targets are sentences, and there are no classes: expected 0, or leave it out")
        return n_way


@dataclass(frozen=True, repr=False)
class Translation(Domain):
    """The domain of sentence pairs."""

    name: ClassVar[str] = "translation"
    items: ClassVar[str] = "sentences"
    encoders: ClassVar[tuple[str, ...]] = ("WordEncoder",)
    own_encoders: ClassVar[Mapping[str, str]] = {"WordEncoder": "regard.nn.words:WordEncoder"}
    evaluation_options: ClassVar[type[EpisodeOptions]] = PairsOptions
    training_options: ClassVar[type[EpisodeOptions]] = PairsOptions
    translates: ClassVar[bool] = True
    file_hint: ClassVar[tuple[str, str] | None] = ("PAIRS.tsv, .csv or .jsonl", "TEXT.txt, one sentence per line")

    def data_sets(self) -> Mapping[str, Callable[..., PairsData]]:
        return {"sentence-pairs": sentence_pairs}

    def reader(self, content: Mapping[str, Any]) -> SentenceReader:
        from regard.domains.translation.reader import SentenceReader

        return SentenceReader.from_dict(content)


TRANSLATION = Translation()


def sentence_pairs(
    folder: str = "tatoeba",
    english: Sequence[str] = (),
    validation: Sequence[str] = VALIDATION,
    test: Sequence[str] = TEST,
    n_queries: int = 150,
    n_words: int = 4500,
) -> PairsData:
    """Sentence pairs of many languages to English, such as Tatoeba's.

    Args:
        folder: a file of pairs with a column for the language, or a folder of such files.
        english: further files of English sentences, to invent languages with.
        validation, test: languages that are not trained on. Their queries are fixed first, and the English of these
            is banned from all training.
        n_queries: sentences of each of those at most.
        n_words: English words with a vector of their own; others are given back if they stand in a pair.
    """
    from regard.domains.translation.data import PairsData, read_english, read_pairs_below

    sentences = [sentence for file in english for sentence in read_english(Path(file))]
    return PairsData.of(
        TRANSLATION, "pairs", read_pairs_below(Path(folder)), sentences, validation, test, n_queries, n_words
    )
