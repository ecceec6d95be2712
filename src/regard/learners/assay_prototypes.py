"""Training tasks predicted side by side, then prototypes on what they predict: the honest baseline, with an expert per
kind of task.

    training   one network predicts every training task of an item at once; no episodes
    experts    blocks of its answers, one per group of training tasks, and the items' counts as they are
    K_k(a, b)  = exp( - |a_k - b_k|^2 / 2 n_k ) for a block of n_k answers, Tanimoto for counts
    answer     = sum_k share_k GP(K_k)         share_k ~ prior_k p(y | K_k)^evidence exp(kind * how much the support
                                               looks like items of group k)

A new task is described by its relatives among the training tasks: its actives are those molecules that are predicted
active *there*. The expert of each group is trusted as far as its marginal likelihood says and as far as the support is
of the kind that the group measures; structure alone, which was never trained, needs no such kinship.

The plain form, prototypes on the answers of a classifier over all training tasks, is the baseline that episodic methods
seldom beat (Tian et al. 2020, arXiv:2003.11539; for molecules Stanley et al. 2021, "FS-Mol", NeurIPS Datasets).

Differs from these: the process in place of a logistic regression, whose noise is wide enough to make it nearly the
prototypes; the experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Episode, Support, Value, flatten_tasks, unflatten_tasks
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors, task_mean
from regard.learners.columns import class_mass, columns, sign_logits
from regard.learners.tanimoto_kernel import tanimoto
from regard.nn.attention import scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class Experts(Value):
    """z: (B, S, D); alpha: (B, K, C, S); precision: (B, K, S, S); share: (B, K); mass: (B, C)."""

    z: Tensor
    alpha: Tensor
    precision: Tensor
    share: Tensor
    mass: Tensor


@final
class AssayPrototypes(EncodingLearner):
    """Experts on the answers of a network for all training tasks.

    Args:
        encoder: items to vectors, with `blocks` that say what stands where, and `label_loss`, such as AssayNetwork of
            the molecules; one without blocks gives a single expert, and one without `label_loss` is trained by
            episodes.
        noise: variance of a row of weight 1, beside a kernel of amplitude 1.
        evidence: how far marginal likelihoods decide; 1 is Bayes' rule, 0 leaves them aside.
        kind: how far the kind of the support decides.
        structure: log of the prior of structure against that of all groups together.

    Raises:
        ConfigError: an encoder that gives parts, or noise that is not positive.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        noise: float = 1.0,
        evidence: float = 1.0,
        kind: float = 1.0,
        structure: float = -1.0,
        n_levels: int = 3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "AssayPrototypes")
        if noise <= 0:
            raise ConfigError(f"noise is {noise}: expected a variance above 0.")
        self.encoder, self.noise, self.evidence, self.kind = encoder, noise, evidence, kind
        self.structure, self.n_levels = structure, n_levels
        blocks = dict(getattr(encoder, "blocks", {"all": (0, encoder.n_features)}))
        self.kind_block: tuple[int, int] | None = blocks.pop("kind", None)
        self.counts_block: tuple[int, int] | None = blocks.pop("counts", None)
        self.blocks = tuple(blocks.values())

    def kernels(self, a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"]) -> Float[Tensor, "B K Q S"]:
        """Of every vector of a with every vector of b, by expert; structure is the last."""
        found = []
        for low, high in self.blocks:
            square = -scores(a[..., low:high], b[..., low:high], "distance")
            found.append(torch.exp(-square.clamp_min(0) / (2 * (high - low))))
        if self.counts_block is not None:
            low, high = self.counts_block
            found.append(tanimoto(a[..., low:high], b[..., low:high], self.n_levels))
        return torch.stack(found, 1)

    def adapt_encoded(self, support: Support) -> Experts:
        rows = support.to(dtype=torch.float64)
        z: Tensor = rows.x
        sign, mass = columns(rows, z.dtype), class_mass(rows)
        ratio = (rows.weight / self.noise)[:, None]
        kernel = self.kernels(z, z)
        system = torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + ratio[..., None] * kernel
        precision = torch.linalg.solve(system, ratio.expand(kernel.shape[:-1]).diag_embed())
        alpha = sign[:, None] @ precision.mT
        log_p = -((sign[:, None] * alpha).sum(-1) + torch.linalg.slogdet(system).logabsdet[..., None]) / 2
        present = (mass > 0).to(z.dtype)
        n_present = present.sum(-1, keepdim=True)
        evidence = (log_p * present[:, None]).sum(-1) / torch.where(n_present > 0, n_present, 1.0)
        share = torch.softmax(self.evidence * evidence + self._prior(z, rows.weight), -1)
        return Experts(z, alpha, precision, share, class_mass(support))

    def predict_encoded(self, state: Experts, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        k = self.kernels(query_z.to(state.z.dtype), state.z)
        mean = k @ state.alpha.mT
        variance = (1 - ((k @ state.precision) * k).sum(-1, keepdim=True)).clamp_min(0) + self.noise
        logits = (state.share[..., None, None] * sign_logits(mean, variance)).sum(1)
        return hide_absent(logits.to(state.mass.dtype), state.mass)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) the label loss of support and query items, or by episodes where the encoder has none."""
        label_loss = getattr(self.encoder, "label_loss", None)
        if label_loss is None:
            return query_loss(self(episode), episode)
        losses, weights = [], []
        for x, weight in ((episode.support.x, episode.support.weight), (episode.query_x, episode.query_weight)):
            losses.append(unflatten_tasks(label_loss(flatten_tasks(x)), weight.shape[0]))
            weights.append(weight)
        return task_mean(torch.cat(losses, 1), torch.cat(weights, 1))

    def _prior(self, z: Float[Tensor, "B S D"], weight: Float[Tensor, "B S"]) -> Float[Tensor, "B K"]:
        """(B, K) logarithms: groups by the kind of the support, structure by its own."""
        groups = z.new_zeros(z.shape[0], len(self.blocks))
        if self.kind_block is not None:
            low, high = self.kind_block
            total = weight.sum(1, keepdim=True)
            groups = (weight[..., None] * z[..., low:high]).sum(1) / torch.where(total > 0, total, 1.0)
        groups = torch.log_softmax(self.kind * groups, -1)
        if self.counts_block is None:
            return groups
        return torch.cat([groups, torch.full_like(groups[:, :1], self.structure)], 1)
