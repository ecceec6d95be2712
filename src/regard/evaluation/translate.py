"""Sentences translated by a learner of pairs: beam search, the pair that says it already, a confidence, and reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch

from regard.domains.translation.baselines import Gloss, IBM1Translator, LexiconReading, TranslationMemory
from regard.domains.translation.language_model import CountedEnglish
from regard.domains.translation.pairs import Pair
from regard.domains.translation.reader import N_TOKENS, SentenceReader
from regard.domains.translation.tokens import Truecaser, romanise, tokenise_english, tokenise_source
from regard.episode import Support
from regard.errors import ConfigError
from regard.evaluation.consensus import expected_chrf
from regard.learners.base import Learner
from regard.learners.lexicon_translator import LexiconTranslator
from regard.nn.beam import Hypothesis, beam_search
from regard.nn.inference import eval_mode
from regard.nn.reasons import origins
from regard.nn.spelling import Spellings, read_spelling, spell
from regard.nn.trigrams import Trigrams
from regard.nn.writing import Sentences

_CHUNK = 25
"""Sentences that are translated at once."""

_N_MEANINGS, _LEAST = 8, 1e-4
"""Words of a gloss that a lexicon is told of, and their smallest probability."""

_SHARPNESS, _MEMORY, _MEMORY_POWER = 4.0, 3.0, 3
_LEXICON, _LEXICON_PER_WORD, _SHORT, _LEXICON_MOST = 0.4, 0.08, 4, 1.2
"""Of a consensus: p of a sentence of the search is softmax(4 x its log-probability per word); beside their sum of 1 the
nearest pair's has 3 x cosine ** 3, and the lexicon's 0.4 and 0.08 more for each token of the sentence beyond four, 1.2
at most: a search loses its way in long sentences, where words are a sure guide. Chosen on Croatian, Dutch, French,
Bengali, Irish and Malay.
"""


@dataclass(frozen=True)
class Decoding:
    """How a sentence is searched for.

    Args:
        n_beams: beginnings that are kept.
        length_power: see `beam_search`.
        fluency: weight of usual English in the search.
        consensus: the sentence is taken that agrees most with all that was found, with a lexicon's translation (IBM
            model 1, where the learner has counted English) and with the target of the nearest pair, see
            `expected_chrf`; without, the likeliest.
    """

    n_beams: int = 5
    length_power: float = 1.2
    consensus: bool = True
    fluency: float = 0.2
    copying: float = 10.0


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
        features: (5,) what the confidence is made of: log-probability per word, words known, likeness to a pair,
            length, and agreement.
    """

    text: str
    confidence: float
    reasons: tuple[Reason, ...] = ()
    evidence: tuple[float, ...] = ()
    others: tuple[str, ...] = ()
    features: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Choice:
    """A candidate: its words, its text, its weight as evidence, the pair that it is of, and how well it agrees."""

    words: tuple[int, ...]
    text: str
    weight: float
    pair: int | None = None
    agreement: float = 0.0


