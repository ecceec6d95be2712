"""A learner of sentence pairs on languages that it has not seen: chrF and BLEU, and a calibrated confidence."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import numpy as np
import torch

from regard.domains.translation.source import EvaluationLanguages
from regard.errors import ConfigError
from regard.evaluation.chrf import score_translations, sentence_chrf
from regard.evaluation.intervals import mean_interval
from regard.evaluation.result import Result
from regard.evaluation.translate import AdaptedTranslator, Decoding
from regard.learners.base import Learner


def evaluate_translations(
    learner: Learner,
    source: EvaluationLanguages,
    n_episodes: int,
    *,
    decoding: Decoding | None = None,
    name: str | None = None,
    data: str = "unnamed",
) -> Result:
    """chrF2 and BLEU of each language, means and intervals over languages; another learner is compared on the same.

    Args:
        learner: that translates.
        source: languages with their queries; episodes beyond their number are further supports of the same languages,
            which are averaged.
        n_episodes: at least 2.
        decoding: how sentences are searched for.
        name: of the learner in the result.
        data: a name for the languages.

    Raises:
        ConfigError: fewer than two languages, or episodes.
    """
    n_languages = min(n_episodes, len(source.languages))
    if n_languages < 2:
        raise ConfigError(f"there are {n_languages} languages: an interval needs at least 2.")
    began, adapting = time.perf_counter(), []
    values: dict[str, list[list[float]]] = {
        "chrf": [[] for _ in range(n_languages)],
        "bleu": [[] for _ in range(n_languages)],
    }
    digest = hashlib.sha256()
    for number in range(n_episodes):
        pairs, queries = source.part(number)
        digest.update(repr((pairs, queries)).encode())
        started = time.perf_counter()
        adapted = AdaptedTranslator.of(learner, source.reader, pairs, decoding=decoding)
        adapting.append(time.perf_counter() - started)
        texts = [found.text for found in adapted.translate([pair.source for pair in queries])]
        scores = score_translations(texts, [pair.target for pair in queries])
        values["chrf"][number % n_languages].append(scores.chrf)
        values["bleu"][number % n_languages].append(scores.bleu)
    per_language = {metric: np.array([np.mean(rows) for rows in lists], np.float64) for metric, lists in values.items()}
    return Result(
        learner=name or type(learner).__name__,
        data=data,
        n_way=0,
        n_shot=source.n_shot[0],
        n_query=source.n_query,
        episodes=n_languages,
        seed=source.seed,
        transductive=False,
        metrics={metric: mean_interval(values) for metric, values in per_language.items()},
        seconds=time.perf_counter() - began,
        per_episode=per_language,
        adaptation_seconds=float(np.median(adapting)),
        digest=digest.hexdigest()[:16],
    )


def calibrate_translations(learner: Learner, sources: Sequence[EvaluationLanguages]) -> tuple[float, ...]:
    """Weights of `SentenceReader.confidence`: a logistic fit of the chrF of sentences of validation languages.

    Args:
        learner: that translates.
        sources: of languages that it was not trained on, by numbers of pairs; each language is taken once of each.
    """
    rows, share = [], []
    for source, number in [(each, i) for each in sources for i in range(len(each.languages))]:
        pairs, queries = source.part(number)
        answers = AdaptedTranslator.of(learner, source.reader, pairs).translate([pair.source for pair in queries])
        rows.append(np.array([answer.features for answer in answers]))
        texts = [answer.text for answer in answers]
        share += [sentence_chrf(text, pair.target) / 100 for text, pair in zip(texts, queries, strict=True)]
    x = torch.from_numpy(np.column_stack([np.ones(len(share)), np.concatenate(rows)]))
    y, weights = torch.tensor(share, dtype=torch.float64), torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(25):  # Newton's method; the ridge keeps it from running off
        p = (x @ weights).sigmoid()
        slope = x.T @ (p - y) + 1e-2 * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + 1e-2 * torch.eye(len(weights), dtype=torch.float64)
        weights = weights - torch.linalg.solve(curve, slope)
    return tuple(weights.tolist())
