"""Classify your own short texts from a few labelled ones, and see which of them each answer came from.

    python examples/own_texts.py

`prepare` turns texts into items: here word counts, hashed into 4,096 features. Any sentence encoder works the same way.
To train an encoder on many classes of texts see `regard train intents --show`.
"""

from collections.abc import Sequence

import torch
from sklearn.feature_extraction.text import HashingVectorizer

import regard
from regard.learners import NearestNeighbour
from regard.nn.flat import Flat

counts = HashingVectorizer(n_features=4096, ngram_range=(1, 2), stop_words="english", norm="l2")


def prepare(texts: Sequence[str]) -> torch.Tensor:
    """N texts to (N, 4096) floats."""
    return torch.from_numpy(counts.transform(texts).toarray()).float()


texts = ["book a flight to Oslo", "cancel my flight", "what is my balance", "send money to my sister"]
labels = ["travel", "travel", "banking", "banking"]
model = regard.FewShotClassifier(NearestNeighbour(Flat()), prepare).fit(texts, labels)

new = ["change the flight to Monday", "how much money is on my account balance"]
for text, label, weight in zip(new, model.predict(new), model.attention(new), strict=True):
    print(f"{text!r}: {label}, because of {texts[weight.argmax()]!r}")
