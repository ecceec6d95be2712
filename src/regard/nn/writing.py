"""A sentence written word by word, each word from one of four sources, and the distribution over such sentences.

    p(v | written, read) = g_1 vocabulary(v) + g_2 gloss(v) + g_3 copy(v) + g_4 memory(v)

    gloss    a pointer to a word of the sentence, and what that may mean by the pairs: sum_k a_k gloss_k(v), normalised
    copy     another pointer, and the word itself in Latin letters
    memory   attention over the places of the support's translations, each of which says which word stands there

Pointers and copies after See et al. 2017 (arXiv:1704.04368), the memory after Khandelwal et al. 2021
(arXiv:2010.00710).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint
from torch.nn import functional as F

from regard.episode import Value
from regard.errors import EpisodeError
from regard.nn.attention import attention_weights
from regard.nn.seq2seq import WritingBlocks
from regard.nn.spelling import END, PADDING
from regard.nn.trigrams import Trigrams
from regard.nn.words import WordEncoder

N_FEATURES = 4
"""Numbers that say how well a word of the sentence is known from the support."""

SOURCES = ("vocabulary", "gloss", "copy", "memory")


@dataclass(frozen=True)
class Understood(Value):
    """Q sentences of K tokens that were read, and what the support of S pairs with J target tokens says to them.

    Args:
        read: (B, Q, K, D) tokens in context.
        there: (B, Q, K) 1 for tokens and 0 for padding.
        latin: (B, Q, K) the tokens in Latin letters.
        features: (B, Q, K, 4) how well each is known.
        gloss: (B, Q, K, V) what each may mean; sums to at most 1.
        attended: (B, Q, K, S, K') which source tokens of the support each token attends to.
        share: (B, S, J, K') what those are aligned to.
        alike: (B, Q, S) how alike the sentences are, 0 to 1.
        z: (B, V, D) of target words.
        number: (B, V) their spelling.
        t: (B, S, J) which of them each target token of the support is; -1 for padding.
        memory: (B, S, J, E) of its place.
        weight: (B, S) of pairs.
    """

    read: Tensor
    there: Tensor
    latin: Tensor
    features: Tensor
    gloss: Tensor
    attended: Tensor
    share: Tensor
    alike: Tensor
    z: Tensor
    number: Tensor
    t: Tensor
    memory: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Sources(Value):
    """Where the next word comes from, for L places in each sentence.

    Args:
        gate: (B, Q, L, 4) shares of the sources; sum to 1.
        pointer: (B, Q, L, K) attention to words whose gloss is used.
        copy: (B, Q, L, K) to words that are copied.
        memory: (B, Q, L, S * J) to places of the support's translations.
    """

    gate: Tensor
    pointer: Tensor
    copy: Tensor
    memory: Tensor


@final
class WordWriter(nn.Module):
    """Writes.

    Args:
        d_model: D of token states and of word vectors.
        n_words: W, the vocabulary.
        d_memory: E.
        n_heads, n_layers, dropout: of the transformer.
    """

    def __init__(
        self, d_model: int, n_words: int, d_memory: int, n_heads: int = 4, n_layers: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        d = d_model
        self.state = WritingBlocks(d, n_heads, n_layers, dropout)
        self.vocabulary = nn.Linear(d, d)
        self.bias = nn.Parameter(torch.zeros(n_words))
        self.pointer_query, self.pointer_key = nn.Linear(d, d), nn.Linear(d, d, bias=False)
        self.copy_query, self.copy_key = nn.Linear(d, d), nn.Linear(d + N_FEATURES, d, bias=False)
        self.memory_query, self.alike = nn.Linear(d, d_memory), nn.Parameter(torch.tensor(4.0))
        self.gates = nn.Linear(d + N_FEATURES + 2, len(SOURCES))
        with torch.no_grad():  # the lexicon speaks first, as IBM model 1 would
            self.gates.bias.copy_(torch.tensor([0.0, 1.5, -1.0, 0.0]))

    def forward(self, written: Tensor, x: Understood) -> Tensor:
        """(B, Q, L, D) states: before the first word, and after each of (B, Q, L - 1, D) written so far."""
        h = self.state(written.flatten(0, 1), x.read.flatten(0, 1), x.there.flatten(0, 1))
        return h.unflatten(0, x.read.shape[:2])

    def words(self, h: Tensor, own: Tensor) -> Tensor:
        """(..., W) scores of the vocabulary, whose vectors are (W, D), in states (..., D)."""
        return F.linear(self.vocabulary(h) * h.shape[-1] ** -0.5, own, self.bias)

    def sources(self, h: Tensor, x: Understood) -> Sources:
        """Where the next word comes from, in states (B, Q, L, D)."""
        scale = h.shape[-1] ** -0.5
        there = x.there[:, :, None]
        known = x.gloss.sum(-1)
        score = self.pointer_query(h) @ self.pointer_key(x.read).mT * scale
        # By how much of it is known: a word without a gloss is not pointed at.
        pointer = attention_weights(score, there * known[:, :, None])
        copy = self.copy_query(h) @ self.copy_key(torch.cat([x.read, x.features], -1)).mT * scale
        copy = attention_weights(copy, there)
        score = self.memory_query(h).flatten(1, 2) @ x.memory.flatten(1, 2).mT * x.memory.shape[-1] ** -0.5
        score = score.unflatten(1, h.shape[1:3]).unflatten(-1, x.t.shape[1:])
        score = (score + self.alike * x.alike[:, :, None, :, None]).flatten(3)
        mass = (x.weight[..., None] * (x.t >= 0)).flatten(1)[:, None, None]
        memory = attention_weights(score, mass)
        total = x.weight.sum(1)
        match = (memory * score).sum(-1, keepdim=True) / 4
        size = total.log1p()[:, None, None, None].expand_as(match)
        gate = self.gates(torch.cat([h, pointer @ x.features, match, size], -1))
        some = (total / (total + 0.1))[:, None, None]
        present = torch.stack([torch.ones_like(some), some, torch.ones_like(some), some], -1)
        return Sources(attention_weights(gate, present), pointer, copy, memory)


@final
class Sentences(Distribution):
    """A distribution over sentences (B, Q), each a sequence of words that ends.

    Args:
        writer, encoder: what writes them.
        understood: what was read.
        word_dropout: share of words written so far that are hidden.
        english: usual English, for a search; not part of the probabilities.
        copying: how much more a word of which no pair says anything is copied in a search; not part of the
            probabilities either.
    """

    def __init__(
        self,
        writer: WordWriter,
        encoder: WordEncoder,
        understood: Understood,
        word_dropout: float = 0.0,
        english: Trigrams | None = None,
        copying: float = 1.0,
    ) -> None:
        super().__init__(understood.read.shape[:2], validate_args=False)
        self.writer, self.encoder, self.understood, self.word_dropout = writer, encoder, understood, word_dropout
        self.english, self.copying = english, copying

    @property
    def arg_constraints(self) -> dict[str, Constraint]:
        """None: nothing is checked of what was read."""
        return {}

    def log_prob(self, value: Tensor) -> Tensor:
        """(B, Q) of sentences (B, Q, L); -1 for padding."""
        return self.word_log_prob(value)[0].sum(-1)

    def word_log_prob(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each word of (B, Q, L) and of the end: (B, Q, L + 1) log-probabilities, those of a vocabulary word that
        is drawn evenly, and 1 where there is a word.
        """
        x, target = self.understood, with_end(value)
        there = target >= 0
        h = self.writer(self.vectors(value), x)
        sources = self.writer.sources(h, x)
        at = self.encoder.position(target[there])
        score = self.writer.words(h[there], self.encoder.own.weight[:-1])
        n_words, total = score.shape[-1], score.logsumexp(-1)
        own = (score.gather(-1, at.clamp_max(n_words - 1)[:, None])[:, 0] - total).exp()
        vocabulary = torch.zeros_like(h[..., 0]).masked_scatter(there, torch.where(at < n_words, own, 0.0))
        smooth = torch.zeros_like(vocabulary).masked_scatter(there, score.mean(-1) - total)
        is_word = target.flatten(1)[..., None] == x.number[:, None]
        which = is_word.to(torch.int8).argmax(-1).view(target.shape)
        column = which[:, :, None].expand(-1, -1, x.gloss.shape[2], -1)
        gloss = (sources.pointer * x.gloss.gather(-1, column).mT).sum(-1) / _known(sources, x)
        gloss = torch.where(is_word.any(-1).view(target.shape), gloss, 0.0)
        copy = (sources.copy * (target[..., None] == x.latin[:, :, None])).sum(-1)
        same = which[..., None] == x.t.flatten(1)[:, None, None]
        memory = torch.where(is_word.any(-1).view(target.shape), (sources.memory * same).sum(-1), 0.0)
        p = (sources.gate * torch.stack([vocabulary, gloss, copy, memory], -1)).sum(-1)
        return torch.where(there, p.clamp_min(1e-9).log(), 0.0), smooth, there.to(p.dtype)

    @cached_property
    def words(self) -> Tensor:
        """(M,) all words that can be written: of the vocabulary, of the pairs, and of the sentences in Latin letters.

        Raises:
            EpisodeError: sentences of several tasks, which have other words each.
        """
        x = self.understood
        if len(x.number) != 1:
            raise EpisodeError(f"there are {len(x.number)} tasks: expected one; take them by episode.tasks one by one.")
        return torch.unique(torch.cat([self.encoder.vocabulary, x.number[0], x.latin.flatten()]).clamp_min(END))

    def of(self, index: Tensor) -> Sentences:
        """Some of the sentences of a task."""
        x = self.understood
        changed = {
            name: getattr(x, name)[:, index]
            for name in ("read", "there", "latin", "features", "gloss", "attended", "alike")
        }
        chosen = Sentences(
            self.writer, self.encoder, replace(x, **changed), self.word_dropout, self.english, self.copying
        )
        chosen.__dict__["words"] = self.words
        return chosen

    def sources(self, h: Tensor) -> Sources:
        """Where the next word comes from in a search, in states (B, Q, L, D) of the writer; shares may exceed 1."""
        found = self.writer.sources(h, self.understood)
        unknown = 1 - self.understood.features[..., 1].clamp(0, 1)
        more = 1 + (self.copying - 1) * (found.copy * unknown[:, :, None]).sum(-1)
        vocabulary, gloss, copy, memory = found.gate.unbind(-1)
        return replace(found, gate=torch.stack([vocabulary, gloss, copy * more, memory], -1))

    def next_words(self, h: Tensor) -> Tensor:
        """(Q, L, M) weights of `words` in states (Q, L, D) of the writer: probabilities but for `copying`."""
        x, words = self.understood, self.words
        sources = self.sources(h[None])
        gate, n_words = sources.gate[0], len(words)
        places = [
            torch.searchsorted(words, v.clamp_min(END)) for v in (self.encoder.vocabulary, x.number[0], x.latin[0])
        ]
        own = self.writer.words(h, self.encoder.own.weight[:-1]).softmax(-1)
        p = h.new_zeros(*h.shape[:2], n_words).index_add_(-1, places[0], gate[..., :1] * own)
        gloss = sources.pointer[0] @ x.gloss[0] / _known(sources, x)[0, ..., None]
        of_pairs = gate[..., 1:2] * gloss
        t = x.t[0].clamp_min(0).flatten().expand(*h.shape[:2], -1)
        of_pairs = of_pairs.scatter_add(-1, t, gate[..., 3:] * sources.memory[0])
        p.index_add_(-1, places[1], of_pairs)
        return p.scatter_add_(-1, places[2][:, None].expand_as(sources.copy[0]), gate[..., 2:3] * sources.copy[0])

    def vectors(self, value: Tensor) -> Tensor:
        """(B, Q, L, D) of words written so far."""
        numbers, index = torch.unique(value.clamp_min(END), return_inverse=True)
        z = self.encoder.target_words(numbers)[index]
        if self.word_dropout:
            z = z * (torch.rand(z.shape[:-1], device=z.device) >= self.word_dropout)[..., None]
        return z


def _known(sources: Sources, x: Understood) -> Tensor:
    """(B, Q, L) how much of what is pointed at has a gloss."""
    return (sources.pointer * x.gloss.sum(-1)[:, :, None]).sum(-1).clamp_min(1e-9)


def with_end(value: Tensor) -> Tensor:
    """Sentences (..., L), -1 for padding, to (..., L + 1) with the end behind the last word; an empty one has none."""
    size = (value >= 0).sum(-1, keepdim=True)
    longer = F.pad(value, (0, 1), value=PADDING)
    place = torch.arange(longer.shape[-1], device=value.device)
    return torch.where((place == size) & (size > 0), END, longer)
