"""Texts: sentences, requests, headlines, one class each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, LearnerContext, Reader, Rendering, Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.domains.data import LabelledData
    from regard.domains.texts.tokenizer import Tokenizer


@dataclass(frozen=True, repr=False)
class Texts(Domain):
    """The domain of texts."""

    name: ClassVar[str] = "texts"
    items: ClassVar[str] = "texts"
    encoders: ClassVar[tuple[str, ...]] = ("TokenLSTM", "TokenTransformer")
    file_hint: ClassVar[tuple[str, str] | None] = ("EXAMPLES.csv", "QUERIES.txt")

    def data_sets(self) -> Mapping[str, Callable[..., LabelledData]]:
        return {"clinc150": _clinc150, "texts": _texts}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.texts.tokenizer import Tokenizer

        return Tokenizer.from_dict(content)

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """A table or JSON lines with the columns text and label, and a file with one text per line."""
        from regard.domains.texts.files import read_labelled, read_lines

        texts, labels = read_labelled(support)
        queries = read_lines(query)
        return LabelledFiles(texts, labels, texts, queries, queries)

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.texts.render import render_tokens
        from regard.domains.texts.tokenizer import words

        return render_tokens(str(thing), words(str(thing)), saliency)

    def learners(self, context: LearnerContext) -> dict[str, Spec]:
        """The attention meta-learner of the field's tutorials, and one that adapts its head by gradient."""
        inner = {"inner_lr": 0.4, "inner_steps": 1, "test_steps": 3}
        return {
            "AttentionMetaLearner": {"encoder": context.tokens},
            "ANIL": {**inner, "n_outputs": context.n_way, "encoder": context.vector},
        }


TEXTS = Texts()


def _clinc150(folder: str) -> LabelledData:
    from regard.domains.data import LabelledData
    from regard.domains.texts.clinc import datasets, read_clinc, split_domains
    from regard.domains.texts.tokenizer import Tokenizer

    corpora = split_domains(read_clinc(Path(folder)))
    train = corpora["train"]
    tokenizer = Tokenizer.learn(train.texts, [train.domain[intent] for intent in train.intents])
    things = {split: corpus.texts for split, corpus in corpora.items()}
    return LabelledData(TEXTS, "clinc150", datasets(corpora, tokenizer), tokenizer, _encoder(tokenizer), things=things)


def _texts(
    file: str,
    text: str = "text",
    label: str = "label",
    encoding: str | None = None,
    length: int = 32,
    train: float = 0.6,
    validation: float = 0.2,
    seed: int = 0,
) -> LabelledData:
    """A user's own file; classes are split at random, and the vocabulary is of the training classes."""
    import torch

    from regard.domains.data import LabelledData
    from regard.domains.texts.files import read_labelled
    from regard.domains.texts.tokenizer import Tokenizer
    from regard.episode import first_tensor
    from regard.sampling.dataset import Dataset
    from regard.sampling.splits import split_classes

    texts, labels = read_labelled(Path(file).expanduser(), text, label, encoding)
    fractions = {"train": train, "validation": validation, "test": 1 - train - validation}
    rows = split_classes(Dataset.of(torch.arange(len(texts)), labels), fractions, seed)
    things = {split: [texts[row] for row in first_tensor(dataset.x).tolist()] for split, dataset in rows.items()}
    tokenizer = Tokenizer.learn(things["train"], length=length)
    splits = {split: replace(dataset, x=tokenizer(things[split])) for split, dataset in rows.items()}
    return LabelledData(TEXTS, Path(file).stem, splits, tokenizer, _encoder(tokenizer), things=things)


def _encoder(tokenizer: Tokenizer) -> dict[str, int]:
    """What an encoder has to know of the tokens."""
    return {"n_tokens": tokenizer.n_tokens, "vocabulary_size": tokenizer.vocabulary_size}
