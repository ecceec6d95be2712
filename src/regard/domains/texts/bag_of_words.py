"""The honest baseline of text: TF-IDF vectors, and the nearest class centroid by cosine. Nothing is meta-learned.

The weights of terms (idf) come from the training classes; terms that they never use get the weight of one seen once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch

from regard.domains.texts.clinc import Corpus
from regard.domains.texts.tokenizer import words
from regard.sampling.dataset import Dataset

Terms = Callable[[str], list[str]]
"""What a text is counted as."""


def words_and_n_grams(text: str, sizes: range = range(3, 6)) -> list[str]:
    """The words, and the character n-grams of each between "<" and ">"."""
    said = words(text)
    bounded = [f"<{word}>" for word in said]
    return said + [b[i : i + n] for b in bounded for n in sizes for i in range(len(b) - n + 1)]


def tfidf_dataset(train: Corpus, part: Corpus, terms: Terms = words) -> Dataset:
    """`part` as unit TF-IDF vectors (N, terms), rows as in `regard.domains.texts.clinc.datasets`."""
    return Dataset.of(_vectors(train.texts, part.texts, terms), part.intents, dict(part.domain))


def _vectors(known: Sequence[str], texts: Sequence[str], terms: Terms) -> torch.Tensor:
    documents = Counter(term for text in known for term in set(terms(text)))
    column = {term: i for i, term in enumerate(sorted({term for text in texts for term in terms(text)}))}
    idf = {term: np.log((1 + len(known)) / (1 + documents[term])) + 1 for term in column}
    vectors = np.zeros((len(texts), len(column)), dtype=np.float32)
    for row, text in enumerate(texts):
        for term in terms(text):
            vectors[row, column[term]] += idf[term]
    return torch.from_numpy(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
