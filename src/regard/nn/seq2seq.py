"""Blocks of a transformer that reads one sentence and writes another.

Pre-norm blocks (Xiong et al. 2020, arXiv:2002.04745) of the attention in `regard.nn.attention`; positions are learned
up to `N_POSITIONS` tokens, and the last one stands for all after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from regard.nn.attention import MultiHeadAttention

N_POSITIONS = 64

Cache = tuple[Tensor, Tensor]
"""Keys and values of one block."""


@final
class SentenceBlock(nn.Module):
    """Self-attention, attention to another sentence where `crosses`, and two dense layers.

    Args:
        d_model: D.
        n_heads: H.
        crosses: whether there is another sentence.
        dropout: of what each of them adds.
    """

    def __init__(self, d_model: int, n_heads: int, crosses: bool, dropout: float) -> None:
        super().__init__()
        self.own, self.own_norm = MultiHeadAttention(d_model, n_heads), nn.LayerNorm(d_model)
        self.cross = MultiHeadAttention(d_model, n_heads) if crosses else None
        self.cross_norm = nn.LayerNorm(d_model) if crosses else None
        self.dense = nn.Sequential(
            nn.LayerNorm(d_model), nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor, other: Tensor | None = None, other_seen: Tensor | None = None) -> Tensor:
        """(N, L, D) to (N, L, D).

        Args:
            x: (N, L, D).
            seen: (N, L) or (N, L, L) 1 for what a token may attend to.
            other: (N, K, D) of the other sentence.
            other_seen: (N, K).
        """
        h = self.own_norm(x)
        x = x + self.drop(self.own(h, h, seen)[0])
        if self.cross is not None and self.cross_norm is not None and other is not None:
            x = x + self.drop(self.cross(self.cross_norm(x), other, other_seen)[0])
        return x + self.drop(self.dense(x))

    def step(self, x: Tensor, written: Cache | None, read: Cache, there: Tensor) -> tuple[Tensor, Cache]:
        """One more token (N, 1, D), after those whose keys and values are `written`; and these with its own."""
        h = self.own_norm(x)
        key, value = self.own.keys_values(h)
        if written is not None:
            key, value = torch.cat([written[0], key], -2), torch.cat([written[1], value], -2)
        x = x + self.own.read(h, key, value)[0]
        if self.cross is not None and self.cross_norm is not None:
            x = x + self.cross.read(self.cross_norm(x), *read, there)[0]
        return x + self.dense(x), (key, value)


@final
class ReadingBlocks(nn.Module):
    """Token vectors (N, K, D) to vectors in context (N, K, D)."""

    def __init__(self, d_model: int, n_heads: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.place = nn.Embedding(N_POSITIONS, d_model)
        nn.init.normal_(self.place.weight, std=0.1)
        self.blocks = nn.ModuleList(SentenceBlock(d_model, n_heads, False, dropout) for _ in range(n_layers))
        self.norm, self.drop = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` is (N, K), 1 for tokens and 0 for padding."""
        x = self.drop(x + self.place(positions(x.shape[1], x.device)))
        for block in self.blocks:
            x = block(x, there)
        return self.norm(x)


@final
class WritingBlocks(nn.Module):
    """What was written so far (N, L, D) to states (N, L, D), each of which sees what stands before it."""

    def __init__(self, d_model: int, n_heads: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.randn(d_model))
        self.place = nn.Embedding(N_POSITIONS, d_model)
        nn.init.normal_(self.place.weight, std=0.1)
        self.blocks = nn.ModuleList(SentenceBlock(d_model, n_heads, True, dropout) for _ in range(n_layers))
        self.norm, self.drop = nn.LayerNorm(d_model), nn.Dropout(dropout)

    def forward(self, written: Tensor, read: Tensor, there: Tensor) -> Tensor:
        """(N, L, D) vectors of the words written so far to (N, L + 1, D); `read` (N, K, D) is the sentence."""
        n, length = written.shape[0], written.shape[1] + 1
        x = torch.cat([self.begin.expand(n, 1, -1), written], 1)
        x = self.drop(x + self.place(positions(length, x.device)))
        causal = torch.ones(length, length, dtype=x.dtype, device=x.device).tril().expand(n, -1, -1)
        for block in self.blocks:
            x = block(x, causal, read, there)
        return self.norm(x)

    def begin_writing(self, read: Tensor) -> list[Cache]:
        """Keys and values of the sentences (N, K, D) that were read, for `step`."""
        blocks = cast(Iterable[SentenceBlock], self.blocks)
        return [cast(MultiHeadAttention, block.cross).keys_values(read) for block in blocks]

    def step(
        self, word: Tensor | None, place: int, written: Sequence[Cache | None], read: Sequence[Cache], there: Tensor
    ) -> tuple[Tensor, list[Cache]]:
        """As `forward`, one word after another: (N, D) after this one, the caches grown by it.

        Args:
            word: (N, D) vector of the word written last; None before the first.
            place: how many words there are.
            written: keys and values of those before it, one per block.
            read, there: of the sentences.
        """
        x = (self.begin.expand(len(there), -1) if word is None else word)[:, None]
        x = x + self.place.weight[min(place, N_POSITIONS - 1)]
        caches = []
        blocks = cast(Iterable[SentenceBlock], self.blocks)
        for block, before, seen in zip(blocks, written, read, strict=True):
            x, cache = block.step(x, before, seen, there)
            caches.append(cache)
        return self.norm(x)[:, 0], caches


def positions(length: int, device: torch.device) -> Tensor:
    """0, 1, ..., at most the last that is learned."""
    return torch.arange(length, device=device).clamp_max(N_POSITIONS - 1)
