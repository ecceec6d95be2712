"""Why each word of a translation was written: from which source, word of the sentence, and word of which pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regard.nn.spelling import PADDING
from regard.nn.writing import SOURCES, Sentences, with_end


class Origin(NamedTuple):
    """Where a word came from. Positions are those of tokens; None where there is none.

    Args:
        source: "vocabulary", "gloss", "copy" or "memory": which of them made the word likeliest.
        share: how much of the word's probability that is, 0 to 1.
        word: of the sentence.
        pair: of the support.
        pair_word, target_word: in it, on either side.
        evidence: (S,) how much of the word's probability stands on each pair.
    """

    source: str
    share: float
    word: int | None
    pair: int | None
    pair_word: int | None
    target_word: int | None
    evidence: tuple[float, ...]


def origins(sentences: Sentences, written: Sequence[Sequence[int]]) -> list[list[Origin]]:
    """Of each word of each of the Q sentences of one task.

    Args:
        sentences: what was read.
        written: Q sequences of numbers of words, without the end.
    """
    x = sentences.understood
    longest = max([1, *map(len, written)])
    y = torch.full((1, len(written), longest), PADDING, device=x.read.device)
    for row, words in enumerate(written):
        y[0, row, : len(words)] = torch.tensor(list(words), dtype=torch.int64)
    h = sentences.writer(sentences.vectors(y), x)
    sources = sentences.sources(h)
    own = sentences.writer.words(h, sentences.encoder.own.weight[:-1]).softmax(-1)
    at = sentences.encoder.position(with_end(y))
    found = []
    for row, words in enumerate(written):
        places = []
        for place, number in enumerate(words):
            gate = sources.gate[0, row, place]
            column = (x.number[0] == number).nonzero()
            gloss, memory = _through_pairs(sentences, sources.pointer[0, row, place], row, column)
            total = float((sources.pointer[0, row, place] * x.gloss[0, row].sum(-1)).sum().clamp_min(1e-9))
            memory = sources.memory[0, row, place].unflatten(-1, x.t.shape[1:]) * memory
            copied = sources.copy[0, row, place] * (x.latin[0, row] == number)
            inside = int(at[0, row, place])
            chance = float(own[0, row, place, inside]) if inside < own.shape[-1] else 0.0
            unread = _guessed(sentences, sources.pointer[0, row, place], row, column)
            parts = torch.stack(
                [
                    gate[0] * chance,
                    gate[1] * (gloss.sum() + unread) / total,
                    gate[2] * copied.sum(),
                    gate[3] * memory.sum(),
                ]
            )
            places.append(_origin(parts, gate, gloss / total, copied, memory, x.share[0]))
        found.append(places)
    return found


def _through_pairs(sentences: Sentences, pointer: Tensor, row: int, column: Tensor) -> tuple[Tensor, Tensor]:
    """(K, S, J, K') how much of a word's gloss goes through which tokens; (S, J) where it stands in the targets."""
    x = sentences.understood
    stands = (x.t[0] == column[0]) if len(column) else torch.zeros_like(x.t[0], dtype=torch.bool)
    through = torch.einsum("k,kst,sjt->ksjt", pointer, x.attended[0, row], x.share[0] * stands[..., None])
    return through, stands


def _guessed(sentences: Sentences, pointer: Tensor, row: int, column: Tensor) -> Tensor:
    """What of the gloss is the learned prior's, and no pair's."""
    x = sentences.understood
    if not len(column):
        return pointer.new_zeros(())
    through, _ = _through_pairs(sentences, pointer, row, column)
    return ((pointer * x.gloss[0, row, :, column[0, 0]]).sum() - through.sum()).clamp_min(0)


def _origin(parts: Tensor, gate: Tensor, gloss: Tensor, copied: Tensor, memory: Tensor, share: Tensor) -> Origin:
    evidence = gate[1] * gloss.sum((0, 2, 3)) + gate[3] * memory.sum(-1)
    evidence = evidence / parts.sum().clamp_min(1e-9)
    which = int(parts.argmax())
    name, weight = SOURCES[which], float(parts[which] / parts.sum().clamp_min(1e-9))
    word = pair = pair_word = target_word = None
    if name in ("vocabulary", "gloss") and float(gloss.sum()) > 1e-6:
        # Of a word of the vocabulary too: the lexicon's own opinion, if it has one.
        n_pairs, n_targets, n_sources = gloss.shape[1:]
        flat = int(gloss.argmax())
        word, rest = divmod(flat, n_pairs * n_targets * n_sources)
        pair, rest = divmod(rest, n_targets * n_sources)
        target_word, pair_word = divmod(rest, n_sources)
    elif name == "copy":
        word = int(copied.argmax())
    elif name == "memory":
        pair, target_word = divmod(int(memory.argmax()), memory.shape[-1])
        pair_word = int(share[pair, target_word].argmax()) if float(share[pair, target_word].sum()) > 0.05 else None
    return Origin(name, weight, word, pair, pair_word, target_word, tuple(evidence.tolist()))
