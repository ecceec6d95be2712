"""Translation from a handful of sentence pairs: a lexicon is read out of the support by attention, without a gradient.

    1  align     the words of each pair: IBM model 1's EM, unrolled (`Alignment`)          A_i(j, k)
    2  gloss     each query word attends to the words of the support, by spelling, by what training taught, and by
                 their neighbours; what those are aligned to is what it may mean
                 gloss(v | q) = sum_{i,j,k} p(q; i, k) A_i(j, k) [t_j = v]
    3  read      the sentence, each word with the mean vector of its gloss, by a transformer
    4  write     one word after another (`WordWriter`):
                 p(v) = g_1 vocabulary(v) + g_2 sum_k a_k gloss(v | q_k) + g_3 copy(v) + g_4 memory(v)

The memory is the support's own translations: it attends to each place in them by what stands before it there, by the
source words it is aligned to, and by how alike the two sentences are. So a phrase, or a sentence that was seen, is
continued. g are gates. A word of no vocabulary is given back if it stands in a pair, or is copied in Latin letters.

Nothing like it is published as a whole. Parts: EM as attention after Brown et al. 1993; pointer and copy, See et al.
2017 (arXiv:1704.04368); the memory, Khandelwal et al. 2021 (arXiv:2010.00710); lexicons in context, Gu et al. 2018
(arXiv:1808.08437) is what one would do by gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Items, Support, Value
from regard.learners.base import AttendingLearner
from regard.nn.alignment import Alignment, DistinctWords, words_of_tasks
from regard.nn.attention import How, attention_weights, unit
from regard.nn.seq2seq import ReadingBlocks
from regard.nn.spelling import END, PADDING
from regard.nn.trigrams import Trigrams
from regard.nn.words import WordEncoder, distinct_words, sketch_latin, sketch_source, token_tensors
from regard.nn.writing import N_FEATURES, Sentences, Understood, WordWriter, with_end


@dataclass(frozen=True)
class SupportLexicon(Value):
    """What the support says. S pairs of K source and J target tokens, the end of the sentence among the latter.

    Args:
        source, target: the different words of each task, U and V.
        s, t: (B, S, K) and (B, S, J) which of them each token is; -1 for padding.
        number: (B, V) spelling of target words; -1 for padding.
        weight: (B, S) of pairs.
        first: (B, U, V) what source words mean before any pair is read, see `Alignment`.
        aligned: (B, S, J, K) from which source tokens each target token comes.
        presence: (B, V) from 0 to 1, by how often the target word occurs.
        count: (B, U) how often the source word occurs.
        context: (B, S, K, E) of the neighbours of source tokens.
        memory: (B, S, J, E) of what stands before and behind target tokens.
        sentence: (B, S, 256) sketch of the source sentence.
    """

    source: DistinctWords
    target: DistinctWords
    s: Tensor
    t: Tensor
    number: Tensor
    weight: Tensor
    first: Tensor
    aligned: Tensor
    presence: Tensor
    count: Tensor
    context: Tensor
    memory: Tensor
    sentence: Tensor


@final
class LexiconTranslator(AttendingLearner):
    """Reads a lexicon out of sentence pairs, and translates with it.

    Args:
        encoder: of words; its vocabulary is that of the target language.
        n_read_layers, n_write_layers: blocks of a transformer that read, and that write.
        n_heads: H.
        n_rounds: of EM.
        how: how a query word attends to the words of the support: "soft", "sparsemax", "entmax" or "hard".
        dropout: in reading and writing.
        word_dropout: share of words written so far that are hidden in training, so that the sentence is read.
        smoothing: share of the loss that wants the vocabulary to stay open.
        contrast: weight of the loss of the learned prior on the pairs of the support.
        n_english: bigrams and trigrams of usual English that are kept, for the search of sentences; see `Trigrams`.
    """

    relabels = False
    classifies = False
    translates = True
    rebuilds = False
    solves_separable = False
    vmaps = False
    domain = "translation"

    def __init__(
        self,
        encoder: WordEncoder,
        n_read_layers: int = 1,
        n_write_layers: int = 2,
        n_heads: int = 4,
        n_rounds: int = 4,
        how: How = "soft",
        dropout: float = 0.2,
        word_dropout: float = 0.15,
        smoothing: float = 0.05,
        contrast: float = 0.3,
        n_english: int = 0,
    ) -> None:
        super().__init__()
        d, d_context, d_memory = encoder.n_features, 48, 96
        self.encoder = encoder
        self.how: How = how
        self.word_dropout, self.smoothing, self.contrast = word_dropout, smoothing, contrast
        self.alignment = Alignment(d, n_rounds)
        self.query_context, self.support_context = (nn.Linear(2 * d, d_context, bias=False) for _ in range(2))
        self.context_strength = nn.Parameter(torch.tensor(0.3))
        self.no_match = nn.Parameter(torch.tensor(-2.5))
        self.read_in = nn.Linear(2 * d + N_FEATURES, d)
        self.reader = ReadingBlocks(d, n_heads, n_read_layers, dropout)
        self.memory_key = nn.Linear(3 * d, d_memory)
        self.english = Trigrams(len(encoder.vocabulary), n_english) if n_english else None
        self.writer = WordWriter(d, len(encoder.vocabulary), d_memory, n_heads, n_write_layers, dropout)

    def adapt(self, support: Support) -> SupportLexicon:
        self._require(support)
        source, s = self._source_words(support.x)
        t = with_end(support.y)
        numbers, index = torch.unique(t[t >= 0], return_inverse=True)
        z = self.encoder.target_words(numbers)
        sketch = sketch_latin(numbers, z.dtype)
        target, of_task, which = words_of_tasks(
            torch.full_like(t, -1).masked_scatter(t >= 0, index).flatten(1), z, sketch, sketch
        )
        number = torch.where(which >= 0, numbers[which.clamp_min(0)] if len(numbers) else which, PADDING)
        is_end, t = t == END, of_task.view(t.shape)
        weight = support.weight.to(z.dtype, copy=True)  # a state does not change with the support that it was made from
        aligned, first, presence = self.alignment(source, target, s, torch.where(is_end, -1, t), weight)
        tokens = (weight[..., None] * (s >= 0)).flatten(1)
        count = torch.zeros_like(source.there).scatter_add(1, s.clamp_min(0).flatten(1), tokens)
        z_s, z_t = _take(source.z, s), _take(target.z, t)
        before = F.pad(z_t, (0, 0, 1, 0))[:, :, :-1]
        from_source = aligned @ z_s
        memory = self.memory_key(torch.cat([before, F.pad(before, (0, 0, 1, 0))[:, :, :-1], from_source], -1))
        rarity = self._rarity(self.alignment.kernel(source, source), source, count, weight)
        return SupportLexicon(
            source=source,
            target=target,
            s=s,
            t=t,
            number=number,
            weight=weight,
            first=first,
            aligned=aligned,
            presence=presence,
            count=count,
            context=self.support_context(_neighbours(z_s)),
            memory=memory,
            sentence=self._sentence(source, s, rarity),
        )

    def predict(self, state: SupportLexicon, query_x: Items) -> Sentences:
        hidden = self.word_dropout if self.training else 0.0
        return Sentences(self.writer, self.encoder, self._understand(state, query_x), hidden, self.english)

    def remember_english(self, sentences: Iterable[Tensor]) -> None:
        """Count usual English; nothing happens without `n_english`.

        Args:
            sentences: tokens (L,) of each.
        """
        if self.english is not None:
            self.english.count(self.encoder.position(sentence).tolist() for sentence in sentences)

    def loss(self, episode: Episode) -> Tensor:
        """(B,) nats per word of the queries, and what the prior misses in the support."""
        state = self.adapt(episode.support)
        log_p, smooth, there = self.predict(state, episode.query_x).word_log_prob(episode.query_y)
        there = there * episode.query_weight[..., None]
        loss = -(1 - self.smoothing) * log_p - self.smoothing * smooth
        fit = (loss * there).flatten(1).sum(1) / there.flatten(1).sum(1).clamp_min(1)
        t = torch.where(_take(state.number[..., None], state.t)[..., 0] == END, -1, state.t)
        return fit + self.contrast * self.alignment.contrast(state.first, state.s, t, state.weight)

    def attend(self, state: SupportLexicon, query_x: Items) -> Tensor:
        """(B, Q, S): how much of the words of each query is glossed by each pair; evenly where there is no match."""
        understood = self._understand(state, query_x)
        p = understood.attended.sum(-1).mean(2) if understood.attended.shape[2] else understood.attended.sum((2, -1))
        p = p + 1e-9 * state.weight[:, None]
        return p / p.sum(-1, keepdim=True).clamp_min(1e-30)

    # ---- the sentence that is read ---------------------------------------------------------------------------------

    def _understand(self, state: SupportLexicon, query_x: Items) -> Understood:
        """Steps 2 and 3."""
        words, q = self._source_words(query_x)
        n_tasks, n_queries, length = q.shape
        near = self.alignment.kernel(words, state.source)
        n_source = state.source.z.shape[1]
        cell = q.clamp_min(0).flatten(1)[:, :, None] * n_source + state.s.clamp_min(0).flatten(1)[:, None]
        score = near.flatten(1).gather(1, cell.flatten(1)).view(cell.shape)
        z = _take(words.z, q)
        context = self.query_context(_neighbours(z)).flatten(1, 2) @ state.context.flatten(1, 2).mT
        score = score + self.context_strength * context / context.new_tensor(state.context.shape[-1]).sqrt()
        mass = (state.weight[..., None] * (state.s >= 0)).flatten(1)[:, None].expand_as(score)
        p = attention_weights(
            torch.cat([score, self.no_match.expand(*score.shape[:-1], 1)], -1), F.pad(mass, (0, 1), value=1.0), self.how
        )
        attended = p[..., :-1].unflatten(-1, state.s.shape[1:]).unflatten(1, (n_queries, length))
        unknown = p[..., -1].unflatten(1, (n_queries, length))
        share = state.aligned / (state.aligned.sum(2, keepdim=True) + 0.1)
        found = torch.einsum("bqnsk,bsjk->bqnsj", attended, share).flatten(3)
        t = state.t.clamp_min(0).flatten(1)[:, None, None].expand_as(found)
        gloss = found.new_zeros(*found.shape[:3], state.number.shape[1]).scatter_add(3, t, found)
        guess = attention_weights(self.alignment.prior(words, state.target), state.presence[:, None])
        gloss = gloss + unknown[..., None] * _take(guess, q)
        known = (near.exp() * state.count[:, None]).sum(-1)
        known_here = _take(known[..., None], q)
        there = (q >= 0).to(z.dtype)
        features = torch.cat(
            [unknown[..., None], found.sum(-1, keepdim=True), known_here.log1p(), gloss.square().sum(-1, keepdim=True)],
            -1,
        )
        read = self.read_in(torch.cat([z, gloss @ state.target.z[:, None], features], -1))
        read = self.reader(read.flatten(0, 1), there.flatten(0, 1)).unflatten(0, (n_tasks, n_queries))
        rarity = self._rarity(near, state.source, state.count, state.weight)
        alike = self._sentence(words, q, rarity) @ state.sentence.mT
        latin = torch.where(q >= 0, token_tensors(query_x)[1], PADDING)
        return Understood(
            read=read,
            there=there,
            latin=latin,
            features=features,
            gloss=gloss,
            attended=attended,
            share=share,
            alike=alike,
            z=state.target.z,
            number=state.number,
            t=state.t,
            memory=state.memory,
            weight=state.weight,
        )

    def _source_words(self, x: Items) -> tuple[DistinctWords, Tensor]:
        """The different source words of each task, and (B, S, K) which of them each token is; -1 for padding."""
        characters, latin = token_tensors(x)
        there = characters[..., 0] > 0
        first, word = distinct_words(characters[there], latin[there])
        characters, latin = characters[there][first], latin[there][first]
        z = self.encoder.source_words(characters, latin)
        written, sketch = sketch_source(characters, latin, z.dtype)
        index = torch.full(there.shape, -1, device=there.device).masked_scatter(there, word)
        words, of_task, _ = words_of_tasks(index.flatten(1), z, sketch, written)
        return words, of_task.view(index.shape)

    def _rarity(self, near: Tensor, source: DistinctWords, count: Tensor, weight: Tensor) -> Tensor:
        """(B, U) how rare words are in the support: the logarithm of pairs per occurrence of what is like them."""
        total = weight.sum(-1, keepdim=True)
        return ((2 + total) / (1 + (near.exp() * count[:, None]).sum(-1))).clamp_min(1).log()

    def _sentence(self, words: DistinctWords, tokens: Tensor, rarity: Tensor) -> Tensor:
        """(B, S, 256) sketches of sentences, in which rare words count more."""
        return unit(_take(words.written * rarity[..., None], tokens).sum(2))


def _take(values: Tensor, index: Tensor) -> Tensor:
    """(B, U, D) by (B, S, L), -1 for padding, to (B, S, L, D), 0 for padding."""
    flat = index.clamp_min(0).flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).view(*index.shape, -1) * (index >= 0)[..., None]


def _neighbours(z: Tensor) -> Tensor:
    """(B, S, K, D) to (B, S, K, 2 D): the word before and the word behind."""
    return torch.cat([F.pad(z, (0, 0, 1, 0))[:, :, :-1], F.pad(z, (0, 0, 0, 1))[:, :, 1:]], -1)
