"""Texts: sentences, requests, headlines, one class each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, LearnerContext, PartSaliency, Reader, Rendering, Spec

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
    encoders: ClassVar[tuple[str, ...]] = ("TokenLSTM", "TokenTransformer", "PretrainedText")
    own_encoders: ClassVar[Mapping[str, str]] = {"PretrainedText": "regard.nn.pretrained.text:PretrainedText"}
    file_hint: ClassVar[tuple[str, str] | None] = ("EXAMPLES.csv", "QUERIES.txt")

    lengths_vary: ClassVar[bool] = True

    def data_sets(self) -> Mapping[str, Callable[..., LabelledData]]:
        return {"clinc150": _clinc150, "texts": _texts, "sentences": _sentences}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        if "body" in content:
            from regard.domains.texts.body import BodyReader

            return BodyReader.from_dict(content)
        from regard.domains.texts.tokenizer import Tokenizer

        return Tokenizer.from_dict(content)

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """A table or JSON lines with the columns text and label, and a file with one text per line."""
        from regard.domains.texts.files import read_labelled, read_lines

        texts, labels = read_labelled(support)
        queries = read_lines(query)
        return LabelledFiles(texts, labels, texts, queries, queries)

    def synthetic_things(self, n: int, seed: int) -> Sequence[Any] | None:
        """Sentences of common words in no order."""
        import numpy as np

        rng, common = np.random.default_rng(seed), ["please", "play", "my", "next", "song", "book", "a", "table", "at"]
        return [" ".join(rng.choice(common, int(length))) for length in rng.integers(3, 5 + 2 * (seed % 5), n)]

    def name_examples(self, names: Sequence[str]) -> list[str]:
        """ "card_arrival" and "cardArrival" are "card arrival"."""
        return [re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip() or name for name in names]

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.texts.render import render_tokens
        from regard.domains.texts.tokenizer import words

        return render_tokens(str(thing), words(str(thing)), saliency)

    def part_saliency(self, model: Any, read: LabelledFiles) -> list[PartSaliency] | None:
        """Words, by deleting each, where there are not too many."""
        from regard.domains.texts.deletion import explained_words

        return explained_words(model, read.queries)

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
    group: str | None = None,
    encoding: str | None = None,
    length: int = 32,
    train: float = 0.6,
    validation: float = 0.2,
    seed: int = 0,
    body: str | None = None,
    n_trained_layers: int = 0,
) -> LabelledData:
    """A user's own file; classes are split at random, and the vocabulary is that of the training classes, or of a
    pretrained body where one is named. `n_trained_layers` is that of the encoder: the states of the others are kept.

    With `group`, a column such as the product that a review is of, the labels of each group are classes of their own,
    groups are split instead of classes, and `within_groups` draws each episode from one.
    """
    import torch

    from regard.domains.data import LabelledData
    from regard.domains.texts.files import read_labelled
    from regard.domains.texts.tokenizer import Tokenizer
    from regard.episode import first_tensor
    from regard.sampling.dataset import Dataset
    from regard.sampling.splits import split_by_group, split_classes

    path = Path(file).expanduser()
    texts, labels = read_labelled(path, text, label, encoding)
    fractions = {"train": train, "validation": validation, "test": 1 - train - validation}
    number = torch.arange(len(texts))
    if group is None:
        rows = split_classes(Dataset.of(number, labels), fractions, seed)
    else:
        groups = read_labelled(path, text, group, encoding)[1]
        labels = [f"{of}/{label}" for of, label in zip(groups, labels, strict=True)]
        parts = split_classes(Dataset.of(number, groups), fractions, seed)
        dataset = Dataset.of(number, labels, dict(zip(labels, groups, strict=True)))
        rows = split_by_group(dataset, {split: part.class_names for split, part in parts.items()})
    things = {split: [texts[row] for row in first_tensor(dataset.x).tolist()] for split, dataset in rows.items()}
    if body is not None:
        from regard.domains.texts.body import StateReader

        states = StateReader(body, n_trained_layers, max(length, 64))
        splits = {split: replace(dataset, x=states(things[split])) for split, dataset in rows.items()}
        return LabelledData(TEXTS, path.stem, splits, states.reader, states.settings, things=things)
    tokenizer = Tokenizer.learn(things["train"], length=length)
    splits = {split: replace(dataset, x=tokenizer(things[split])) for split, dataset in rows.items()}
    return LabelledData(TEXTS, path.stem, splits, tokenizer, _encoder(tokenizer), things=things)


def _sentences(
    folder: str,
    sources: tuple[str, ...] = ("clinc150", "banking77", "huffpost", "fewrel"),
    body: str = "minilm",
    n_trained_layers: int = 2,
    join_validation: bool = False,
) -> LabelledData:
    """Published corpora on a pretrained body, each a group of classes; see `regard.domains.texts.sentences`.

    `n_trained_layers` is that of the encoder: the states of the other layers are kept, in memory and on disk.
    """
    from regard.domains.data import LabelledData
    from regard.domains.texts.body import StateReader
    from regard.domains.texts.sentences import read_sources
    from regard.sampling.dataset import Dataset

    corpora = read_sources(Path(folder).expanduser(), sources, join_validation)
    states = StateReader(body, n_trained_layers)
    splits, things = {}, {}
    for split in ("train", "validation", "test"):
        parts = [(name, parts[split]) for name, parts in corpora.items()]
        things[split] = [text for _, part in parts for text in part.texts]
        labels = [f"{name}/{label}" for name, part in parts for label in part.labels]
        items = states(*(part.texts for _, part in parts))
        splits[split] = Dataset.of(items, labels, {label: label.partition("/")[0] for label in labels})
    return LabelledData(TEXTS, "sentences", splits, states.reader, states.settings, things=things)


def _encoder(tokenizer: Tokenizer) -> dict[str, int]:
    """What an encoder has to know of the tokens."""
    return {"n_tokens": tokenizer.n_tokens, "vocabulary_size": tokenizer.vocabulary_size}
