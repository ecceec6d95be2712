"""A translator from a handful of sentence pairs: adapt a trained learner to them, then translate.

model = FewShotTranslator("translation").fit(sources, targets)
model.predict(["..."])                      # the English of each sentence
model.translate(["..."], reasons=True)      # with a confidence, and where each word came from
model.explain(["..."])                      # the same drawn, and what deleting the pairs behind it does
model.add(["..."], ["..."])                 # further pairs
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from regard.domains.registry import find_domain
from regard.domains.translation.pairs import Pair, check_sources, check_support
from regard.domains.translation.reader import SentenceReader
from regard.errors import CheckpointError, ConfigError, DataError
from regard.evaluation.translate import AdaptedTranslator, Decoding, Translated
from regard.explain.translations import TranslationExplanation, explain_translations
from regard.learners.base import Learner
from regard.recipes.components import build_learner
from regard.recipes.trained import TrainedLearner
from regard.training.sealed import build_within, read_sealed, write_sealed

FORMAT = "regard.translator.1"


class FewShotTranslator:
    """Translates as its pairs show.

    Args:
        learner: the name of a model that ships, a checkpoint, the folder of a run, or a learner in hand.
        decoding: how sentences are searched for.

    Raises:
        ConfigError: a learner that does not translate.

    Attributes:
        pairs_: what it has read.
    """

    def __init__(self, learner: Learner | str | Path = "translation", *, decoding: Decoding | None = None) -> None:
        self.learner, self.decoding = learner, decoding
        self._trained: TrainedLearner | None = None
        self._adapted: AdaptedTranslator | None = None

    def fit(self, sources: Sequence[str], targets: Sequence[str], sample_weight: ArrayLike | None = None) -> Self:
        """Read sentence pairs of one language.

        Args:
            sources: K sentences.
            targets: their English.
            sample_weight: (K,) how far each pair is trusted, at least 0; ones by default.

        Raises:
            DataError: sides of different lengths, that are empty, too long or swapped, or fewer than two pairs.
            ConfigError: a learner that does not translate.
        """
        pairs = check_support(sources, targets)
        weight = np.ones(len(pairs)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if weight.shape != (len(pairs),) or not np.isfinite(weight).all() or (weight < 0).any():
            raise DataError(
                f"sample_weight has shape {weight.shape}: expected {len(pairs)} numbers of at least 0, one per pair."
            )
        self._read(pairs, weight)
        return self

    def add(self, sources: Sequence[str], targets: Sequence[str], sample_weight: ArrayLike | None = None) -> Self:
        """Read further pairs, beside those there are. All are read again, which takes a second for 200.

        Raises:
            As `fit`.
        """
        adapted = self._fitted()
        pairs = check_support(sources, targets, fewest=1)
        weight = np.ones(len(pairs)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if weight.shape != (len(pairs),) or not np.isfinite(weight).all() or (weight < 0).any():
            raise DataError(f"sample_weight has shape {weight.shape}: expected {len(pairs)} numbers of at least 0.")
        self._read([*adapted.pairs, *pairs], np.concatenate([self._weight, weight]))
        return self

    def predict(self, sources: Sequence[str]) -> list[str]:
        """The English of each sentence.

        Raises:
            ConfigError: `fit` was not called.
            DataError: empty or too long sentences, each with its number.
        """
        return [found.text for found in self.translate(sources)]

    def translate(self, sources: Sequence[str], reasons: bool = False) -> list[Translated]:
        """As `predict`, with a confidence, and with `reasons` where each word came from.

        Raises:
            As `predict`.
        """
        return self._fitted().translate(check_sources(sources), reasons)

    def explain(self, sources: Sequence[str], n_pairs: int = 2) -> TranslationExplanation:
        """Where each word came from, drawn as an alignment, and what deleting the pairs that are named does.

        Args:
            sources: sentences to translate.
            n_pairs: most pairs that are deleted for each; each costs as much as `fit` and a translation.

        Raises:
            As `predict`.
        """
        return explain_translations(self._fitted(), check_sources(sources), n_pairs)

    @property
    def pairs_(self) -> tuple[Pair, ...]:
        """The pairs that were read."""
        return self._fitted().pairs

    def save(self, path: Path | str) -> None:
        """Learner and pairs as one sealed file, in which nothing can run.

        Raises:
            ConfigError: `fit` was not called, or the learner was in hand.
            StorageError: it cannot be written.
        """
        adapted, trained = self._fitted(), self._trained
        if trained is None or not trained.spec:
            raise ConfigError("the learner was made in Python, which a file cannot hold: expected its name or a path.")
        header = {
            "format": FORMAT,
            "learner": trained.spec,
            "items": trained.items,
            "pairs": [[pair.source, pair.target] for pair in adapted.pairs],
            "decoding": vars(adapted.decoding),
        }
        tensors = {f"learner/{name}": tensor for name, tensor in adapted.learner.state_dict().items()}
        write_sealed(path, header, {**tensors, "weight": torch.from_numpy(self._weight)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """What `save` wrote; the pairs are read again, which gives the same answers.

        Raises:
            CheckpointError: no such file, not one of these, or damaged.
        """
        header, tensors = read_sealed(path, FORMAT, "a file of FewShotTranslator.save")
        try:
            weights = {k.removeprefix("learner/"): t for k, t in tensors.items() if k.startswith("learner/")}
            learner = build_within(Path(path), weights, lambda: build_learner(header["learner"]))
            learner.load_state_dict(weights)
            made = cls(learner.eval(), decoding=Decoding(**header["decoding"]))
            items = header["items"]
            name = type(learner).__name__
            made._trained = TrainedLearner(learner, find_domain(items["domain"]), items, header["learner"], name)
            made._read([Pair(str(s), str(t)) for s, t in header["pairs"]], tensors["weight"].double().numpy())
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} describes no translator ({type(error).__name__}: {str(error)!r:.200}): save it again."
            ) from error
        return made

    def _read(self, pairs: Sequence[Pair], weight: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        if self._trained is None:
            self._trained = TrainedLearner.shared(self.learner)
        reader = self._trained.reader()
        if not self._trained.learner.translates or not isinstance(reader, SentenceReader):
            raise ConfigError(f"{self._trained.name} does not translate: expected a learner that was trained on pairs.")
        self._weight = weight
        self._adapted = AdaptedTranslator.of(self._trained.learner, reader, pairs, weight.tolist(), self.decoding)

    def _fitted(self) -> AdaptedTranslator:
        if self._adapted is None:
            raise ConfigError("the translator has read no pairs: call fit(sources, targets) first.")
        return self._adapted
