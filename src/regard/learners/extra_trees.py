"""A forest grown on the support of each task: extremely randomised trees on encoded features, whose nodes are averaged.

    v_0 = mean of the support;  v <- v + W / (W + k) (m - v)    for each node, of mass W and mean m, on the way of x
    f(x) = mean over trees of v at the leaf

The trees: Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees", Machine Learning 63(1); see `regard.nn.trees`.
Shrinking a leaf towards the nodes above it: Agarwal, Tan, Ronen, Singh, Yu 2022, "Hierarchical Shrinkage: improving the
accuracy and interpretability of tree-based methods", arXiv:2202.00858, where W is that of the node above.

Every node says the mean of its rows, so f is an average of the support's targets: that is attention, which rebuilds the
prediction, and the deviation is that of the targets under it. Which tree grows is a step function of items and weights,
without a derivative; what weights change within the trees has one. Nothing is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from regard.episode import Support, Value
from regard.errors import ConfigError
from regard.learners.base import EncodingAttendingLearner, block_sizes, or_one, require_vectors
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.trees import Trees, grow, walk
from regard.numbers import NORMAL_95

_WIDEST = 20.0
"""Of a logarithm: beyond, single precision has no number."""

_EQUAL = 1e-18
"""Variances of targets, in units of their squared size, that are rounding."""

_AT_ONCE = 4_000_000
"""Numbers, queries times rows times trees, that attention holds at once."""


@dataclass(frozen=True)
class Forest(Value):
    """What is kept of a support of S rows: M trees of K nodes per task, and what their nodes say.

    x: (B, S, D) and weight: (B, S) of the support; mass: (B, M, K); mean, square: (B, M, K, T) of the targets, in units
    of their deviation; centre, unit: (B, 1, T); logarithm: (B, 1, T), 1 where targets are seen as logarithms.
    """

    trees: Trees
    x: Tensor
    weight: Tensor
    mass: Tensor
    mean: Tensor
    square: Tensor
    centre: Tensor
    unit: Tensor
    logarithm: Tensor


@final
class ExtraTrees(EncodingAttendingLearner):
    """Extremely randomised trees on encoded features.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        blocks: sizes of the blocks of D features; those of the encoder by default, else one block.
        on_blocks: the blocks that the trees see; all by default.
        n_trees: M.
        share_tried: of the features at each split.
        shrinkage: k, the mass that a node is outweighed by.
        noise: the smallest deviation, in units of that of the targets.
        logarithms: whether targets that are all positive are seen as logarithms; the answer is then a median.
        seed: of the trees.

    Raises:
        ConfigError: an encoder that gives parts, blocks that do not sum to D or are not there, or numbers out of range.
    """

    classifies = False
    regresses = True
    vmaps = False

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        blocks: Sequence[int] | None = None,
        on_blocks: Sequence[int] | None = None,
        n_trees: int = 100,
        share_tried: float = 1 / 3,
        shrinkage: float = 1.0,
        noise: float = 0.1,
        logarithms: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "ExtraTrees")
        self.blocks = block_sizes(self.encoder, blocks)
        n_blocks = 1 if self.blocks is None else len(self.blocks)
        self.on_blocks = None if on_blocks is None else tuple(int(block) for block in on_blocks)
        if (
            self.on_blocks is not None
            and not set(self.on_blocks) & set(range(n_blocks)) == set(self.on_blocks) != set()
        ):
            raise ConfigError(f"on_blocks is {self.on_blocks}: expected some of 0 to {n_blocks - 1}.")
        if n_trees < 1 or not 0 < share_tried <= 1 or shrinkage < 0 or noise <= 0:
            raise ConfigError(
                f"n_trees is {n_trees}, share_tried {share_tried}, shrinkage {shrinkage} and noise {noise}: expected "
                "at least 1, above 0 to 1, at least 0, and above 0."
            )
        self.n_trees, self.share_tried, self.shrinkage, self.noise = n_trees, share_tried, shrinkage, noise
        self.seed = seed
        self.logarithms = self.reads_zero = logarithms
        self.rebuilds = not logarithms

    def adapt_encoded(self, support: Support) -> Forest:
        weight = support.weight.double()
        x, y = self._seen(support.x), support.y.double()
        present = (weight > 0)[..., None]
        positive = ((y > 0) | ~present).all(1, keepdim=True) & present.any(1, keepdim=True) & self.logarithms
        y = torch.where(positive & (y > 0), torch.where(y > 0, y, 1.0).log(), y)
        share = (weight / or_one(weight.sum(1, keepdim=True)))[..., None]
        centre = (share * y).sum(1, keepdim=True)
        variance = (share * (y - centre).square()).sum(1, keepdim=True)
        size = torch.where(positive, 1.0, or_one(centre.square()))  # of targets that are equal up to rounding
        unit = torch.where(variance > _EQUAL * size, variance, size).sqrt()
        y = (y - centre) / unit
        options = {"n_trees": self.n_trees, "share_tried": self.share_tried, "seed": self.seed}
        trees = grow(x, y, weight, **options)
        n_targets, size = y.shape[-1], trees.child.numel()
        said = weight[..., None] * torch.cat([torch.ones_like(share), y, y.square()], -1)  # (B, S, 1 + 2T)
        said = said[:, None].expand(-1, self.n_trees, -1, -1).flatten(0, 2)
        # Of every node on a row's path; what a row that has come to its leaf would say again goes to a spare place.
        total = said.new_zeros(size + 1, said.shape[-1])
        start = torch.arange(0, size, trees.child.shape[2], device=x.device).view(*trees.child.shape[:2], 1)
        for node, moved in walk(trees, x):
            total.index_add_(0, torch.where(moved, start + node, size).flatten(), said)
        total = total[:-1].unflatten(0, trees.child.shape)
        mass = total[..., :1]
        mean, square = (total[..., 1:] / or_one(mass)).split(n_targets, -1)
        return Forest(trees, x, weight, mass[..., 0], mean, square, centre, unit, positive.to(y.dtype))

    def predict_encoded(self, state: Forest, query_z: Float[Tensor, "B Q D"]) -> Normal:
        x, says = self._seen(query_z), torch.cat([state.mean, state.square], -1)
        value = says[:, :, :1].expand(-1, -1, x.shape[1], -1)  # (B, M, Q, 2T)
        for node, moved in walk(state.trees, x):
            here = says.gather(2, node[..., None].expand_as(value))
            mass = state.mass.gather(2, node)
            value = value + (moved * mass / or_one(mass + self.shrinkage))[..., None] * (here - value)
        mean, square = value.mean(1).chunk(2, -1)  # (B, Q, T)
        deviation = ((square - mean.square()).clamp_min(0) + self.noise**2).sqrt()
        mean, deviation = mean * state.unit + state.centre, deviation * state.unit
        log = state.logarithm > 0
        median = mean.clamp(-4 * _WIDEST, 4 * _WIDEST).exp()
        wide = (NORMAL_95 * deviation).clamp_max(_WIDEST)
        half = median * (wide.exp() - (-wide).exp()) / (2 * NORMAL_95)  # half of a 95% interval, which is lopsided
        dtype = query_z.dtype
        answer, spread = torch.where(log, median, mean).to(dtype), torch.where(log, half, deviation).to(dtype)
        return Normal(answer, spread, validate_args=False)

    def attend_encoded(self, state: Forest, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q S"]:
        x, share = self._seen(query_z), state.weight / or_one(state.weight.sum(1, keepdim=True))
        attention = x.new_zeros(x.shape[0], x.shape[1], share.shape[1])
        trees, wide = state.trees, state.weight[:, None, None]
        n_at_once = max(1, _AT_ONCE // max(1, attention.numel()))
        for some in (slice(at, at + n_at_once) for at in range(0, self.n_trees, n_at_once)):
            few = Trees(trees.feature[:, some], trees.threshold[:, some], trees.child[:, some])
            each = share[:, None, None].expand(-1, few.child.shape[1], x.shape[1], -1)  # (B, M, Q, S)
            for (node, moved), (of_row, _) in zip(walk(few, x), walk(few, state.x), strict=False):
                mass = state.mass[:, some].gather(2, node)
                here = (node[..., None] == of_row[:, :, None]) * wide / or_one(mass)[..., None]
                each = each + (moved * mass / or_one(mass + self.shrinkage))[..., None] * (here - each)
            attention = attention + each.sum(1)
        return (attention / self.n_trees).to(query_z.dtype)

    def _seen(self, z: Tensor) -> Float[Tensor, "B N E"]:
        """The blocks that trees see."""
        if self.on_blocks is None or self.blocks is None:
            return z.double()
        parts = z.split(self.blocks, -1)
        return torch.cat([parts[block] for block in self.on_blocks], -1).double()