@dataclass(frozen=True)
class AdaptedTranslator:
    """A learner that has read pairs.

    Args:
        learner: of sentences.
        reader: of them.
        pairs: what it read.
        weight: of each pair.
        state: of the learner.
        spellings, forms: words of the pairs as they are written.
        lexicon: reads sentences word by word; None without consensus, pairs, or English.
        memory: finds the nearest pair; None without consensus or pairs.
        decoding: see there.
        keeps_capitals: whether words with a capital inside a sentence have one in English, as names do and the nouns
            of German do not.
    """

    learner: Learner
    reader: SentenceReader
    pairs: tuple[Pair, ...]
    weight: tuple[float, ...]
    state: Any
    spellings: Spellings
    forms: Truecaser
    lexicon: LexiconReading | None = None
    memory: TranslationMemory | None = None
    decoding: Decoding = Decoding()
    keeps_capitals: bool = True

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
        english = [pair.target for pair, w in zip(pairs, mass, strict=False) if w > 0]
        spellings = Spellings(word for sentence in english for word in tokenise_english(sentence))
        chosen, lexicon, memory = decoding or Decoding(), None, None
        if english and chosen.consensus:
            translator = lexicon_translator(learner)
            lexicon = None if translator is None else translator.read(pairs, mass)
            memory = TranslationMemory(pairs, mass)
        forms = Truecaser.fit(english)
        capitals = [
            sum(w * len(_inner_capitals(tokens)) for tokens, w in zip(of_side, mass, strict=False))
            for of_side in (
                [tokenise_source(pair.source, lower=False) for pair in pairs],
                [tokenise_english(pair.target, lower=False) for pair in pairs],
            )
        ]
        return cls(
            learner,
            reader,
            tuple(pairs),
            tuple(mass[: len(pairs)]),
            state,
            spellings,
            forms,
            lexicon,
            memory,
            chosen,
            keeps_capitals=capitals[0] <= 2 * capitals[1],
        )

    def without(self, pair: int) -> Self:
        """The same after all pairs but one, which keeps its number and has weight 0.

        Args:
            pair: its number.
        """
        weight = [0.0 if i == pair else w for i, w in enumerate(self.weight)]
        return type(self).of(self.learner, self.reader, self.pairs, weight, self.decoding)

    def translate(self, sentences: Sequence[str], reasons: bool = False) -> list[Translated]:
        """The sentences in English; they do not see each other.

        Args:
            sentences: of the language of the pairs.
            reasons: whether to say where each word came from.
        """
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))  # so that little is padded
        found = dict[int, Translated]()
        for start in range(0, len(order), _CHUNK):
            part = order[start : start + _CHUNK]
            found.update(zip(part, self._chunk([sentences[i] for i in part], reasons), strict=True))
        return [found[i] for i in range(len(sentences))]

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
            output.copying = o.copying
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
        nearest = self.memory.nearest(sentences) if self.memory is not None else [None] * len(sentences)
        glosses = self._glosses(output) if self.lexicon is not None else [()] * len(sentences)
        choices = [
            self._choose(self._candidates(sentence, ranked, near, gloss))
            for sentence, (ranked, _), near, gloss in zip(sentences, rows, nearest, glosses, strict=True)
        ]
        with torch.inference_mode(), eval_mode(self.learner):
            why = origins(output, [of[0].words for of in choices]) if reasons else [[] for _ in choices]
        answers = []
        for row, (best, *others) in enumerate(choices):
            features = (*rows[row][1], best.agreement)
            common = Translated(
                best.text,
                self.reader.confidence(features),
                others=tuple(dict.fromkeys(choice.text for choice in others if choice.text != best.text)),
                features=features,
            )
            if best.pair is not None or not reasons:
                answers.append(self._remembered(common, best.pair) if reasons else common)
                continue
            places = tuple(
                self._reason(sentences[row], number, o) for number, o in zip(best.words, why[row], strict=reasons)
            )
            evidence = tuple(np.mean([o.evidence for o in why[row]], 0).tolist()) if why[row] else ()
            answers.append(replace(common, reasons=places, evidence=evidence))
        return answers

    def _glosses(self, output: Sentences) -> list[list[Gloss]]:
        """What each token of each sentence may mean, its likeliest words alone."""
        x = output.understood
        words = [self.spellings.get(number) or read_spelling(number) for number in x.number[0].clamp_min(0).tolist()]
        p, at = x.gloss[0].topk(min(_N_MEANINGS, x.gloss.shape[-1]))
        is_word = (x.number[0] > 0)[at]
        found = []
        for row, there in enumerate(x.there[0].sum(-1).int().tolist()):
            columns = zip(p[row, :there].tolist(), at[row, :there].tolist(), is_word[row, :there].tolist(), strict=True)
            found.append(
                [{words[j]: q for q, j, word in zip(*of, strict=True) if word and q > _LEAST} for of in columns]
            )
        return found

    def _candidates(
        self, sentence: str, ranked: Sequence[Hypothesis], nearest: tuple[int, float] | None, glosses: Sequence[Gloss]
    ) -> list[_Choice]:
        """What the search, the lexicon and the memory say, each with its weight."""
        copied = Spellings(romanise(word) for word in tokenise_source(sentence))
        names = _capitals(sentence) if self.keeps_capitals else {}
        case = Truecaser({**self.reader.forms, **self.forms.forms, **names})
        score = np.array([h.log_p / (len(h.words) + 1) for h in ranked] or [0.0])
        p = np.exp(_SHARPNESS * (score - score.max()))
        found = [
            _Choice(h.words, self.reader.write(h.words, self.spellings, copied, case), float(w))
            for h, w in zip(ranked, p / p.sum(), strict=True)
        ] or [_Choice((), "", 1.0)]
        if self.lexicon is not None:
            words = self.lexicon(sentence, glosses)
            weight = min(_LEXICON_MOST, _LEXICON + _LEXICON_PER_WORD * max(0, len(glosses) - _SHORT))
            found.append(_Choice(tuple(spell(word) for word in words), case(words), weight))
        if nearest is not None:
            pair, cosine = nearest
            words, target = tokenise_english(self.pairs[pair].target), self.pairs[pair].target
            found.append(_Choice(tuple(map(spell, words)), target, _MEMORY * cosine**_MEMORY_POWER, pair))
        return found

    def _choose(self, candidates: Sequence[_Choice]) -> list[_Choice]:
        """All candidates with how well they agree, the one to give first."""
        agreement = expected_chrf([c.text for c in candidates], [c.weight for c in candidates])
        rated = [replace(c, agreement=float(a)) for c, a in zip(candidates, agreement, strict=True)]
        best = int(np.argmax(np.round(agreement, 12))) if self.decoding.consensus else 0
        return [rated[best], *rated[:best], *rated[best + 1 :]]

    def _remembered(self, answer: Translated, pair: int | None) -> Translated:
        words = tokenise_english(answer.text, False)
        why = tuple(Reason(word, "pair", 1.0, pair=pair, pair_target=word) for word in words)
        return replace(answer, reasons=why, evidence=tuple(float(i == pair) for i in range(len(self.pairs))))

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


def _capitals(sentence: str) -> dict[str, str]:
    """How words inside a sentence are written that begin with a capital, in Latin letters, such as names."""
    words = _inner_capitals(tokenise_source(sentence, lower=False))
    return {romanise(word): romanise(word).capitalize() for word in words}


def _inner_capitals(tokens: Sequence[str]) -> list[str]:
    """Words with a capital that do not begin the sentence; those of one letter, such as I, are no names."""
    return [word for word in tokens[1:] if len(word) > 1 and word[:1].isupper()]


def lexicon_translator(learner: Learner) -> IBM1Translator | None:
    """IBM model 1 with the English that a learner has counted; None where it has none."""
    if not isinstance(learner, LexiconTranslator) or learner.english is None or learner.english.is_empty:
        return None
    counted = learner.english
    version = counted.three._version  # counted or loaded again, it is another English
    if counted not in _COUNTED or _COUNTED[counted][0] != version:
        english = CountedEnglish(counted, learner.encoder.vocabulary.tolist())
        _COUNTED[counted] = version, IBM1Translator(english, Truecaser({}))
    return _COUNTED[counted][1]


_COUNTED: WeakKeyDictionary[Trigrams, tuple[int, IBM1Translator]] = WeakKeyDictionary()


def _at(tokens: Sequence[str], place: int | None) -> str | None:
    return tokens[place] if place is not None and place < len(tokens) else None
