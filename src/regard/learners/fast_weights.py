"""Fast weights: a support set is written row by row into a small matrix, and a query is read through it.

    k_s = phi(K f(x_s))    v_s = V( f(x_s), y_s )    q = phi(K f(x))    phi(a) = (elu(a) + 1) / |elu(a) + 1|

    hebbian:  W = sum_s w_s k_s v_s^T                                   read(x) = W^T q / sum_s w_s k_s^T q
    delta:    W = W + b_s k_s (v_s - W^T k_s)^T,  row after row         read(x) = W^T q
    N( mean, sigma ) = g( f(x), read(x) )

The Hebbian rule is attention without its exponential: a sum, so order does not matter and a row of weight 2 is the row
twice. The delta rule first takes out what stood under a key, so a later row corrects an earlier one: order matters. Its
strength for a row of weight w is b_w = 1 - (1 - b)^w, with which a row of weight 2 is the row twice in a row. The
memory does not grow with the support.

Schlag, Irie, Schmidhuber 2021, "Linear Transformers Are Secretly Fast Weight Programmers", arXiv:2102.11174 (the delta
rule and the view); Ba, Hinton, Mnih, Leibo, Ionescu 2016, "Using Fast Weights to Attend to the Recent Past",
arXiv:1610.06258 (Hebbian fast weights).

Differs from the papers: they read sequences, with a prediction after each token; here the support is written, and
queries only read. Keys know x alone. phi has unit length, where Schlag et al. make it sum to 1, so that weights are
exact. There is one layer of heads. Ba et al. let old rows fade and read in an inner loop; here nothing fades. The delta
rule's steps are one triangular solve over the rows, exactly, and not a loop. Sizes are our own. Classes and targets are
read column by column (see `columns`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from regard.episode import Support, Value
from regard.errors import ConfigError, did_you_mean
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import RowTokens, class_mass
from regard.nn.context import dense
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.recorded import unit_lower_solve

Rule = Literal["delta", "hebbian"]


@dataclass(frozen=True)
class FastMatrix(Value):
    """matrix: (B, C, H, K, V); key_sum: (B, 1, H, K), what the Hebbian rule divides by; mass: (B, C) or (B, 0)."""

    matrix: Tensor
    key_sum: Tensor
    mass: Tensor


@final
class FastWeights(EncodingLearner):
    """An associative matrix written by the support.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        rule: "delta" or "hebbian".
        n_heads: H, matrices side by side.
        d_key, d_value: K and V, the sides of a matrix.
        d_model: width of the networks that make values and decode.
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        min_sigma: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts, or an unknown rule.
    """

    regresses = True

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        rule: Rule = "delta",
        n_heads: int = 4,
        d_key: int = 32,
        d_value: int = 32,
        d_model: int = 128,
        n_targets: int = 0,
        min_sigma: float = 0.01,
    ) -> None:
        super().__init__()
        if rule not in get_args(Rule):
            raise ConfigError(f"rule is {rule!r}: {did_you_mean(str(rule), get_args(Rule))}")
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "FastWeights")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.rule: Rule = rule
        self.n_heads, self.min_sigma = n_heads, min_sigma
        self.rows, self.classifies = RowTokens(n_targets), not n_targets
        self.ignores_order = self.counts_weight = rule == "hebbian"
        self.key = dense(n_features, d_model, n_heads * d_key)
        self.value = dense(n_features + self.rows.n_extra, d_model, n_heads * d_value)
        self.strength = nn.Linear(n_features, n_heads) if rule == "delta" else None
        self.decode = dense(n_features + n_heads * d_value, d_model, d_model, self.rows.n_outputs)

    def adapt_encoded(self, support: Support) -> FastMatrix:
        z: Tensor = support.x
        weight = support.weight[:, None, None].to(z.dtype)
        key, value = self._keys(z), self._heads(self.value(self.rows.support(z, support)))
        if self.strength is None:
            weighted = weight[..., None] * key
            return FastMatrix(weighted.mT @ value, weighted.sum(-2), class_mass(support))
        # log(1 - b), so that b_w = 1 - (1 - b)^w keeps all its digits.
        left = F.logsigmoid(-self.strength(z).mT[:, None])
        matrix = write_by_delta(key, value, -torch.expm1(weight * left))
        return FastMatrix(matrix, key.new_zeros(*key.shape[:-2], key.shape[-1]), class_mass(support))

    def predict_encoded(
        self, state: FastMatrix, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        query = self._keys(query_z)
        read = query @ state.matrix
        if self.rule == "hebbian":
            total = query @ state.key_sum[..., None]
            read = read / torch.where(total > 0, total, 1.0)
        read = read.transpose(-3, -2).flatten(-2)
        place = query_z[:, None].expand(*read.shape[:3], -1)
        return self.rows.predictions(self.decode(torch.cat([place, read], -1)), state.mass, self.min_sigma)

    def _keys(self, z: Tensor) -> Tensor:
        """(B, S, D) to (B, 1, H, S, K), positive and of unit length."""
        positive = F.elu(self._heads(self.key(z)[:, None])) + 1
        return positive / positive.square().sum(-1, keepdim=True).sqrt()

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)


def write_by_delta(
    key: Float[Tensor, "*A S K"], value: Float[Tensor, "*B S V"], strength: Float[Tensor, "*A S"]
) -> Float[Tensor, "*B K V"]:
    """The matrix after W = W + b_s k_s (v_s - W^T k_s)^T for s = 1 ... S, from W = 0.

    What row s adds under its key is u_s = b_s (v_s - sum over j < s of (k_s k_j) u_j): a triangular system.
    """
    b = strength[..., None]
    # The diagonal of ones is not written, only assumed, by unitriangular.
    system = (b * (key @ key.mT)).tril(-1)
    lead = torch.broadcast_shapes(system.shape[:-2], value.shape[:-2])
    system = system.expand(*lead, *system.shape[-2:])
    return key.mT @ unit_lower_solve(system, b * value)
