"""Several corpora of labelled texts as one data set on a pretrained body: each corpus is a group of classes.

    clinc150    whole domains held out: four for training, one for validation, the others for test
    banking77   25 / 25 / 27 intents, split 01 of ProtAugment (Dopierre et al. 2021, arXiv:2105.12995)
    huffpost    20 / 5 / 16 kinds of headlines, the split of Bao et al. 2020 (arXiv:1908.06039)
    fewrel      50 / 14 relations, dev_split.json; for test the biomedical relations of FewRel 2.0 (val_pubmed)

With `within_groups` all classes of an episode are of one corpus. So many rows are taken of each class that no corpus
outweighs the others, and their states fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regard.domains.texts.clinc import TRAIN, VALIDATION
from regard.domains.texts.corpora import LabelledTexts, read_corpus, read_json
from regard.errors import ConfigError, did_you_mean

Parts = dict[str, LabelledTexts]
"""The texts of each split."""


def clinc_splits(folder: Path) -> Parts:
    """Whole domains held out."""
    texts = read_corpus(folder / "clinc_7domains.jsonl.gz").at_most(100)
    domains = {"train": set(TRAIN), "validation": set(VALIDATION)}
    domains["test"] = set(texts.groups.values()) - domains["train"] - domains["validation"]
    return {
        split: texts.of_labels([label for label, domain in texts.groups.items() if domain in chosen])
        for split, chosen in domains.items()
    }


def banking_splits(folder: Path) -> Parts:
    """Split 01 of ProtAugment, sixty rows of each official split of each intent."""
    texts = read_corpus(folder / "banking77.jsonl.gz")
    count: dict[tuple[str, str], int] = {}
    kept = []
    for row, key in enumerate(zip(texts.labels, texts.splits, strict=True)):
        count[key] = count.get(key, 0) + 1
        if count[key] <= 60:
            kept.append(row)
    texts, names = texts.rows(kept), read_json(folder / "protaugment_splits.json")["01"]
    return {
        split: texts.of_labels(names[key])
        for split, key in (("train", "train"), ("validation", "valid"), ("test", "test"))
    }


def huffpost_splits(folder: Path) -> Parts:
    """The split of Bao et al."""
    texts, names = read_corpus(folder / "huffpost41.jsonl.gz").at_most(300), read_json(folder / "bao_split.json")
    return {
        split: texts.of_labels([str(label) for label in names[key]])
        for split, key in (("train", "train"), ("validation", "val"), ("test", "test"))
    }


def fewrel_splits(folder: Path) -> Parts:
    """Relations of Wikipedia to train on, biomedical ones for test."""
    texts, names = read_corpus(folder / "train64_sub.jsonl.gz").at_most(130), read_json(folder / "dev_split.json")
    parts = {split: texts.of_labels(names[key]) for split, key in (("train", "train"), ("validation", "dev"))}
    return {**parts, "test": read_corpus(folder / "val_pubmed.jsonl.gz")}


SOURCES: dict[str, Callable[[Path], Parts]] = {
    "clinc150": clinc_splits,
    "banking77": banking_splits,
    "huffpost": huffpost_splits,
    "fewrel": fewrel_splits,
}
"""Corpora by the name of their folder."""


def read_sources(folder: Path, sources: tuple[str, ...], join_validation: bool = False) -> dict[str, Parts]:
    """The splits of each corpus.

    Args:
        folder: that holds a folder per corpus.
        sources: names of `SOURCES`.
        join_validation: train on the validation classes too, once settings are chosen.

    Raises:
        ConfigError: a corpus that there is no reader for.
        DataError: files that are missing or damaged.
    """
    for name in sources:
        if name not in SOURCES:
            raise ConfigError(f"data.sources has {name!r}: {did_you_mean(name, SOURCES)}")
    read = {name: SOURCES[name](folder / name) for name in sources}
    if join_validation:
        read = {name: {**parts, "train": parts["train"] + parts["validation"]} for name, parts in read.items()}
    return read
