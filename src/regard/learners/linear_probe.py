"""Linear probe: a linear model on encoded items, fitted anew for every task. The baseline to beat.

    classes:  min over W, b of  sum_s w_s cross-entropy(W f(x_s) + b, y_s) + penalty/2 |W|^2       (logistic regression)
    targets:  min over W, b of  sum_s w_s |W f(x_s) + b - y_s|^2 + penalty |W|^2                    (ridge)

Tian, Wang, Krishnan, Tenenbaum, Isola 2020, "Rethinking Few-Shot Image Classification: a Good Embedding Is All You
Need?", arXiv:2003.11539.

Classes are solved for all tasks at once by damped Newton steps, each by conjugate gradients, so no Hessian is ever
built. The solution is differentiable, twice, although the search for it is not recorded: at the minimum, a quasi-Newton
step that is recorded has the implicit derivative of the minimum, and a second one has the second derivative.

Differs from the paper: the encoder need not be pretrained (it can even be trained through the solution), and vectors
are not normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from regard.episode import Support, _Value
from regard.learners.base import EncodingLearner, hide_absent, require_vectors
from regard.nn.flat import Flat


@dataclass(frozen=True)
class LinearModel(_Value):
    """matrix: (B, D + 1, C or T), the bias last; mass: (B, C) summed support weight; deviation: (B, T) of targets."""

    matrix: Tensor
    mass: Tensor
    deviation: Tensor


@final
class LinearProbe(EncodingLearner):
    """Logistic or ridge regression on vectors.

    Args:
        encoder: items to vectors (N, D); None takes items as they are (uint8 divided by 255).
        penalty: on the squared weights, the bias not included; scikit-learn's 1/C, and the alpha of its Ridge.
        n_steps: Newton steps.
        n_solve: conjugate gradient steps in each.
        noise: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True

    def __init__(
        self,
        encoder: nn.Module | None = None,
        *,
        penalty: float = 1.0,
        n_steps: int = 10,
        n_solve: int = 40,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "LinearProbe")
        self.penalty, self.n_steps, self.n_solve, self.noise = penalty, n_steps, n_solve, noise

    def adapt_encoded(self, support: Support) -> LinearModel:
        x: Tensor = support.x  # type: ignore[assignment]
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(support.weight.dtype)
            if support.is_regression:
                return _ridge(x, support.y.to(x.dtype), support.weight, self.penalty, self.noise)
            problem = _Logistic(F.pad(x, (0, 1), value=1.0), support.membership(), self.penalty)
            return LinearModel(self._solve(problem), problem.mass, x.new_zeros(x.shape[0], 0))

    def predict_encoded(
        self, state: LinearModel, query_z: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q C"] | Distribution:
        z = F.pad(query_z.to(state.matrix.dtype), (0, 1), value=1.0)
        if state.deviation.shape[-1] == 0:
            return hide_absent(z @ state.matrix, state.mass)
        mean = z @ state.matrix
        return Normal(mean, state.deviation[:, None].expand_as(mean), validate_args=False)

    def _solve(self, problem: _Logistic) -> Tensor:
        with torch.no_grad():
            fixed = problem.detach()
            matrix = fixed.zeros()
            for _ in range(self.n_steps):
                step = fixed.newton(fixed.gradient(matrix), matrix, self.n_solve)
                matrix = fixed.best_of(matrix, step)
        for _ in range(2):
            matrix = matrix - fixed.newton(problem.gradient(matrix), matrix.detach(), self.n_solve)
        return matrix


class _Logistic:
    """Logistic regression of B tasks: x (B, S, F) with a last feature of ones, membership (B, S, C)."""

    def __init__(self, x: Tensor, membership: Tensor, penalty: float) -> None:
        self.x, self.membership, self.scale = x, membership, penalty
        self.mass = membership.sum(1)
        self.weight = membership.sum(-1, keepdim=True)
        self.penalty = torch.full((x.shape[-1], 1), penalty, dtype=x.dtype, device=x.device)
        self.penalty = self.penalty * (torch.arange(x.shape[-1], device=x.device) < x.shape[-1] - 1)[:, None]

    def detach(self) -> _Logistic:
        return _Logistic(self.x.detach(), self.membership.detach(), self.scale)

    def zeros(self) -> Tensor:
        return self.x.new_zeros(self.x.shape[0], self.x.shape[-1], self.membership.shape[-1])

    def log_p(self, matrix: Tensor) -> Tensor:
        """(B, S, C); a class that is not in the task is as good as ruled out, by a number that stays finite."""
        return torch.log_softmax((self.x @ matrix).masked_fill((self.mass <= 0)[:, None], -1e9), -1)

    def objective(self, matrix: Tensor) -> Tensor:
        penalty = (self.penalty * matrix.square()).sum((1, 2)) / 2
        return penalty - (self.membership * self.log_p(matrix)).sum((1, 2))

    def gradient(self, matrix: Tensor) -> Tensor:
        p = self.log_p(matrix).exp()
        return self.x.mT @ (self.weight * p - self.membership) + self.penalty * matrix

    def newton(self, gradient: Tensor, at: Tensor, n_solve: int) -> Tensor:
        p = self.log_p(at).exp()
        return _Solve.apply(gradient, self.x, self.weight, p, self.penalty, n_solve)  # type: ignore[no-any-return]

    def best_of(self, matrix: Tensor, step: Tensor) -> Tensor:
        """The longest of some step lengths that lowers the objective most: a full Newton step may overshoot."""
        candidates = torch.stack([matrix - step * 0.5**k for k in range(6)])
        best = torch.stack([self.objective(candidate) for candidate in candidates]).argmin(0)
        return candidates.gather(0, best[None, :, None, None].expand(1, *matrix.shape)).squeeze(0)


class _Solve(torch.autograd.Function):
    """The inverse Hessian times a right-hand side, by conjugate gradients; as a linear map it is its own derivative.

    Recording the steps instead would differentiate quotients of residuals that are rounding errors by then.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(right: Tensor, x: Tensor, weight: Tensor, p: Tensor, penalty: Tensor, n_solve: int) -> Tensor:
        def hessian(v: Tensor) -> Tensor:
            pu = p * (x @ v)
            return x.mT @ (weight * (pu - p * pu.sum(-1, keepdim=True))) + penalty * v

        # One constant on all classes changes no probability, so the Hessian is flat there: rounding errors in that
        # direction have to be taken out, or they would be divided by almost nothing.
        present = (p > 0).any(1, keepdim=True)
        mean = (right * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True).clamp_min(1)
        return _conjugate_gradients(hessian, (right - mean) * present, n_solve)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.n_solve = inputs
        ctx.save_for_backward(*tensors[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return _Solve.apply(grad, *ctx.saved_tensors, ctx.n_solve), None, None, None, None, None


def _conjugate_gradients(hessian: Any, right: Tensor, n_solve: int) -> Tensor:
    """Hestenes and Stiefel 1952, for each task by itself, which stops where its residual is all rounding error."""
    solution, residual, direction = torch.zeros_like(right), right, right
    size = right.square().sum((1, 2), keepdim=True)
    # Well above rounding errors, some of which lie where the Hessian is flat.
    floor = size * (64 * torch.finfo(right.dtype).eps) ** 2
    for _ in range(n_solve):
        image = hessian(direction)
        curvature = (direction * image).sum((1, 2), keepdim=True)
        going = (size > floor) & (curvature > 0)
        length = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        solution, residual = solution + length * direction, residual - length * image
        new_size = residual.square().sum((1, 2), keepdim=True)
        direction = residual + torch.where(going, new_size / torch.where(going, size, 1.0), 0.0) * direction
        size = new_size
    return solution


def _ridge(x: Tensor, y: Tensor, weight: Tensor, penalty: float, noise: float) -> LinearModel:
    """Ridge regression in as many unknowns as there are rows or features, whichever are fewer."""
    w = weight[..., None]
    total = w.sum(1, keepdim=True)
    share = w / torch.where(total > 0, total, 1.0)
    x_mean, y_mean = (share * x).sum(1, keepdim=True), (share * y).sum(1, keepdim=True)
    xc, yc = x - x_mean, y - y_mean
    identity = torch.eye(min(x.shape[1:]), dtype=x.dtype, device=x.device) * penalty
    if x.shape[1] < x.shape[2]:
        # Not the symmetric form with the root of the weight: that has no finite slope at 0.
        slope = xc.mT @ torch.linalg.solve(w * (xc @ xc.mT) + identity, w * yc)
    else:
        slope = torch.linalg.solve(xc.mT @ (w * xc) + identity, xc.mT @ (w * yc))
    matrix = torch.cat([slope, y_mean - x_mean @ slope], 1)
    residual = (share * (yc - xc @ slope).square()).sum(1)
    return LinearModel(matrix, weight.new_zeros(weight.shape[0], 0), (residual + noise**2).sqrt())
