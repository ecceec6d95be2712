"""Which source word each target word of a sentence pair comes from: IBM model 1's EM, unrolled as attention.

    E step   A_i(j, k) = softmax_k( l_r prior(s_k, t_j) + g_r log T_r(s_k, t_j) - b_r |k/K - j/J| ),  or no word at all
    M step   C(u, v)   = sum_i w_i sum_{j,k} A_i(j, k) [s_k = u] [t_j = v]
             T_{r+1}   = ( sum_u' N(u, u') C(u', v) + m T_1(u, v) ) / ( the same, summed over v )

s and t are the words of pair i, whose weight is w_i; u and v are the different words of all pairs. T_1 = softmax_v of
the prior, which knows names, cognates and what other languages taught; N says how much of what was learned of one word
holds for another (`WordKernel`), as for its other inflections. With l = b = m = 0 and N the identity this is IBM model
1 (Brown et al. 1993); the temperatures are learned, and begin such that it acts as that model from the first step on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Value
from regard.nn.attention import attention_weights, unit


@dataclass(frozen=True)
class DistinctWords(Value):
    """Different words of one side of B tasks.

    Args:
        z: (B, U, D) vectors.
        sketch: (B, U, 256) of the word in Latin letters.
        written: (B, U, 256) sketch of the word as written; of target words the same as `sketch`.
        there: (B, U) 1 for words and 0 for padding.
    """

    z: Tensor
    sketch: Tensor
    written: Tensor
    there: Tensor


@final
class WordKernel(nn.Module):
    """How much what is known of one source word holds for another: log N(u, u') = -a (1 - spelling) - b (1 - learned).

    Args:
        n_features: D of the words' vectors.
        d_key: of the learned comparison.
    """

    def __init__(self, n_features: int, d_key: int = 64) -> None:
        super().__init__()
        self.key = nn.Linear(n_features, d_key)
        self.log_spelling = nn.Parameter(torch.tensor(2.1))
        self.log_learned = nn.Parameter(torch.tensor(1.0))

    def forward(self, a: DistinctWords, b: DistinctWords) -> Tensor:
        """(B, U, V) log N of the words of `a` and of `b`."""
        spelling = (a.sketch @ b.sketch.mT + a.written @ b.written.mT) / 2
        learned = unit(self.key(a.z)) @ unit(self.key(b.z)).mT
        return -self.log_spelling.exp() * (1 - spelling) - self.log_learned.exp() * (1 - learned)


@final
class Alignment(nn.Module):
    """Aligns the sentence pairs of B tasks.

    Args:
        n_features: D of the words' vectors.
        n_rounds: of EM.
        d_key: of the learned prior.
    """

    def __init__(self, n_features: int, n_rounds: int = 4, d_key: int = 96) -> None:
        super().__init__()
        self.n_rounds = n_rounds
        self.source, self.target = nn.Linear(n_features, d_key), nn.Linear(n_features, d_key)
        self.kernel = WordKernel(n_features)
        self.likeness = nn.Parameter(torch.tensor(5.0))
        self.prior_strength = nn.Parameter(torch.full((n_rounds,), 0.5))
        self.lexicon_strength = nn.Parameter(torch.ones(n_rounds))
        self.distance = nn.Parameter(torch.full((n_rounds,), 1.5))
        self.no_word = nn.Parameter(torch.full((n_rounds,), -4.5))
        self.log_mass = nn.Parameter(torch.tensor(-1.0))

    def prior(self, source: DistinctWords, target: DistinctWords) -> Tensor:
        """(B, U, V) how likely a word means another before any pair is read: learned, and by how alike they look."""
        learned = self.source(source.z) @ self.target(target.z).mT / self.source.out_features**0.5
        return learned + self.likeness * (source.sketch @ target.sketch.mT)

    def forward(
        self, source: DistinctWords, target: DistinctWords, s: Tensor, t: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Align.

        Args:
            source, target: the different words of each task.
            s: (B, S, K) which of them each source token is; -1 for padding.
            t: (B, S, J) the same of target tokens.
            weight: (B, S) of pairs.

        Returns:
            A: (B, S, J, K) how much each target token comes from each source token; what is missing to 1 is of none.
            first: (B, U, V) T_1.
            presence: (B, V) 0 to 1, by how often target words occur.
        """
        n_source, n_target = source.z.shape[1], target.z.shape[1]
        prior = self.prior(source, target)
        there = (s >= 0)[:, :, None] & (t >= 0)[..., None]
        cell = (s.clamp_min(0)[:, :, None] * n_target + t.clamp_min(0)[..., None]).flatten(1)
        # What stands in pairs without weight only is absent, and comes in smoothly as the weight rises from 0.
        tokens = (weight[..., None] * (t >= 0)).flatten(1)
        count = prior.new_zeros(len(t), n_target).scatter_add(1, t.clamp_min(0).flatten(1), tokens.to(prior.dtype))
        presence = count / (count + 1)
        first = attention_weights(prior, presence[:, None])
        log_t, near = first.clamp_min(1e-9).log(), self.kernel(source, source).exp() * source.there[:, None]
        prior_here = prior.flatten(1).gather(1, cell).view(there.shape)
        apart = (_positions(s)[:, :, None] - _positions(t)[..., None]).abs()
        mass = (weight[:, :, None, None] * there).to(prior.dtype)
        aligned = torch.zeros_like(prior_here)
        for r in range(self.n_rounds):
            known = log_t.flatten(1).gather(1, cell).view(there.shape)
            score = self.prior_strength[r] * prior_here + self.lexicon_strength[r] * known - self.distance[r] * apart
            score = torch.where(there, score, -torch.inf)
            none = self.no_word[r].expand(*score.shape[:-1], 1)
            aligned = torch.cat([score, none], -1).softmax(-1)[..., :-1]
            if r + 1 < self.n_rounds:
                counts = torch.zeros_like(prior).flatten(1).scatter_add(1, cell, (aligned * mass).flatten(1))
                counts = near @ counts.view(-1, n_source, n_target) + self.log_mass.exp() * first
                log_t = (counts / counts.sum(-1, keepdim=True).clamp_min(1e-9)).clamp_min(1e-9).log()
        return aligned, first, presence

    def contrast(self, first: Tensor, s: Tensor, t: Tensor, weight: Tensor) -> Tensor:
        """(B,) how badly the prior alone explains the target words by the mean over their source words; per word.

        In training this teaches words of every pair of the support, and so what languages have in common.
        """
        n_target = first.shape[-1]
        cell = (s.clamp_min(0)[:, :, None] * n_target + t.clamp_min(0)[..., None]).flatten(1)
        log_p = first.clamp_min(1e-9).log().flatten(1).gather(1, cell).view(*t.shape, s.shape[-1])
        there = s >= 0
        log_p = torch.where(there[:, :, None], log_p, -torch.inf).logsumexp(-1)
        log_p = log_p - there.sum(-1).clamp_min(1).to(first.dtype).log()[..., None]
        mass = weight[..., None] * ((t >= 0) & there.any(-1)[..., None])
        return -(torch.where(mass > 0, log_p, 0.0) * mass).flatten(1).sum(1) / mass.flatten(1).sum(1).clamp_min(1e-9)


def _positions(tokens: Tensor) -> Tensor:
    """(B, S, L) relative positions of tokens in their sentence, 0 to 1."""
    size = (tokens >= 0).sum(-1, keepdim=True).clamp_min(2)
    place = torch.arange(tokens.shape[-1], device=tokens.device)
    return (place / (size - 1)).to(torch.get_default_dtype())


def words_of_tasks(index: Tensor, z: Tensor, sketch: Tensor, written: Tensor) -> tuple[DistinctWords, Tensor, Tensor]:
    """The different words of each task among those of a batch.

    Args:
        index: (B, N) which word of the batch each token is; -1 for padding.
        z, sketch, written: (G, ...) of the words of the batch.

    Returns:
        The words of each task, padded; (B, N) which of them each token is, -1 for padding; and (B, U) which word of the
        batch each of them is, -1 for padding.
    """
    tasks, places = [], []
    for row in index:
        known, place = torch.unique(row[row >= 0], return_inverse=True)
        tasks.append(known)
        places.append(torch.full_like(row, -1).masked_scatter(row >= 0, place))
    width = max(1, *(len(known) for known in tasks)) if tasks else 1
    which = torch.stack([F.pad(known, (0, width - len(known)), value=-1) for known in tasks])
    there = (which >= 0).to(z.dtype)
    if not len(z):
        z, sketch, written = (t.new_zeros(1, t.shape[1]) for t in (z, sketch, written))
    at = which.clamp_min(0)
    z, sketch, written = (t[at] * there[..., None] for t in (z, sketch, written))
    words = DistinctWords(z, sketch, written, there)
    return words, torch.stack(places), which
