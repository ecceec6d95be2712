"""CLINC150 intents as token items, whole domains held out.


The data: Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction",
arXiv:1909.02027, CC BY 3.0; 150 intents of ten domains, 150 short requests each. A folder holds either the public
files (`data_full.json`, `domains.json`) or the re-packed `clinc_7domains.jsonl.gz` (seven of the domains).

The split is by domain, so that a test task is about something never trained on: the seven domains in alphabetical
order, four for training, one for validation, the rest for test. The public file's three further domains join the test.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.domains.texts.tokenizer import Tokenizer
from regard.errors import DataError
from regard.sampling.dataset import Dataset
from regard.sampling.splits import check_disjoint

TRAIN = ("auto_and_commute", "banking", "credit_cards", "kitchen_and_dining")
VALIDATION = ("travel",)


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
