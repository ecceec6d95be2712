"""MetaOptNet: a convex classifier fitted on the support to its optimum, and the encoder trained through the optimum.

    svm       min over W  1/2 |W|^2 + C sum_s w_s max_k [ f(x_s).W_k + 1 - [k = y_s] ] - f(x_s).W_{y_s}
    logistic  min over W  1/2 |W|^2 + C sum_s w_s cross-entropy(W f(x_s) + b, y_s)
    logit(x)  = scale * W f(x),   scale is learned

Lee, Maji, Ravichandran, Soatto 2019, "Meta-Learning with Differentiable Convex Optimization", arXiv:1904.03758; the
support vector machine is the multi-class one of Crammer and Singer 2001.

The machine is solved in its dual, where a row's part in W is C w_s (e_{y_s} - p_s) with p_s on the simplex, so a row
twice and a row of weight 2 are one thing, and the features are met in inner products only. All tasks at once, by the
primal-dual interior point method of Mehrotra 1992; given the row multipliers the classes come apart, so each step
inverts C matrices of S x S rather than one of SC x SC. The derivative is implicit, as in `regard.learners.solvers`: the
search is not recorded, and two quasi-Newton steps at the solution are.

Differs from the paper: the path is followed to a duality gap of 1e-9 C for each row and class, in float64, where their
solver takes up to 15 steps in single precision; the logistic head is ours (their other is ridge regression: `R2D2`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Support, Value
from regard.errors import ConfigError, did_you_mean
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.learners.solvers import logistic
from regard.nn.encoder import Encoder

Head = Literal["svm", "logistic"]


@dataclass(frozen=True)
class LinearClassifier(Value):
    """matrix: (B, D + 1, C), the bias last; mass: (B, C) summed support weight."""

    matrix: Tensor
    mass: Tensor


@final
class MetaOptNet(EncodingLearner):
    """A support vector machine, or logistic regression, on learned vectors.

    Args:
        encoder: items to vectors (N, D).
        head: "svm" as in the paper, or "logistic".
        cost: C, what an error costs beside the norm of the weights.
        scale: of the logits, where training starts; 1 as in the paper, whose long training makes it large. Say 10
            where training is short: scores of the machine differ by little, and a small scale learns slowly.
        n_steps: of the solver; tasks that are solved before stay where they are.

    Raises:
        ConfigError: an encoder that gives parts, or an unknown head.
    """

    def __init__(
        self, encoder: Encoder, *, head: Head = "svm", cost: float = 0.1, scale: float = 1.0, n_steps: int = 12
    ) -> None:
        super().__init__()
        require_vectors(encoder, "MetaOptNet")
        if head not in get_args(Head):
            raise ConfigError(f"head is {head!r}: {did_you_mean(head, get_args(Head))}")
        self.encoder, self.cost, self.n_steps = encoder, cost, n_steps
        self.head: Head = head
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def adapt_encoded(self, support: Support) -> LinearClassifier:
        z: Tensor = support.x
        membership = support.membership()
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(membership.dtype)
            if self.head == "svm":
                matrix = F.pad(support_vectors(z, support, self.cost, self.n_steps), (0, 0, 0, 1))
            else:
                matrix = logistic(z, membership, 1 / self.cost, n_steps=self.n_steps)
        return LinearClassifier(matrix, membership.sum(1))

    def predict_encoded(self, state: LinearClassifier, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"]:
        z = F.pad(query_z.to(state.matrix.dtype), (0, 1), value=1.0)
        return hide_absent(self.scale * (z @ state.matrix), state.mass)


def support_vectors(
    z: Float[Tensor, "B S D"], support: Support, cost: float, n_steps: int = 12
) -> Float[Tensor, "B D C"]:
    """W of the multi-class support vector machine without a bias, for each task; 0 for a class without a row.

    Args:
        z: (B, S, D) vectors of the support.
        support: its labels and weights.
        cost: C.
        n_steps: of the interior point method.
    """
    x, y, weight = (t.to(torch.float64) for t in (z, support.one_hot(), support.weight))
    mass = (weight[..., None] * y).sum(1, keepdim=True)
    # A task without weight has no class at all; any choice keeps its numbers finite.
    present = (mass > 0) | (mass <= 0).all(-1, keepdim=True)
    dual = _Dual(cost * (x @ x.mT) * weight[:, None], y, present, weight[..., None] > 0)
    with torch.no_grad():
        point = dual.detach().solve(n_steps)
    p, _ = dual.polish(point)
    return (cost * x.mT @ (weight[..., None] * (y - p) * dual.present)).to(z.dtype)


_BARRIER = 1e-9
"""p t at the end of the path: small beside the margin, which is 1, and large beside rounding errors."""


class _Dual:
    """The optimality conditions of B machines, in p (B, S, C) and the multipliers nu (B, S).

        sum_k p_sk = 1,     p_sk t_sk = barrier,     t_sk = nu_s + [k = y_s] - score_sk >= 0
        score = kernel (y - p),     kernel_rs = C w_s x_r.x_s

    So p_s sits on the classes of the highest score + 1 - [k = y_s]. Rows of weight 0 obey them too, without a say.
    """

    def __init__(self, kernel: Tensor, y: Tensor, present: Tensor, rows: Tensor) -> None:
        self.kernel, self.y = kernel, y
        self.present = present.to(y.dtype)  # (B, 1, C), which classes a task has
        self.rows = rows  # (B, S, 1), which rows have weight

    def detach(self) -> _Dual:
        return _Dual(self.kernel.detach(), self.y, self.present, self.rows)

    def slack(self, p: Tensor, nu: Tensor) -> Tensor:
        return nu[..., None] + self.y - self.kernel @ (self.y - p)

    def inverse(self, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What a Newton step needs: (t / p + kernel)^-1 of every class (B, C, S, S), and that of their sum."""
        diagonal = torch.diag_embed((t / p).mT)
        each = torch.linalg.inv(diagonal + self.kernel[:, None]) * self.present.mT[..., None]
        return each, torch.linalg.inv(each.sum(1))

    def step(self, inverse: tuple[Tensor, Tensor], right: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
        """Solve (t / p + kernel) dp_k + dnu = right_k for every class and sum_k dp_k = -excess."""
        each, of_sum = inverse
        moved = (each @ right.mT[..., None]).squeeze(-1)  # (B, C, S)
        nu = (of_sum @ (moved.sum(1) + excess)[..., None]).squeeze(-1)
        return (moved - (each @ nu[:, None, :, None]).squeeze(-1)).mT, nu

    def solve(self, n_steps: int) -> tuple[Tensor, Tensor]:
        """Mehrotra 1992: a step straight to the optimum says how far to aim, and how much the next one will err."""
        count = self.present.sum(-1, keepdim=True)
        p = torch.where(self.present > 0, 1 / count, 1.0).expand_as(self.y)
        nu = (self.kernel @ (self.y - p)).amax(-1)
        t = torch.ones_like(p)  # the slack, an unknown of its own until the end
        for _ in range(n_steps):
            inverse = self.inverse(p, t)
            dp, dt, _, length = self._towards(torch.zeros_like(p), inverse, p, t, nu)
            gap, ahead = self._gap(p, t), self._gap(p + length * dp, t + length * dt)
            aim = (ahead**3 / gap**2).clamp_min(_BARRIER)
            dp, dt, dnu, length = self._towards(aim - dp * dt, inverse, p, t, nu)
            p, t, nu = p + length * dp, t + length * dt, nu + length[..., 0] * dnu
        return p, nu

    def _towards(
        self, aim: Tensor, inverse: tuple[Tensor, Tensor], p: Tensor, t: Tensor, nu: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The Newton step to where p t is `aim`, and how much of it may be done."""
        missing = self.slack(p, nu) - t
        dp, dnu = self.step(inverse, aim / p - t - missing, self._excess(p))
        dt = (aim - t * dp) / p - t
        # The length (B, S, 1) of a step, nowhere beyond reach; rows of weight 0 hold nobody back but themselves.
        reach = torch.where(self.present > 0, torch.minimum(_reach(p, dp), _reach(t, dt)), torch.inf)
        row = reach.amin(-1, keepdim=True)
        task = torch.where(self.rows, row, torch.inf).amin(1, keepdim=True)
        return dp, dt, dnu, torch.where(self.rows, task, torch.minimum(row, task)).clamp_max(1.0)

    def _gap(self, p: Tensor, t: Tensor) -> Tensor:
        """(B, 1, 1) mean of p t over the rows that count; 1 where there are none."""
        counted = self.present * self.rows
        total = counted.sum((1, 2), keepdim=True)
        mean = (p * t * counted).sum((1, 2), keepdim=True) / torch.where(total > 0, total, 1.0)
        return torch.where(total > 0, mean, 1.0)

    def polish(self, point: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Two Newton steps that are recorded, with a matrix that is not: two derivatives are those of the optimum."""
        here = point[0]
        inverse = self.detach().inverse(here, self.detach().slack(*point))
        p, nu = point
        for _ in range(2):
            right = (_BARRIER - p * self.slack(p, nu)) / here
            dp, dnu = self.step(inverse, right, self._excess(p))
            p, nu = p + dp, nu + dnu
        return p, nu

    def _excess(self, p: Tensor) -> Tensor:
        return (p * self.present).sum(-1) - 1


def _reach(value: Tensor, change: Tensor) -> Tensor:
    """How often a change can be made before its value comes near 0."""
    falling = change < 0
    return torch.where(falling, -0.99 * value / torch.where(falling, change, -1.0), torch.inf)
