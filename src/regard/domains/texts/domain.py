"""Texts: sentences, requests, headlines, one class each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, LearnerContext, Reader, Rendering, Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.domains.data import LabelledData


@dataclass(frozen=True, repr=False)
class Texts(Domain):
    """The domain of texts."""

    name: ClassVar[str] = "texts"
    items: ClassVar[str] = "texts"
    encoders: ClassVar[tuple[str, ...]] = ("TokenLSTM", "TokenTransformer")
    file_hint: ClassVar[tuple[str, str] | None] = ("EXAMPLES.csv", "QUERIES.txt")

    def data_sets(self) -> Mapping[str, Callable[..., LabelledData]]:
        return {"clinc150": _clinc150}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.texts.data import Tokenizer

        return Tokenizer.from_dict(content)

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """A CSV file with the columns text and label, and a file with one text per line."""
        from regard.domains.texts.files import read_labelled, read_lines

        texts, labels = read_labelled(support)
        queries = read_lines(query)
        return LabelledFiles(texts, labels, texts, queries, queries)

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.texts.data import words
        from regard.domains.texts.render import render_tokens

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
    from regard.domains.texts.data import Tokenizer, datasets, read_clinc, split_domains

    corpora = split_domains(read_clinc(Path(folder)))
    train = corpora["train"]
    tokenizer = Tokenizer.learn(train.texts, [train.domain[intent] for intent in train.intents])
    encoder = {"n_tokens": tokenizer.n_tokens, "vocabulary_size": tokenizer.vocabulary_size}
    things = {split: corpus.texts for split, corpus in corpora.items()}
    return LabelledData(TEXTS, "clinc150", datasets(corpora, tokenizer), tokenizer, encoder, things=things)
