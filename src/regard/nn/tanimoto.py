"""Similarity of counts, as of the substructures of two molecules.

Rogers and Tanimoto 1960, "A computer program for classifying plants", Science 132; a kernel: Ralaivola, Swamidass,
Saigo, Baldi 2005, "Graph kernels for chemical informatics", Neural Networks 18, doi:10.1016/j.neunet.2005.07.009.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def tanimoto(a: Float[Tensor, "*B Q D"], b: Float[Tensor, "*B S D"], n_levels: int = 3) -> Float[Tensor, "*B Q S"]:
    """Similarity of counts: what two share, divided by what either has; 1 where neither has any.

    Args:
        a, b: (..., Q, D) and (..., S, D) counts; those above `n_levels` count as that many.
        n_levels: how far counts are told apart; 1 knows only presence.

    Examples:
        >>> tanimoto(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]]))
        tensor([[0.5000]])
    """
    # min(a, b) = sum over levels of [a >= level] [b >= level].
    levels = [((a >= level).to(a.dtype), (b >= level).to(b.dtype)) for level in range(1, n_levels + 1)]
    shared = torch.stack([x @ y.mT for x, y in levels]).sum(0)
    size_a, size_b = (sum(pair[i].sum(-1) for pair in levels) for i in (0, 1))
    either = torch.as_tensor(size_a)[..., :, None] + torch.as_tensor(size_b)[..., None, :] - shared
    return torch.where(either > 0, shared / torch.where(either > 0, either, 1.0), 1.0)
