"""What is usual English: a trigram model in tensors, counted and not trained, for hypotheses of a beam search.

    p(w | u v) = [c(u v w) - d]_+ / c(u v) + l(u v) p(w | v),   p(w | v) = [N(. v w) - d]_+ / N(. v .) + l(v) p(w)

Interpolated Kneser-Ney (Ney, Essen and Kneser 1994) over a vocabulary and one word for all others; rows are sparse,
those of the most frequent trigrams where not all have room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

DISCOUNT = 0.75

_NO_PAIR = 2**30  # behind all pairs of words, which are in order


@final
class Trigrams(nn.Module):
    """Probabilities of words after two others.

    Args:
        n_words: W of the vocabulary, of which number 0 ends a sentence and, in front, begins it; W itself is any other.
        n_entries: trigrams that there is room for; half as many bigrams, and a third as many pairs of words that
            trigrams go on from, which is what text of any size has.
    """

    def __init__(self, n_words: int, n_entries: int) -> None:
        super().__init__()
        if n_words >= 2**15:
            raise ValueError(f"n_words is {n_words}: expected fewer than 32,768.")
        self.n_words, self.n_entries = n_words, n_entries
        w, n_bigrams, n_pairs = n_words + 1, n_entries // 2, n_entries // 3
        self._add("one", torch.full((w,), 1 / w))
        self._add("two_left", torch.ones(w))
        self._add("two_start", torch.zeros(w + 1, dtype=torch.int32))
        self._add("two_word", torch.zeros(n_bigrams, dtype=torch.int16))
        self._add("two", torch.zeros(n_bigrams, dtype=torch.float16))
        self._add("three_key", torch.full((n_pairs,), _NO_PAIR, dtype=torch.int32))
        self._add("three_left", torch.ones(n_pairs, dtype=torch.float16))
        self._add("three_start", torch.zeros(n_pairs + 1, dtype=torch.int32))
        self._add("three_word", torch.zeros(n_entries, dtype=torch.int16))
        self._add("three", torch.zeros(n_entries, dtype=torch.float16))

    one: Tensor
    two_left: Tensor
    two_start: Tensor
    two_word: Tensor
    two: Tensor
    three_key: Tensor
    three_left: Tensor
    three_start: Tensor
    three_word: Tensor
    three: Tensor

    def _add(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted yet."""
        return not bool(self.two_start[-1])

    def count(self, sentences: Iterable[Sequence[int]]) -> None:
        """Take the counts of sentences, each a sequence of numbers of words, without marks of start and end."""
        w = self.n_words + 1
        rows = [np.array([0, 0, *sentence, 0], dtype=np.int64) for sentence in sentences]
        triples = np.concatenate([(row[:-2] * w + row[1:-1]) * w + row[2:] for row in rows])
        keys, counts = np.unique(triples, return_counts=True)
        pairs, pair_counts = np.unique(keys % (w * w), return_counts=True)  # how many words stand before them
        words, word_counts = np.unique(pairs % w, return_counts=True)
        one = np.full(w, DISCOUNT * len(words) / w)
        one[words] += np.maximum(word_counts - DISCOUNT, 0)
        self.one.copy_(torch.from_numpy(one / one.sum()))
        two_left = np.ones(w)
        context, p, left = _row_probabilities(pairs // w, pair_counts)
        pairs, p = _most(pairs, p, pair_counts, len(self.two))
        # What is not kept of a row is left to shorter ones.
        mass = np.bincount(np.searchsorted(context, pairs // w), p, minlength=len(context))
        two_left[context] = np.maximum(left, 1 - mass)
        self.two_left.copy_(torch.from_numpy(two_left))
        self.two_start.copy_(torch.from_numpy(np.searchsorted(pairs // w, np.arange(w + 1))))
        self.two_word[: len(pairs)] = torch.from_numpy((pairs % w).astype(np.int16))
        self.two[: len(pairs)] = torch.from_numpy(p).half()
        context, p, left = _row_probabilities(keys // w, counts)
        keys, p = _most(keys, p, counts, self.n_entries)
        kept, sizes = np.unique(keys // w, return_counts=True)
        if len(kept) > len(self.three_key):  # the pairs of words that fewest trigrams go on from are left to bigrams
            kept = np.sort(kept[np.argsort(-sizes, kind="stable")[: len(self.three_key)]])
            inside = np.isin(keys // w, kept)
            keys, p = keys[inside], p[inside]
        place = np.searchsorted(context, kept)
        self.three_key.fill_(_NO_PAIR)
        self.three_key[: len(kept)] = torch.from_numpy(kept.astype(np.int32))
        mass = np.add.reduceat(p, np.searchsorted(keys // w, kept)) if len(keys) else np.zeros(0)
        self.three_left[: len(kept)] = torch.from_numpy(np.maximum(left[place], 1 - mass)).half()
        starts = np.append(np.searchsorted(keys // w, kept), len(keys))
        self.three_start.fill_(len(keys))
        self.three_start[: len(starts)] = torch.from_numpy(starts.astype(np.int32))
        self.three_word[: len(keys)] = torch.from_numpy((keys % w).astype(np.int16))
        self.three[: len(keys)] = torch.from_numpy(p).half()

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """(N, W + 1) probabilities of the next word after words (N,) and (N,); numbers up to W."""
        p = self.two_left[last][:, None] * self.one[None]
        p = p + _rows(self.two_start, self.two_word, self.two, last, p)
        key = (before * (self.n_words + 1) + last).to(torch.int32)
        place = torch.searchsorted(self.three_key, key).clamp_max(len(self.three_key) - 1)
        known = self.three_key[place] == key
        left = torch.where(known, self.three_left[place].to(p.dtype), 1.0)
        found = _rows(self.three_start, self.three_word, self.three, torch.where(known, place, -1), p)
        return left[:, None] * p + found


def _rows(start: Tensor, word: Tensor, value: Tensor, row: Tensor, like: Tensor) -> Tensor:
    """Sparse rows as (N, W + 1); row -1 is empty."""
    begin = torch.where(row >= 0, start[row.clamp_min(0)], 0).long()
    size = torch.where(row >= 0, start[row.clamp_min(0) + 1], 0).long() - begin
    which = torch.repeat_interleave(torch.arange(len(row), device=row.device), size)
    offset = torch.arange(len(which), device=row.device) - torch.repeat_interleave(size.cumsum(0) - size, size)
    at = torch.repeat_interleave(begin, size) + offset
    out = torch.zeros_like(like)
    out.view(-1).index_add_(0, which * like.shape[1] + word[at].long(), value[at].to(like.dtype))
    return out


def _row_probabilities(
    context: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Different contexts, discounted probabilities of all entries, and what each context leaves to shorter ones."""
    different, index, kinds = np.unique(context, return_inverse=True, return_counts=True)
    total = np.bincount(index, counts)
    p = np.maximum(counts - DISCOUNT, 0) / total[index]
    return different, p, DISCOUNT * kinds / total


def _most(
    keys: NDArray[np.int64], p: NDArray[np.float64], counts: NDArray[np.int64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most frequent of them, still in order."""
    if len(keys) <= room:
        return keys, p
    kept = np.sort(np.argsort(-counts, kind="stable")[:room])
    return keys[kept], p[kept]
