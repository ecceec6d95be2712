"""MHNfs: molecules enriched by a context of unlabelled ones, then by the support, then compared.

    h    = z + retrieve(z, context)                    context: M unlabelled items, kept in the checkpoint
    h_s  = support rows with their class beside them, through layers of attention among the support
    h_q  = a query, its class unknown, through the same layers: it reads the support, and no other query
    logit_k(q) = scale * sum_s w_s [y_s = k] cos(h_q, h_s) / sum_s w_s [y_s = k] + mean of the same for plain z

The context says what items of this kind look like in general, which ten actives cannot; the paper retrieves from it by
a modern Hopfield layer, which is attention (Ramsauer et al. 2021, arXiv:2008.02217).

Schimunek, Seidl, Friedrich, Kuhn, Rippmann, Hochreiter, Klambauer 2023, "Context-enriched molecule representations
improve few-shot drug discovery", ICLR, arXiv:2305.09481.

Differs from the paper: one query at a time reads the support, instead of standing in one set with it, so that it can be
answered alone; each class is tried in turn as the positive one (sign +1, the others -1, averaged logits), so that any
number of classes works and classes can be renamed; the similarity of the vectors before the layers is added, with a
learned share; the context is drawn once, not in every step. Without a context the first line is h = z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.episode import Support, Value
from regard.learners.base import hide_absent, require_vectors
from regard.learners.columns import beside, class_mass, columns, unknown
from regard.learners.context_memory import ContextLearner
from regard.nn.attention import attention, scores
from regard.nn.context import Context, ContextTransformer
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class Enriched(Value):
    """context: of the layers; h: (B, C, S, D) support rows after them; z: (B, S, D) before; share: (B, C, S) weights
    that make a class mean minus the mean of the others; mass: (B, C).
    """

    context: Context
    h: Tensor
    z: Tensor
    share: Tensor
    mass: Tensor


@final
class MHNfs(ContextLearner):
    """Context, cross-attention and similarity.

    Args:
        encoder: items to vectors (N, D).
        d_model: width of the layers.
        n_layers, n_heads, d_feed: of the attention among support rows.
        n_context: M, unlabelled items that are kept; 0 goes without. Training fills them, see `ContextLearner`.
        sharpness: of the retrieval from the context, where training starts.
        scale: of the logits, where training starts.

    Raises:
        ConfigError: an encoder that gives parts, or n_heads that does not divide d_model.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        d_model: int = 128,
        n_layers: int = 1,
        n_heads: int = 4,
        d_feed: int | None = None,
        n_context: int = 256,
        sharpness: float = 8.0,
        scale: float = 5.0,
    ) -> None:
        super().__init__(encoder, n_context)
        require_vectors(encoder, "MHNfs")
        d = encoder.n_features
        self.retrieve = nn.Linear(d, d, bias=False) if n_context else None
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness))) if n_context else None
        self.gate = nn.Parameter(torch.tensor(0.5)) if n_context else None
        self.into = nn.Linear(d + 2, d_model)
        self.layers = ContextTransformer(d_model, n_layers, n_heads, d_feed)
        # Of the similarity after the layers, and of that before them.
        self.log_scale = nn.Parameter(torch.full((2,), math.log(scale)))

    def adapt_encoded(self, support: Support) -> Enriched:
        z = self.enrich(support.x)
        sign, mass = columns(support, z.dtype), class_mass(support)
        rows = self.into(beside(z, sign))
        context = self.layers.encode(rows, support.weight[:, None])
        positive = support.membership().mT.to(z.dtype)
        negative = support.weight[:, None].to(z.dtype) - positive
        share = _mean(positive) - _mean(negative)
        return Enriched(context, self.layers.read(context, rows), z, share, mass)

    def predict_encoded(self, state: Enriched, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        z = self.enrich(query_z)
        h = self.layers.read(state.context, self.into(unknown(z, state.mass.shape[-1])))
        after, before = self.log_scale.exp()
        similarity = after * scores(h, state.h, "cosine") + before * scores(z, state.z, "cosine")[:, None]
        logits = (similarity @ state.share[..., None])[..., 0]
        return hide_absent(logits.mT, state.mass)

    def enrich(self, z: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Vectors with what they recall of the context; as they are where there is none."""
        if self.retrieve is None or self.gate is None or self.log_sharpness is None:
            return z
        context, weight = self.context_vectors()
        recalled = attention(
            self.retrieve(z),
            self.retrieve(context),
            context,
            weight,
            compare="cosine",
            temperature=(-self.log_sharpness).exp(),
        )[0]
        return z + self.gate * recalled


def _mean(weight: Float[Tensor, "B C S"]) -> Float[Tensor, "B C S"]:
    """Weights that sum to 1, or to 0 where there are none."""
    total = weight.sum(-1, keepdim=True)
    return weight / torch.where(total > 0, total, 1.0)
