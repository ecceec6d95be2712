"""Sentences translated by a learner of pairs: beam search, the pair that says it already, a confidence, and reasons."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from regard.domains.translation.baselines import memory_cosines
from regard.domains.translation.pairs import Pair
from regard.domains.translation.reader import N_TOKENS, SentenceReader
from regard.domains.translation.source import EvaluationLanguages
from regard.domains.translation.tokens import Truecaser, tokenise_english, tokenise_source
from regard.episode import Support
from regard.errors import ConfigError
from regard.evaluation.chrf import score_translations, sentence_chrf
from regard.evaluation.intervals import mean_interval
from regard.evaluation.result import Result
from regard.learners.base import Learner
from regard.nn.beam import Hypothesis, beam_search
from regard.nn.inference import eval_mode
from regard.nn.reasons import origins
from regard.nn.spelling import Spellings
from regard.nn.writing import Sentences

_CHUNK = 25
"""Sentences that are translated at once."""


@dataclass(frozen=True)
class Decoding:
    """How a sentence is searched for.

    Args:
        n_beams: beginnings that are kept.
        length_power: see `beam_search`.
        fluency: weight of usual English in the search.
        memory_above: the target of the nearest pair is taken where the cosine of their sources is above this; 1 never.
    """

    n_beams: int = 4
    length_power: float = 1.2
    memory_above: float = 0.5
    fluency: float = 0.2


@dataclass(frozen=True)
class Reason:
    """Where one word of a translation came from.

    Args:
        word: as written.
        source: "gloss" (a word of a pair), "copy" (the sentence itself), "memory" (a phrase of a pair), "pair" (the
            whole translation is that of a pair) or "vocabulary" (what training taught).
        share: how much of the word's probability that is.
        sentence_word: of the sentence that was translated.
        pair: number of the pair; None where there is none.
        pair_word, pair_target: in it, on either side.
    """

    word: str
    source: str
    share: float
    sentence_word: str | None = None
    pair: int | None = None
    pair_word: str | None = None
    pair_target: str | None = None


@dataclass(frozen=True)
class Translated:
    """One sentence.

    Args:
        text: its translation.
        confidence: expected chrF, 0 to 1.
        reasons: of each word; none where they were not wanted.
        evidence: (S,) how much of the translation stands on each pair; empty where reasons were not wanted.
        others: further translations, the best first.
    """

    text: str
    confidence: float
    reasons: tuple[Reason, ...] = ()
    evidence: tuple[float, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class AdaptedTranslator:
    """A learner that has read pairs.

    Args:
        learner: of sentences.
        reader: of them.
        pairs: what it read.
        state: of the learner.
        spellings, forms: words of the pairs as they are written.
        decoding: see there.
    """

    learner: Learner
    reader: SentenceReader
    pairs: tuple[Pair, ...]
    state: Any
    spellings: Spellings
    forms: Truecaser
    decoding: Decoding = Decoding()

    @classmethod
    def of(
        cls,
        learner: Learner,
        reader: SentenceReader,
        pairs: Sequence[Pair],
        weight: Sequence[float] | None = None,
        decoding: Decoding | None = None,
    ) -> Self:
        """Read pairs; none at all are allowed.

        Args:
            learner: that translates.
            reader: of its sentences.
            pairs: K of them.
            weight: (K,) of pairs; ones by default.
            decoding: how sentences are searched for.

        Raises:
            ConfigError: a learner that does not translate.
        """
        if not learner.translates:
            raise ConfigError(
                f"{type(learner).__name__} does not translate: expected a learner such as LexiconTranslator."
            )
        shown = list(pairs) or [Pair("", "")]
        y = reader.targets([pair.target for pair in shown])[None]
        x = {key: tensor[None] for key, tensor in reader([pair.source for pair in shown]).items()}
        dtype = next(learner.parameters()).dtype
        mass = [float(bool(pairs))] * len(shown) if weight is None or not pairs else list(weight)
        with torch.no_grad(), eval_mode(learner):
            state = learner.adapt(Support(x, y, torch.tensor([mass], dtype=dtype), 0))
        english = [pair.target for pair in pairs]
        spellings = Spellings(word for sentence in english for word in tokenise_english(sentence))
        kept = tuple(pairs)
        return cls(learner, reader, kept, state, spellings, Truecaser.fit(english), decoding or Decoding())

    def translate(self, sentences: Sequence[str], reasons: bool = False) -> list[Translated]:
        """The sentences in English; they do not see each other.

        Args:
            sentences: of the language of the pairs.
            reasons: whether to say where each word came from.
        """
        found: list[Translated] = []
        for start in range(0, len(sentences), _CHUNK):
            found += self._chunk(sentences[start : start + _CHUNK], reasons)
        return found

    def features(self, sentences: Sequence[str]) -> np.ndarray:
        """(N, 4) what the confidence is made of: log-probability per word, words known, likeness to a pair, length."""
        rows = []
        for start in range(0, len(sentences), _CHUNK):
            rows += [row for _, row in self._searched(sentences[start : start + _CHUNK])[1]]
        return np.array(rows)

    def _searched(self, sentences: Sequence[str]) -> tuple[Sentences, list[tuple[list[Hypothesis], list[float]]]]:
        x = {key: tensor[None] for key, tensor in self.reader(sentences).items()}
        longest = [min(N_TOKENS, 2 * n + 4) for n in (x["latin"][0] > 0).sum(-1).tolist()]
        with torch.inference_mode(), eval_mode(self.learner):
            output = self.learner.predict(self.state, x)
            if not isinstance(output, Sentences):
                raise ConfigError(
                    f"{type(self.learner).__name__} answered with a {type(output).__name__}: expected sentences."
                )
            o = self.decoding
            ranked = beam_search(output, o.n_beams, longest, o.length_power, o.fluency)
        there = output.understood.there[0]
        known = (output.understood.features[0, ..., 1] * there).sum(-1) / there.sum(-1).clamp_min(1)
        alike = output.understood.alike[0].amax(-1)
        rows = []
        for row, best in enumerate(ranked):
            mean = best[0].log_p / (len(best[0].words) + 1) if best else -9.0
            rows.append((best, [mean, float(known[row]), float(alike[row]), math.log1p(float(there[row].sum()))]))
        return output, rows

    def _chunk(self, sentences: Sequence[str], reasons: bool) -> list[Translated]:
        output, rows = self._searched(sentences)
        best = [list(ranked[0].words) if ranked else [] for ranked, _ in rows]
        with torch.inference_mode(), eval_mode(self.learner):
            why = origins(output, best) if reasons else [[] for _ in best]
        cosines = memory_cosines(self.pairs, sentences) if self.pairs and self.decoding.memory_above < 1 else None
        found = []
        for row, (ranked, features) in enumerate(rows):
            texts = [self._written(h.words) for h in ranked] or [""]
            confidence = self.reader.confidence(features)
            places = tuple(
                self._reason(sentences[row], number, o) for number, o in zip(best[row], why[row], strict=reasons)
            )
            evidence = tuple(np.mean([o.evidence for o in why[row]], 0).tolist()) if why[row] else ()
            answer = Translated(texts[0], confidence, places, evidence, tuple(dict.fromkeys(texts[1:])))
            found.append(self._remembered(answer, cosines[row], reasons) if cosines is not None else answer)
        return found

    def _remembered(self, answer: Translated, cosine: np.ndarray, reasons: bool) -> Translated:
        """The pair that says it already, where there is one."""
        # Among equals the first in the alphabet, so that the order of pairs does not matter.
        nearest = min(range(len(cosine)), key=lambda i: (-round(float(cosine[i]), 9), self.pairs[i]))
        if cosine[nearest] <= self.decoding.memory_above:
            return answer
        target = self.pairs[nearest].target
        words = tuple(
            Reason(word, "pair", 1.0, pair=nearest, pair_target=word) for word in tokenise_english(target, False)
        )
        evidence = tuple(float(i == nearest) for i in range(len(cosine)))
        confidence = max(answer.confidence, 0.9 * float(cosine[nearest]) ** 2)
        return replace(
            answer,
            text=target,
            confidence=confidence,
            reasons=words if reasons else (),
            evidence=evidence if reasons else (),
            others=(answer.text, *answer.others),
        )

    def _written(self, words: Sequence[int]) -> str:
        return self.reader.write(words, self.spellings, self.forms)

    def _reason(self, sentence: str, number: int, origin: Any) -> Reason:
        word = self.spellings.get(number) or self.reader.spellings(number)
        tokens = tokenise_source(sentence)
        pair = None if origin.pair is None or origin.pair >= len(self.pairs) else self.pairs[origin.pair]
        return Reason(
            word,
            origin.source,
            origin.share,
            _at(tokens, origin.word),
            origin.pair if pair else None,
            _at(tokenise_source(pair.source), origin.pair_word) if pair else None,
            _at(tokenise_english(pair.target), origin.target_word) if pair else None,
        )


def _at(tokens: Sequence[str], place: int | None) -> str | None:
    return tokens[place] if place is not None and place < len(tokens) else None


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


def calibrate_translations(learner: Learner, source: EvaluationLanguages, n_episodes: int) -> tuple[float, ...]:
    """Weights of `SentenceReader.confidence`: a logistic fit of the chrF of sentences of validation languages.

    Args:
        learner: that translates.
        source: of languages that it was not trained on.
        n_episodes: of it.
    """
    rows, share = [], []
    for number in range(n_episodes):
        pairs, queries = source.part(number)
        adapted = AdaptedTranslator.of(learner, source.reader, pairs, decoding=Decoding(memory_above=1.0))
        sentences = [pair.source for pair in queries]
        rows.append(adapted.features(sentences))
        texts = [found.text for found in adapted.translate(sentences)]
        share += [sentence_chrf(text, pair.target) / 100 for text, pair in zip(texts, queries, strict=True)]
    x = torch.from_numpy(np.column_stack([np.ones(len(share)), np.concatenate(rows)]))
    y, weights = torch.tensor(share, dtype=torch.float64), torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(25):  # Newton's method; the ridge keeps it from running off
        p = (x @ weights).sigmoid()
        slope = x.T @ (p - y) + 1e-2 * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + 1e-2 * torch.eye(len(weights), dtype=torch.float64)
        weights = weights - torch.linalg.solve(curve, slope)
    return tuple(weights.tolist())
