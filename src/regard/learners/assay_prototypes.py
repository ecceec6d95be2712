"""Training tasks predicted side by side, then prototypes on what they predict: the honest baseline, with an expert per
kind of task, and structure trusted as far as leaving out the examples one by one bears it out.

    training   one network predicts every training task of an item at once; no episodes
    experts    blocks of its answers, one per group of training tasks, and structure: counts and descriptors as they are
    K_g(a, b)  = exp( - |a_g - b_g|^2 / 2 n_g ) for a block of n_g answers
    K_str(a,b) = (1 - r) ( T_1 / 2 + T_3 / 2 ) ^ sharpness + r exp( - |d_a - d_b|^2 / 2 n_d )        T_n: Tanimoto
                 similarity of counts up to n;  d: descriptors
    r          = 2 descriptors sigmoid( descriptor_slope (familiarity of the support - 0.35) ): physical properties say
                 much of toxicity, and little of a target of another kind
    l_gk       = scale_g ( mean of K_g(query, class k) - 1/2 mean of K_g(class k, class k) )
    learned    = sum_g share_g l_g       share_g ~ n_g^power exp( evidence L_g + kind * how much the support is of the
                                                  kind that group g measures )
    logit      = (1 - t) learned + t l_str
    t          = sigmoid( structure + structure_evidence (L_str - L_learned) + strangeness (0.35 - familiarity of the
                          support) + query_strangeness (familiarity of the support - familiarity of the query) )
    L          = sum_i w_i log p(y_i | the support without item i), by the same prototypes
    familiarity, of 0 to 1, is a number of the encoder: how like the training set an item is; of a support, its mean

A new task is described by its relatives among the training tasks: its actives are those molecules that are predicted
active *there*. l is minus half the squared distance to the class mean, in the space of the kernel. A group is trusted
as far as the support is of the kind that it measures (drugs or pesticides). Structure was never trained: where no
training task is a relative, as of a screen against a target unlike all of these, it foretells the labels of left-out
examples better, and takes over; and so it does for molecules that the network has seen nothing like. Twenty examples
say little about which foretells better: most is known from how familiar they are.

An item is left out with all rows that hold the same vector, so that a row of weight 2 is the row twice. An item that is
the only one of its class says nothing, so that one example per class leaves the priors.

The plain form, prototypes on the answers of a classifier over all training tasks, is the baseline that episodic methods
seldom beat (Tian et al. 2020, arXiv:2003.11539; for molecules Stanley et al. 2021, "FS-Mol", NeurIPS Datasets).

Differs from these: kernels, whose tails are flat, in place of a logistic regression; the experts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regard.episode import Episode, Support, Value, flatten_tasks, unflatten_tasks
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors, task_mean
from regard.learners.columns import class_mass
from regard.nn.attention import scores
from regard.nn.encoder import Encoder
from regard.nn.tanimoto import tanimoto

_NOTHING = 1e-6
"""Share of a class's weight below which nothing is left of it: rounding."""

_HALF_KNOWN = 0.35
"""Familiarity at which strangeness says neither; held-out molecules of the training files have .42 on average, and
those of ChEMBL targets .31.
"""

_ROUNDING = 1e-10
"""Squared distance, by the squared lengths, up to which two rows are the same item."""


@dataclass(frozen=True)
class Experts(Value):
    """z: (B, S, D); member: (B, C, S), weights that sum to 1 over the rows of a class; within: (B, K, C), half the mean
    likeness inside a class; share: (B, G) of the groups; gain: (B,), how much better structure foretells left-out
    examples than the groups do; familiarity: (B,), of the support; descriptors: (B,), r; mass: (B, C).
    """

    z: Tensor
    member: Tensor
    within: Tensor
    share: Tensor
    gain: Tensor
    familiarity: Tensor
    descriptors: Tensor
    mass: Tensor


