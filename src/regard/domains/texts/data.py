"""CLINC150 intents as token items: our own tokenizer, and whole domains held out.

The data: Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction",
arXiv:1909.02027, CC BY 3.0; 150 intents of ten domains, 150 short requests each. A folder holds either the public
files (`data_full.json`, `domains.json`) or the re-packed `clinc_7domains.jsonl.gz` (seven of the domains).

The split is by domain, so that a test task is about something never trained on: the seven domains in alphabetical
order, four for training, one for validation, the rest for test. The public file's three further domains join the test.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from regard.domains.base import Reader
from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.splits import check_disjoint

TRAIN = ("auto_and_commute", "banking", "credit_cards", "kitchen_and_dining")
VALIDATION = ("travel",)

_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")


def words(text: str) -> list[str]:
    """Lower-case words, single digits and single signs: "Pay $20" is pay, $, 2, 0."""
    return _WORD.findall(text.lower().replace("'", ""))


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
    ) -> Tokenizer:
        """The words that stand in at least `least` of these texts, the most frequent first.

        Where the domain of each text is told, words that stand in at least `general` texts of every domain come before
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
        return cls(tuple(kept), tuple(rarity), sum(map(is_general, kept)), n_buckets)

    @property
    def vocabulary_size(self) -> int:
        """The ids from 0 to this one, left out, are padding, the unknown word and the general words."""
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

    def __call__(self, things: Sequence[str]) -> dict[str, torch.Tensor]:
        """N texts to {"ids": (N, L, G) int64, "mask": (N, L) bool, "rarity": (N, L)}; an empty text is all padding."""
        texts = list(things)
        number = {word: 2 + i for i, word in enumerate(self.vocabulary)}
        ids = np.zeros((len(texts), self.length, self.n_grams), dtype=np.int64)
        known: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for place, word in enumerate(words(text)[: self.length]):
                if word not in known:
                    known[word] = [number.get(word, 1), *self._grams(word)][: self.n_grams]
                ids[row, place, : len(known[word])] = known[word]
        first, mask = torch.from_numpy(ids[..., 0]), torch.from_numpy(ids[..., 0] > 0)
        # Id 1, a word outside the vocabulary, finds the last rarity, number -1.
        rarity = torch.tensor(self.rarity)[first - 2]
        return {"ids": torch.from_numpy(ids), "mask": mask, "rarity": rarity * mask}

    def _grams(self, word: str) -> list[int]:
        bounded, first = f"<{word}>", 2 + len(self.vocabulary)
        low, high = self.sizes
        grams = [bounded[i : i + n] for n in range(low, high + 1) for i in range(len(bounded) - n + 1)]
        # The whole word is an n-gram too: an unknown word is told from every other by one id of its own.
        return [first + crc32(gram.encode()) % self.n_buckets for gram in dict.fromkeys([bounded, *grams])]


@dataclass(frozen=True)
class Corpus:
    """Texts with their intents, and the domain of each intent."""

    texts: tuple[str, ...]
    intents: tuple[str, ...]
    domain: Mapping[str, str]

    def part(self, domains: Iterable[str]) -> Corpus:
        """Only these domains."""
        wanted = set(domains)
        kept = [i for i, intent in enumerate(self.intents) if self.domain[intent] in wanted]
        names = {intent: d for intent, d in self.domain.items() if d in wanted}
        return Corpus(tuple(self.texts[i] for i in kept), tuple(self.intents[i] for i in kept), names)


def read_clinc(folder: Path) -> Corpus:
    """Read the public files or the re-packed one; out-of-scope requests have no intent and are left out.

    Raises:
        DataError: neither is there, a file is damaged, or an intent has no domain.
    """
    packed, public = folder / "clinc_7domains.jsonl.gz", folder / "data_full.json"
    try:
        if packed.is_file():
            rows = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).decode().splitlines()]
            pairs = [(row["text"], row["intent"]) for row in rows]
            domain = {row["intent"]: row["domain"] for row in rows}
        elif public.is_file():
            content = json.loads(public.read_text(encoding="utf-8"))
            pairs = [(text, intent) for part in ("train", "val", "test") for text, intent in content[part]]
            domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
            domain = {intent: name for name, intents in domains.items() for intent in intents}
        else:
            raise DataError(
                f"{folder} holds neither {public.name} nor {packed.name}: expected the files of "
                "https://github.com/clinc/oos-eval (data/data_full.json and data/domains.json)."
            )
        return Corpus(tuple(t for t, _ in pairs), tuple(i for _, i in pairs), {i: domain[i] for _, i in pairs})
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder} could not be read as CLINC150 ({error!r}): fetch its files again.") from error


def split_domains(
    corpus: Corpus, validation: Sequence[str] = VALIDATION, train: Sequence[str] = TRAIN
) -> dict[str, Corpus]:
    """{"train", "validation", "test"}: the named domains, and for test all others.

    Raises:
        DataError: a part without any domain.
    """
    others = sorted(set(corpus.domain.values()) - set(train) - set(validation))
    parts = {name: corpus.part(d) for name, d in (("train", train), ("validation", validation), ("test", others))}
    for name, part in parts.items():
        if not part.texts:
            raise DataError(f"part {name!r} has no domain: the corpus has {sorted(set(corpus.domain.values()))}.")
    return parts


def datasets(parts: Mapping[str, Corpus], tokenizer: Tokenizer) -> dict[str, Dataset]:
    """Token items by part, grouped by domain, and checked to share no intent."""
    tokenized = {
        name: Dataset.of(tokenizer(part.texts), part.intents, dict(part.domain)) for name, part in parts.items()
    }
    check_disjoint(tokenized)
    return tokenized
