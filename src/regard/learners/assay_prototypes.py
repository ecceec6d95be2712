"""Training tasks predicted side by side, then prototypes on what they predict: the honest baseline, with an expert per
kind of task.

    training   one network predicts every training task of an item at once; no episodes
    experts    blocks of its answers, one per group of training tasks, and the items' counts as they are
    K_g(a, b)  = exp( - |a_g - b_g|^2 / 2 n_g ) for a block of n_g answers, Tanimoto for counts
    logit_k    = sum_g share_g scale_g ( mean of K_g(query, class k) - 1/2 mean of K_g(class k, class k) )
    share_g    ~ n_g^power p(y | K_g)^evidence exp(kind * how much the support is of the kind that group g measures)

A new task is described by its relatives among the training tasks: its actives are those molecules that are predicted
active *there*. The logit is minus half the squared distance to the class mean, in the space of the kernel. An expert is
trusted as far as the support is of the kind that its group measures (drugs or pesticides) and as far as the marginal
likelihood of the support says; structure, which was never trained, has a share of its own and takes over where no group
knows the molecules.

The plain form, prototypes on the answers of a classifier over all training tasks, is the baseline that episodic methods
seldom beat (Tian et al. 2020, arXiv:2003.11539; for molecules Stanley et al. 2021, "FS-Mol", NeurIPS Datasets).

Differs from these: kernels, whose tails are flat, in place of a logistic regression; the experts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regard.episode import Episode, Support, Value, flatten_tasks, unflatten_tasks
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors, task_mean
from regard.learners.columns import class_mass, columns
from regard.learners.tanimoto_kernel import tanimoto
from regard.nn.attention import scores
from regard.nn.encoder import Encoder


@dataclass(frozen=True)
class Experts(Value):
    """z: (B, S, D); member: (B, C, S), weights that sum to 1 over the rows of a class; within: (B, K, C), half the mean
    likeness inside a class; share: (B, K); mass: (B, C).
    """

    z: Tensor
    member: Tensor
    within: Tensor
    share: Tensor
    mass: Tensor


@final
class AssayPrototypes(EncodingLearner):
    """Experts on the answers of a network for all training tasks.

    Args:
        encoder: items to vectors, with `blocks` that say what stands where, and `label_loss`, such as AssayNetwork of
            the molecules; one without blocks gives a single expert, and one without `label_loss` is trained by
            episodes.
        power: of the number of answers of a group, in its prior.
        kind: how far the kind of the support decides.
        evidence: how far marginal likelihoods decide; 1 is Bayes' rule, 0 leaves them aside.
        structure: log of the prior of structure, beside those of the groups.
        scale, structure_scale: of the logits of groups and of structure, whose likenesses differ less; these
            had the lowest loss on held-out assays of ToxCast, Tox21 and SIDER.
        n_levels: how far counts are told apart.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        power: float = 0.75,
        kind: float = 1.0,
        evidence: float = 0.5,
        structure: float = 3.0,
        scale: float = 6.0,
        structure_scale: float = 24.0,
        n_levels: int = 3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "AssayPrototypes")
        self.encoder, self.kind, self.evidence, self.n_levels = encoder, kind, evidence, n_levels
        blocks: dict[str, tuple[int, int]] = dict(getattr(encoder, "blocks", {"all": (0, encoder.n_features)}))
        self.kind_block, self.counts_block = blocks.pop("kind", None), blocks.pop("counts", None)
        self.blocks = tuple(blocks.values())
        self.prior = [power * math.log(high - low) for low, high in self.blocks]
        self.scales = [scale] * len(self.blocks)
        if self.counts_block is not None:
            self.prior.append(structure)
            self.scales.append(structure_scale)

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
        z: Tensor = support.x
        member = support.membership().mT.to(z.dtype)
        mass = member.sum(-1)
        member = member / torch.where(mass > 0, mass, 1.0)[..., None]
        kernel = self.kernels(z, z)
        within = ((member[:, None] @ kernel) * member[:, None]).sum(-1) / 2
        return Experts(z, member, within, self._share(support, kernel), class_mass(support))

    def predict_encoded(self, state: Experts, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        near = self.kernels(query_z, state.z) @ state.member[:, None].mT - state.within[:, :, None]
        share = state.share * torch.tensor(self.scales, dtype=near.dtype, device=near.device)
        logits = (share[..., None, None] * near).sum(1)
        return hide_absent(logits.to(torch.promote_types(logits.dtype, state.mass.dtype)), state.mass)

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

    def _share(self, support: Support, kernel: Float[Tensor, "B K S S"]) -> Float[Tensor, "B K"]:
        """How far each expert is trusted."""
        rows, kernel = support.to(dtype=torch.float64), kernel.double()
        sign, mass, total = columns(rows, kernel.dtype), class_mass(rows), rows.weight.sum(1, keepdim=True)
        system = (
            torch.eye(rows.n_rows, dtype=kernel.dtype, device=kernel.device) + rows.weight[:, None, :, None] * kernel
        )
        alpha = torch.linalg.solve(system, (rows.weight[:, None] * sign).mT[:, None])
        log_p = -((sign[:, None] * alpha.mT).sum(-1) + torch.linalg.slogdet(system).logabsdet[..., None]) / 2
        present = (mass > 0).to(kernel.dtype)
        n_present = present.sum(-1, keepdim=True)
        evidence = (log_p * present[:, None]).sum(-1) / torch.where(n_present > 0, n_present, 1.0)
        score = self.evidence * evidence + torch.tensor(self.prior, dtype=kernel.dtype, device=kernel.device)
        if self.kind_block is not None:
            low, high = self.kind_block
            kind = (rows.weight[..., None] * rows.x[..., low:high]).sum(1) / torch.where(total > 0, total, 1.0)
            score = score + torch.cat([self.kind * kind, kind.new_zeros(len(kind), score.shape[1] - kind.shape[1])], 1)
        return torch.softmax(score, -1).to(support.weight.dtype)