@final
class AssayPrototypes(EncodingLearner):
    """Experts on the answers of a network for all training tasks.

    Args:
        encoder: items to vectors, with `blocks` that say what stands where, and `label_loss`, such as AssayNetwork of
            the molecules; one without blocks gives a single expert, and one without `label_loss` is trained by
            episodes.
        power: of the number of answers of a group, in its prior.
        kind: how far the kind of the support decides between groups.
        evidence: how far left-out examples decide between groups.
        structure: log-odds of structure, beside all groups together, before an example is seen.
        structure_evidence: how far left-out examples decide between structure and the groups.
        strangeness: how far it decides that the support is unlike the training set.
        query_strangeness: how far, that a query is less like it than the support.
        sharpness: power of the Tanimoto similarity.
        descriptors: their share in the likeness of structures, where the encoder keeps them, at middling familiarity.
        descriptor_slope: how far it grows with the familiarity of the support, to twice as much.
        scale, structure_scale: of the logits of groups and of structure, whose likenesses differ less. These were
            chosen on held-out assays of ToxCast, and those of structure on targets of ChEMBL besides.
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
        structure: float = 1.0,
        structure_evidence: float = 0.25,
        strangeness: float = 24.0,
        query_strangeness: float = 4.0,
        sharpness: float = 2.0,
        descriptors: float = 0.1,
        descriptor_slope: float = 20.0,
        scale: float = 7.5,
        structure_scale: float = 30.0,
        n_levels: int = 3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "AssayPrototypes")
        self.encoder, self.kind, self.n_levels = encoder, kind, n_levels
        self.evidence, self.structure, self.structure_evidence = evidence, structure, structure_evidence
        self.strangeness, self.query_strangeness, self.sharpness = strangeness, query_strangeness, sharpness
        blocks: dict[str, tuple[int, int]] = dict(getattr(encoder, "blocks", {"all": (0, encoder.n_features)}))
        self.kind_block, self.counts_block = blocks.pop("kind", None), blocks.pop("counts", None)
        self.familiarity_block, self.descriptor_block = blocks.pop("familiarity", None), blocks.pop("descriptors", None)
        self.descriptors = descriptors if self.descriptor_block is not None else 0.0
        self.descriptor_slope = descriptor_slope
        self.blocks = tuple(blocks.values())
        self.prior = [power * math.log(high - low) for low, high in self.blocks]
        self.scales = [scale] * len(self.blocks) + [structure_scale] * (self.counts_block is not None)

    def kernels(
        self, a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"], descriptors: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B K Q S"]:
        """Of every vector of a with every vector of b, by expert; structure is the last.

        Args:
            a, b: encoded rows.
            descriptors: r; their share at middling familiarity by default.
        """
        found = [_gaussian(a[..., low:high], b[..., low:high]) for low, high in self.blocks]
        if self.counts_block is not None:
            low, high = self.counts_block
            counts = a[..., low:high], b[..., low:high]
            likeness = ((tanimoto(*counts, 1) + tanimoto(*counts, self.n_levels)) / 2) ** self.sharpness
            if self.descriptor_block is not None:
                low, high = self.descriptor_block
                near = _gaussian(a[..., low:high], b[..., low:high])
                r = self.descriptors if descriptors is None else descriptors[:, None, None]
                likeness = (1 - r) * likeness + r * near
            found.append(likeness)
        return torch.stack(found, 1)

    def adapt_encoded(self, support: Support) -> Experts:
        z: Tensor = support.x
        total = support.membership().mT.to(z.dtype)
        mass = total.sum(-1)
        member = total / torch.where(mass > 0, mass, 1.0)[..., None]
        familiarity = torch.full_like(mass[:, 0], _HALF_KNOWN)
        if self.familiarity_block is not None:
            low, high = self.familiarity_block
            familiarity = _weighted_mean(z[..., low:high], support.weight.to(z.dtype))[:, 0]
        descriptors = 2 * self.descriptors * torch.sigmoid(self.descriptor_slope * (familiarity - _HALF_KNOWN))
        kernel = self.kernels(z, z, descriptors)
        within = ((member[:, None] @ kernel) * member[:, None]).sum(-1) / 2
        logits, left = left_out(support, kernel)
        logits = logits * torch.tensor(self.scales, dtype=z.dtype, device=z.device)[:, None, None]
        evidence = _log_likelihood(logits, left, support)
        share = self._group_shares(support, evidence[:, : len(self.blocks)]).to(z.dtype)
        learned = (share[..., None, None] * logits[:, : len(self.blocks)]).sum(1, keepdim=True)
        gain = evidence[:, -1] - _log_likelihood(learned, left, support)[:, 0]
        return Experts(z, member, within, share, gain, familiarity, descriptors, class_mass(support))

    def predict_encoded(self, state: Experts, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        near = self.kernels(query_z, state.z, state.descriptors) @ state.member[:, None].mT - state.within[:, :, None]
        near = near * torch.tensor(self.scales, dtype=near.dtype, device=near.device)[:, None, None]
        logits = (state.share[..., None, None] * near[:, : len(self.blocks)]).sum(1)
        if self.counts_block is not None:
            trust = self.trust(state, query_z)[..., None]
            logits = (1 - trust) * logits + trust * near[:, -1]
        return hide_absent(logits.to(torch.promote_types(logits.dtype, state.mass.dtype)), state.mass)

    def trust(self, state: Experts, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q"]:
        """t, the share of structure in each query's answer."""
        odds = self.structure + self.structure_evidence * state.gain
        odds = odds + self.strangeness * (_HALF_KNOWN - state.familiarity)
        odds = odds[:, None].expand(query_z.shape[:2])
        if self.familiarity_block is not None:
            less = state.familiarity[:, None] - query_z[..., self.familiarity_block[0]]
            odds = odds + self.query_strangeness * less
        return torch.sigmoid(odds).to(query_z.dtype)

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

    def _group_shares(self, support: Support, evidence: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
        """How far each group is trusted, beside the other groups."""
        score = self.evidence * evidence + torch.tensor(self.prior, dtype=evidence.dtype, device=evidence.device)
        if self.kind_block is not None:
            low, high = self.kind_block
            score = score + self.kind * _weighted_mean(support.x[..., low:high], support.weight.to(score.dtype))
        return torch.softmax(score, -1)


def _gaussian(a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"]) -> Float[Tensor, "B Q S"]:
    return torch.exp(scores(a, b, "distance").clamp_max(0) / (2 * a.shape[-1]))


def _weighted_mean(values: Float[Tensor, "B S D"], weight: Float[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Over rows; 0 where none weighs anything."""
    total = weight.sum(1, keepdim=True)
    return (weight[..., None] * values).sum(1) / torch.where(total > 0, total, 1.0)


def left_out(
    support: Support, kernel: Float[Tensor, "B K S S"]
) -> tuple[Float[Tensor, "B K S C"], Bool[Tensor, "B S C"]]:
    """What prototypes say of each support item without it, by kernel.

    Args:
        support: encoded rows.
        kernel: of every row with every other.

    Returns:
        Minus half the squared distance to each class mean, and whether anything of the class is left.
    """
    member = support.membership().to(kernel.dtype)  # (B, S, C)
    gone = _same_items(support.x).to(kernel.dtype) @ member
    mass = member.sum(1, keepdim=True)
    left = mass - gone > _NOTHING * mass
    rest = torch.where(left, mass - gone, 1.0)[:, None]  # (B, 1, S, C)
    likeness = kernel @ member[:, None]
    own = kernel.diagonal(dim1=-2, dim2=-1)[..., None]
    inside = (member[:, None] * likeness).sum(2, keepdim=True)  # (B, K, 1, C)
    gone = gone[:, None]
    near = (likeness - own * gone) / rest
    within = (inside - 2 * gone * likeness + own * gone.square()) / rest.square()
    return near - within / 2, left


def _same_items(z: Float[Tensor, "B S D"]) -> Bool[Tensor, "B S S"]:
    """Which rows hold the same vector, up to rounding."""
    z = z.double()
    size = z.square().sum(-1)
    itself = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    return itself | (-scores(z, z, "distance") <= _ROUNDING * (size[..., None] + size[:, None]))


def _log_likelihood(
    logits: Float[Tensor, "B K S C"], left: Bool[Tensor, "B S C"], support: Support
) -> Float[Tensor, "B K"]:
    """Of the labels of all rows of whose class something is left, each counted by its weight."""
    label = support.one_hot().to(torch.bool) & left
    hidden = ~left & left.any(-1, keepdim=True)
    log_p = torch.log_softmax(logits.masked_fill(hidden[:, None], -torch.inf), -1)
    per_row = torch.where(label[:, None], log_p, 0.0).sum(-1)
    return (support.weight[:, None].to(logits.dtype) * per_row).sum(-1)
