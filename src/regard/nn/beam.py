"""The likeliest sentences, by beam search: at each step the best few beginnings are kept and continued.

Sentences are compared by log p / length^power, as short ones would win otherwise (Wu et al. 2016, arXiv:1609.08144).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regard.nn.seq2seq import Cache
from regard.nn.spelling import END
from regard.nn.trigrams import Trigrams
from regard.nn.writing import Sentences

_N_OTHERS = 50
"""Words that share the chance of a word outside of the vocabulary."""


class Hypothesis(NamedTuple):
    """A sentence that may be meant.

    Args:
        words: their numbers, without the end.
        log_p: its log-probability, the end and what fluency adds included.
    """

    words: tuple[int, ...]
    log_p: float


def beam_search(
    sentences: Sentences,
    n_beams: int = 4,
    longest: int | Sequence[int] = 40,
    length_power: float = 1.0,
    fluency: float = 0.0,
) -> list[list[Hypothesis]]:
    """The best `n_beams` of each of the sentences of one task, best first.

    Args:
        sentences: Q of them.
        n_beams: how many beginnings are kept.
        longest: words of a sentence, of all or of each; what has no end by then is ended.
        length_power: 0 compares sums of log-probabilities, 1 their mean.
        fluency: weight of the log-probability as usual English, beside that of the learner.
    """
    x, words = sentences.understood, sentences.words
    n_all, device = x.read.shape[1], x.read.device
    vectors = sentences.encoder.target_words(words)
    end = int(torch.searchsorted(words, torch.tensor(END, device=device)))
    finished: list[list[tuple[float, Hypothesis]]] = [[] for _ in range(n_all)]
    active = torch.arange(n_all, device=device)
    blocks = sentences.writer.state
    log_p = torch.full((n_all, n_beams), -torch.inf, dtype=x.read.dtype, device=device)
    log_p[:, 0] = 0.0
    history = torch.zeros(n_all, n_beams, 0, dtype=torch.int64, device=device)
    there = x.there[0].repeat_interleave(n_beams, 0)
    read = [
        _rows(cache, torch.arange(n_all, device=device).repeat_interleave(n_beams))
        for cache in blocks.begin_writing(x.read[0])
    ]
    written: list[Cache | None] = [None] * len(read)
    english = sentences.english if fluency and sentences.english is not None else None
    known = sentences.encoder.position(words)
    limits = [longest] * n_all if isinstance(longest, int) else list(longest)
    for place in range(max(limits, default=0) + 1):
        last = vectors[history[..., -1].flatten()] if place else None
        h, grown = blocks.step(last, place, written, read, there)
        part = sentences.of(active)
        p = part.next_words(h.view(len(active), n_beams, -1)).clamp_min(1e-12).log()
        if english is not None:
            p = p + fluency * _usual(english, known, history).view_as(p)
        total = log_p[..., None] + p
        at_limit = torch.tensor([place == limits[q] for q in active.tolist()], device=device)
        is_end = torch.arange(len(words), device=device) == end
        total = torch.where(at_limit[:, None, None] & ~is_end, -torch.inf, total)
        top, index = total.flatten(1).topk(min(2 * n_beams, total[0].numel()), -1)
        rows, row_scores, row_words = [], [], []
        for row, q in enumerate(active.tolist()):
            beams, scores, new = [], [], []
            for score, at in zip(top[row].tolist(), index[row].tolist(), strict=True):
                beam, word = divmod(at, len(words))
                if score == -float("inf") or len(beams) == n_beams:
                    break
                if word == end:
                    found = Hypothesis(tuple(words[history[row, beam]].tolist()), score)
                    finished[q].append((score / (place + 1) ** length_power, found))
                else:
                    beams.append(beam)
                    scores.append(score)
                    new.append(word)
            finished[q].sort(key=lambda pair: -pair[0])
            ranked = [rank for rank, _ in finished[q]]
            if scores and not _is_done(ranked, scores[0], place, limits[q], n_beams, length_power):
                fill = n_beams - len(beams)
                rows.append((row, beams + [0] * fill))
                row_scores.append(scores + [-float("inf")] * fill)
                row_words.append(new + [end] * fill)
        if not rows:
            break
        kept = torch.tensor([row for row, _ in rows], device=device)
        beam = torch.tensor([beams for _, beams in rows], device=device)
        flat = (kept[:, None] * n_beams + beam).flatten()
        log_p = torch.tensor(row_scores, dtype=log_p.dtype, device=device)
        words_before = history[kept].gather(1, beam[..., None].expand(-1, -1, history.shape[-1]))
        history = torch.cat([words_before, torch.tensor(row_words, device=device)[..., None]], -1)
        written = [_rows(cache, flat) for cache in grown]
        read, there, active = [_rows(cache, flat) for cache in read], there[flat], active[kept]
    return [[found for _, found in ranked[:n_beams]] for ranked in finished]


def _is_done(ranked: Sequence[float], best: float, place: int, longest: int, n_beams: int, length_power: float) -> bool:
    """Whether no beginning that is left, the best of which has this log-probability, can beat what is finished."""
    worst = ranked[n_beams - 1] if len(ranked) >= n_beams else -float("inf")
    # At best it goes on for free, and is divided by the longest length.
    bound, likely = best / (longest + 1) ** length_power, best / (place + 2) ** length_power
    return worst > bound or (worst > likely and len(ranked) >= 2 * n_beams)


def _usual(english: Trigrams, known: Tensor, history: Tensor) -> Tensor:
    """(N, M) log-probability of each word as usual English after (Q, b, L); `known` is their place in it."""
    marked = torch.cat([history.new_zeros(*history.shape[:2], 2), known[history]], -1).flatten(0, 1)
    before, row = torch.unique(marked[:, -2:], dim=0, return_inverse=True)  # many beginnings end alike
    usual = english(before[:, 0], before[:, 1])
    usual[:, -1] /= _N_OTHERS
    return usual[:, known].clamp_min(1e-9).log()[row]


def _rows(cache: Cache, index: Tensor) -> Cache:
    return cache[0][index], cache[1][index]
