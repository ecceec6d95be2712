"""TPN: labels flow from the support along a graph of similar items, to the end, in closed form.

    K_ij = exp( -|z_i / s_i - z_j / s_j|^2 / 2 ),   z_i = f(x_i),   s_i = g(z_i) > 0
    d_i = sum_j w_j K_ij,   S = D^-1/2 K D^-1/2,   F = (I - a S diag(w))^-1 Y
    logits of a query:  F_q = a sum_j w_j S_qj F_j

Liu, Lee, Park, Kim, Yang, Hwang and Yang 2019, "Learning to Propagate Labels: Transductive Propagation Network for
Few-shot Learning", arXiv:1805.10002.

F is the sum of a^n (S diag w)^n Y, a walk from row to row that ends with probability 1 - a at each step; the largest
eigenvalue of S diag(w) is 1, so with a < 1 there is always an answer.

Differs from the paper. By default the graph is of the support alone, and each query is attached to it: inductive. The
paper's graph of support and all queries is `graph="all"`, which is transductive, and says so; it sees every query it
is given. g is a small network on z. Two details of the paper break "weight 2 is the row twice", and are left out: the
diagonal of K set to zero (a row of weight 2 is not its own neighbour, two equal rows are each other's), and keeping the
k largest entries of a row (of which a row counted twice fills two).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from regard.episode import Support, Value
from regard.errors import ConfigError, did_you_mean
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.nn.attention import scores
from regard.nn.encoder import Encoder
from regard.nn.recorded import inverse
from regard.nn.transforms import is_recorded

Graph = Literal["support", "all"]


@dataclass(frozen=True)
class Propagated(Value):
    """scaled: (B, S, D) z / s; degree, weight: (B, S); flow: (B, S, C) F; one_hot: (B, S, C); mass: (B, C)."""

    scaled: Tensor
    degree: Tensor
    flow: Tensor
    weight: Tensor
    one_hot: Tensor
    mass: Tensor


@final
class TPN(EncodingLearner):
    """Label propagation in a learned space.

    Args:
        encoder: items to vectors (N, D).
        alpha: a, above 0 and below 1: how far labels flow.
        graph: "support": queries are attached to the graph of the support, one by one; "all": they are part of it, and
            the answer is transductive.
        width: of the network that finds the scale of each item.

    Raises:
        ConfigError: an encoder that gives parts, an alpha out of range, or another graph.

    Examples:
        >>> from regard.nn.mlp import MLP
        >>> support = Support(torch.eye(3)[None], torch.tensor([[0, 1, 1]]))
        >>> learner = TPN(MLP(3))
        >>> learner.predict(learner.adapt(support), torch.eye(3)[None]).shape
        torch.Size([1, 3, 2])
    """

    def __init__(self, encoder: Encoder, *, alpha: float = 0.9, graph: Graph = "support", width: int = 64) -> None:
        super().__init__()
        require_vectors(encoder, "TPN")
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha is {alpha}: expected above 0 and below 1; the paper has 0.99.")
        if graph not in get_args(Graph):
            raise ConfigError(f"graph is {graph!r}: {did_you_mean(str(graph), get_args(Graph))}")
        self.encoder, self.alpha, self.graph = encoder, alpha, graph
        self.scale = nn.Sequential(
            nn.Linear(encoder.n_features, width), nn.LeakyReLU(), nn.Linear(width, 1), nn.Softplus()
        )

    @property
    def transductive(self) -> bool:
        return self.graph == "all" or super().transductive

    def adapt_encoded(self, support: Support) -> Propagated:
        x, weight = self._scaled(support.x), support.weight
        one_hot = support.one_hot().to(x.dtype)
        kernel = (scores(x, x, "distance") / 2).exp()
        degree = (kernel @ weight[..., None]).squeeze(-1)
        flow = self._flow(kernel, degree, weight, one_hot)
        return Propagated(x, degree, flow, weight, one_hot, support.membership().sum(1))

    def predict_encoded(self, state: Propagated, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        query, weight = self._scaled(query_z), state.weight
        if self.graph == "all":
            n_query = query.shape[1]
            x = torch.cat([state.scaled, query], 1)
            weight = functional.pad(weight, (0, n_query), value=1.0)
            kernel = (scores(x, x, "distance") / 2).exp()
            degree = (kernel @ weight[..., None]).squeeze(-1)
            flow = self._flow(kernel, degree, weight, functional.pad(state.one_hot, (0, 0, 0, n_query)))
            return hide_absent(flow[:, -n_query:], state.mass)
        # A query far from everything has a degree that rounds to 0: its nearest row is taken out of both.
        log_kernel = scores(query, state.scaled, "distance") / 2
        top = torch.where(weight[:, None] > 0, log_kernel.detach(), -torch.inf).amax(-1, keepdim=True)
        top = torch.where(top > -torch.inf, top, 0.0)
        kernel = (log_kernel - top).clamp_max(30.0).exp()
        degree = kernel @ weight[..., None]
        walk = kernel * _root_inverse(degree) * _root_inverse(state.degree)[:, None] * weight[:, None]
        return hide_absent(self.alpha * (top / 2).exp() * (walk @ state.flow), state.mass)

    def _scaled(self, z: Tensor) -> Tensor:
        return z / (self.scale(z) + 1e-3)

    def _flow(self, kernel: Tensor, degree: Tensor, weight: Tensor, one_hot: Tensor) -> Tensor:
        """(B, N, C): F."""
        root = _root_inverse(degree)
        walk = kernel * root[..., :, None] * (root * weight)[..., None, :]
        identity = torch.eye(walk.shape[-1], dtype=walk.dtype, device=walk.device)
        if not is_recorded():
            return torch.linalg.solve(identity - self.alpha * walk, one_hot)
        # With R the root of the weight, R W R^-1 is symmetric; rows of weight 0 walk nowhere.
        spread, gathered = weight.sqrt()[..., None], torch.where(weight > 0, weight, 1.0).rsqrt()[..., None]
        symmetric = identity - self.alpha * spread * (kernel * root[..., :, None] * root[..., None, :]) * spread.mT
        flow = gathered * (inverse(symmetric) @ (spread * one_hot))
        alone = self.alpha * (walk @ flow) + one_hot
        return torch.where(weight[..., None] > 0, flow, alone)


def _root_inverse(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, degree, 1.0).rsqrt()
