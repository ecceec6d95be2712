"""Linear models of many tasks at once, solved to the end: what the learners share that fit a head in closed form.

    ridge     min over W  sum_s w_s |W x_s - y_s|^2 + penalty |W|^2          in min(S, D) unknowns
    logistic  min over W  sum_s w_s cross-entropy(W x_s, y_s) + penalty/2 |W|^2, the last row of W free

The logistic minimum is found by damped Newton steps, each by conjugate gradients, so no Hessian is ever built. It is
differentiable, twice, although the search for it is not recorded: at the minimum, a quasi-Newton step that is recorded
has the implicit derivative of the minimum, and a second one has the second derivative.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.nn.recorded import inverse
from regard.nn.transforms import is_recorded, values_are_known


def ridge(
    x: Float[Tensor, "B S D"], y: Float[Tensor, "B S T"], weight: Float[Tensor, "B S"], penalty: Tensor | float
) -> Float[Tensor, "B D T"]:
    """Ridge regression through the origin, in as many unknowns as there are rows or features, whichever are fewer.

    Args:
        x: (B, S, D) features.
        y: (B, S, T) targets.
        weight: (B, S) of the rows.
        penalty: on the squared weights, above 0; a scalar, or broadcastable to (B, 1, 1).

    Returns:
        (B, D, T).
    """
    w = weight[..., None]
    if is_recorded():  # which are fewer must not be asked; the symmetric form has an inverse in products
        root = w.sqrt()
        system = root * (x @ x.mT) * root.mT + torch.eye(x.shape[1], dtype=x.dtype, device=x.device) * penalty
        return x.mT @ (root * (inverse(system) @ (root * y)))
    identity = torch.eye(min(x.shape[1:]), dtype=x.dtype, device=x.device) * penalty
    if x.shape[1] < x.shape[2]:
        # Woodbury. Not the symmetric form with the root of the weight: that has no finite slope at 0.
        return x.mT @ torch.linalg.solve(w * (x @ x.mT) + identity, w * y)
    return torch.linalg.solve(x.mT @ (w * x) + identity, x.mT @ (w * y))


def logistic(
    x: Float[Tensor, "B S D"], membership: Float[Tensor, "B S C"], penalty: float, n_steps: int = 10, n_solve: int = 40
) -> Float[Tensor, "B D_1 C"]:
    """Logistic regression with a bias that is not penalised, for classes that have a row.

    Args:
        x: (B, S, D) features.
        membership: (B, S, C), the weight of each row in the column of its class.
        penalty: on the squared weights.
        n_steps: Newton steps.
        n_solve: conjugate gradient steps in each.

    Returns:
        (B, D + 1, C), the bias last.
    """
    problem = _Logistic(F.pad(x, (0, 1), value=1.0), membership, penalty)
    with torch.no_grad():
        fixed = problem.detach()
        matrix = fixed.zeros()
        for _ in range(n_steps):
            step = fixed.newton(fixed.gradient(matrix), matrix, n_solve)
            matrix = fixed.best_of(matrix, step)
    for _ in range(2):
        matrix = matrix - fixed.newton(problem.gradient(matrix), matrix.detach(), n_solve)
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
        return _Solve.apply(gradient, self.x, self.weight, p, self.penalty, n_solve)

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
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Solve.apply(*grads, *ctx.saved_tensors, ctx.n_solve), None, None, None, None, None


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
        # The steps that are left would change nothing. To look costs an accelerator more than to take them.
        if going.device.type == "cpu" and values_are_known() and not bool(going.any()):
            break
        length = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        solution, residual = solution + length * direction, residual - length * image
        new_size = residual.square().sum((1, 2), keepdim=True)
        direction = residual + torch.where(going, new_size / torch.where(going, size, 1.0), 0.0) * direction
        size = new_size
    return solution
