"""The honest baseline of text: TF-IDF vectors, and the nearest class centroid by cosine. Nothing is meta-learned.

The weights of words (idf) come from the training classes; words that they never use get the weight of a word seen once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from regard.recipes.text.data import Corpus, words
from regard.sampling.dataset import Dataset


def tfidf_dataset(train: Corpus, part: Corpus) -> Dataset:
    """`part` as unit TF-IDF vectors (N, words), rows as in `regard.recipes.text.data.datasets`."""
    return Dataset.of(_vectors(train.texts, part.texts), part.intents, dict(part.domain))


def _vectors(known: Sequence[str], texts: Sequence[str]) -> torch.Tensor:
    documents = Counter(word for text in known for word in set(words(text)))
    column = {word: i for i, word in enumerate(sorted({word for text in texts for word in words(text)}))}
    idf = {word: np.log((1 + len(known)) / (1 + documents[word])) + 1 for word in column}
    vectors = np.zeros((len(texts), len(column)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in words(text):
            vectors[row, column[word]] += idf[word]
    return torch.from_numpy(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
