"""Closed-form opinions about a table: kernel ridge regressions that differ in their kernel, and what each is worth.

    K_st = kernel(row s, row t)              linear, Gaussian or Laplace, on scores or ranks, features by relevance
    f(x) = p + sum_s K(x, s) a_s,   a = W (K W + lambda)^-1 (Y - p)         p: weighted mean of the targets Y
    loo_s = y_s - (y_s - f(x_s)) / (1 - h_s),   h_s = 1 - lambda [(K W + lambda)^-1]_ss

What would have been predicted for a row had it not been there (leave-one-out) costs nothing more, so each expert can be
judged on the support alone, and a transformer can be shown opinions of the same kind for support and queries. The
Laplace kernel on ranks is what a forest of random trees converges to; the linear one is least squares.

A row of weight 0 has no part in anything, and a row of weight 2 is the row twice: left out is one of its two. Of a row
of weight below 1 all is left out.

Kernel ridge regression and its leave-one-out formula: Saunders et al. 1998; Rifkin and Lippert 2007, "Notes on
regularized least squares". Trees and the Laplace kernel: Balog et al. 2016, "The Mondrian kernel" (arXiv:1606.05241).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from regard.nn.recorded import inverse
from regard.nn.transforms import inside_transform, is_recorded


@dataclass(frozen=True)
class Expert:
    """One kernel.

    Args:
        kind: of the kernel.
        view: which description of a cell it sees.
        power: how much features matter more that tell the targets apart by themselves; 0 treats all alike.
        scale: what distances are multiplied by.
        ridge: lambda.
    """

    kind: Literal["linear", "gaussian", "laplace"]
    view: Literal["score", "normal", "rank"]
    power: float
    scale: float
    ridge: float


EXPERTS = (
    Expert("linear", "score", 0.0, 1.0, 0.03),
    Expert("linear", "score", 0.0, 1.0, 0.2),
    Expert("linear", "normal", 0.5, 1.0, 0.1),
    Expert("gaussian", "score", 0.0, 1.0, 0.3),
    Expert("gaussian", "normal", 0.5, 1.0, 0.3),
    Expert("gaussian", "normal", 1.0, 1.0, 0.8),
    Expert("gaussian", "normal", 0.5, 2.0, 0.3),
    Expert("gaussian", "score", 0.5, 2.0, 0.1),
    Expert("laplace", "rank", 0.0, 3.0, 0.1),
    Expert("laplace", "rank", 0.5, 3.0, 0.4),
    Expert("laplace", "rank", 1.0, 3.0, 0.8),
    Expert("laplace", "rank", 0.5, 8.0, 0.4),
)


@dataclass(frozen=True)
class CellViews:
    """Three descriptions of cells (B, R, F): standard score, rank in (0, 1), normal quantile of the rank."""

    score: Tensor
    rank: Tensor
    normal: Tensor

    def rows(self, index: slice) -> CellViews:
        """Some of the rows."""
        return CellViews(self.score[:, index], self.rank[:, index], self.normal[:, index])

    def gather(self, rows: Tensor) -> CellViews:
        """Rows (B, M) of each task."""
        index = rows[..., None].expand(-1, -1, self.rank.shape[-1])
        return CellViews(*(view.gather(1, index) for view in (self.score, self.rank, self.normal)))


@dataclass(frozen=True)
class Opinions:
    """What the experts keep of the support.

    Args:
        known: (B, S, F) views, or those of the anchors.
        relevance: (B, F) of each feature.
        dual: (B, K, S, C).
        mean: (B, 1, C, 1) of the targets.
        total: (B, 1) weight of all rows.
        loss: (B, K) mean square of the leave-one-out errors, over the targets.
    """

    known: CellViews
    relevance: Tensor
    dual: Tensor
    mean: Tensor
    total: Tensor
    loss: Tensor


EXACT_ROWS = 1024
"""Support rows up to which every row is a centre of the kernels; beyond, `N_ANCHORS` rows are."""

N_ANCHORS = 768


def consult(
    views: CellViews, targets: Float[Tensor, "B S C"], weight: Float[Tensor, "B S"], anchors: Tensor | None = None
) -> tuple[Opinions, Float[Tensor, "B R C K"]]:
    """Ask every expert about R rows, of which the first S are known; of those it is told what leave-one-out says.

    Args:
        views: of the R rows.
        targets: of the known rows.
        weight: of the known rows.
        anchors: (B, M) known rows that are the centres of the kernels; all by default.
    """
    n_support = targets.shape[1]
    total = weight.sum(1)[:, None, None]
    share = weight[..., None] / torch.where(total > 0, total, 1.0)
    mean = (share * targets).sum(1, keepdim=True)
    known = views.rows(slice(n_support))
    relevance = feature_relevance(known.normal, targets - mean, share, total)
    if anchors is not None:
        known = known.gather(anchors)
        dual, told, alone = _solve_by_anchors(views, known, relevance, targets - mean, weight)
    else:
        dual, told, alone = _solve(views, known, relevance, targets - mean, weight)
    error = (targets - mean)[:, None] - told[:, :, :n_support]
    left_out = (targets - mean)[:, None] - error / alone[..., None]
    loss = (share[:, None] * (error / alone[..., None]).square()).sum((2, 3))
    told = torch.cat([left_out, told[:, :, n_support:]], 2).permute(0, 2, 3, 1) + mean[..., None]
    return Opinions(known, relevance, dual, mean[..., None], total[..., 0], loss), told


def _solve(
    views: CellViews, known: CellViews, relevance: Tensor, targets: Tensor, weight: Tensor
) -> tuple[Float[Tensor, "B K S C"], Float[Tensor, "B K R C"], Float[Tensor, "B K S"]]:
    """Dual coefficients, what they say of all rows, and 1 less the leverage of each known row."""
    n_support = targets.shape[1]
    kernels = _kernels(views, known, relevance)
    ridge = kernels.new_tensor([expert.ridge for expert in EXPERTS])[:, None, None]
    identity = ridge * torch.eye(n_support, dtype=kernels.dtype, device=kernels.device)
    dual, diagonal = _dual(kernels[:, :, :n_support], weight, identity, targets)
    leverage = 1 - ridge[..., 0] * diagonal
    return dual, kernels @ dual, (1 - leverage / weight.clamp_min(1.0)[:, None]).clamp_min(1e-4)


def _dual(
    square: Tensor, weight: Tensor, identity: Tensor, targets: Tensor
) -> tuple[Float[Tensor, "B K S C"], Float[Tensor, "B K S"]]:
    """W (K W + lambda)^-1 Y, and the diagonal of (K W + lambda)^-1.

    With S the root of W these are S (S K S + lambda)^-1 S Y and the diagonal of (S K S + lambda)^-1, which Cholesky has
    in half of the time. The root has no slope at weight 0, so what is differentiated takes the general inverse; and so
    do weights so large that S K S + lambda is not positive in its dtype.
    """
    root = weight.sqrt()[:, None, :, None]
    if is_recorded():
        inverted = inverse(root * square * root.mT + identity)
        return root * (inverted @ (root * targets[:, None])), inverted.diagonal(dim1=-2, dim2=-1)
    if not inside_transform() and not (torch.is_grad_enabled() and (square.requires_grad or weight.requires_grad)):
        factor, failed = torch.linalg.cholesky_ex(root * square * root.mT + identity)
        if not bool(failed.any()):
            inverted = torch.cholesky_inverse(factor)
            return root * (inverted @ (root * targets[:, None])), inverted.diagonal(dim1=-2, dim2=-1)
    inverted = torch.linalg.inv(square * weight[:, None, None] + identity)
    return weight[:, None, :, None] * (inverted @ targets[:, None]), inverted.diagonal(dim1=-2, dim2=-1)


def _solve_by_anchors(
    views: CellViews, known: CellViews, relevance: Tensor, targets: Tensor, weight: Tensor
) -> tuple[Float[Tensor, "B K M C"], Float[Tensor, "B K R C"], Float[Tensor, "B K S"]]:
    """As `_solve` with M anchors in place of S centres, in S M^2 steps instead of S^3.

        phi(x) = K(x, M) L^-T,   K(M, M) + 1e-4 = L L^T
        f(x) = p + phi(x) v,   v = (phi' W phi + lambda)^-1 phi' W (Y - p)

    Ridge regression on Nystroem features: Williams and Seeger 2001, "Using the Nystroem method to speed up kernel
    machines"; leave-one-out is as exact for them as for any features.
    """
    n_support, duals, told, alone = targets.shape[1], [], [], []
    eye = torch.eye(known.rank.shape[1], dtype=targets.dtype, device=targets.device)
    for expert in EXPERTS:
        kernel = _kernel(expert, views, known, relevance)
        factor = torch.linalg.cholesky(_kernel(expert, known, known, relevance) + 1e-4 * eye)
        phi = torch.linalg.solve_triangular(factor, kernel[:, :n_support].mT, upper=False)
        weighted = phi * weight[:, None]
        ridge = torch.linalg.cholesky(weighted @ phi.mT + expert.ridge * eye)
        primal = torch.cholesky_solve(weighted @ targets, ridge)
        duals.append(torch.linalg.solve_triangular(factor.mT, primal, upper=True))
        told.append(kernel @ duals[-1])
        leverage = torch.linalg.solve_triangular(ridge, phi, upper=False).square().sum(1) * weight
        alone.append((1 - leverage / weight.clamp_min(1.0)).clamp_min(1e-4))
    return torch.stack(duals, 1), torch.stack(told, 1), torch.stack(alone, 1)


def choose_anchors(
    views: CellViews, targets: Float[Tensor, "B S C"], weight: Float[Tensor, "B S"], n_anchors: int
) -> Tensor:
    """(B, M) rows that stand for all: evenly spread over the targets and, within equal ones, along a fixed direction.

    The order of rows does not matter, and rows of weight 0 come last.
    """
    n_features = views.normal.shape[-1]
    # Irrational steps: no two features are alike, and few rows have equal sums.
    direction = torch.sin(torch.arange(1, n_features + 1, dtype=weight.dtype, device=weight.device) * 2.399963)
    order = (views.normal[:, : weight.shape[1]] @ direction).argsort(dim=1, stable=True)
    primary = (targets * torch.arange(1, targets.shape[-1] + 1, device=weight.device)).sum(-1)
    primary = primary.masked_fill(weight <= 0, torch.inf).gather(1, order)
    order = order.gather(1, primary.argsort(dim=1, stable=True))
    n_present = (weight > 0).sum(1, keepdim=True)
    place = torch.arange(n_anchors, device=weight.device)
    spread = (place * n_present) // n_anchors
    return order.gather(1, torch.where(n_present > n_anchors, spread, place.expand_as(spread)))


def ask_again(opinions: Opinions, views: CellViews) -> Float[Tensor, "B Q C K"]:
    """What the experts say of other rows."""
    told = _kernels(views, opinions.known, opinions.relevance) @ opinions.dual
    return told.permute(0, 2, 3, 1) + opinions.mean


def feature_relevance(
    x: Float[Tensor, "B S F"], targets: Float[Tensor, "B S C"], share: Float[Tensor, "B S 1"], total: Tensor
) -> Float[Tensor, "B F"]:
    """How much of the targets each feature explains by itself, by its correlations, beyond what chance would.

    Args:
        x: views of the cells.
        targets: less their mean.
        share: each row's share of the weight.
        total: (B, 1, 1) the weight of all rows.
    """
    x = x - (share * x).sum(1, keepdim=True)
    shared = torch.einsum("bsf,bsc->bfc", share * x, targets).square()
    spread = (share * x.square()).sum(1)[..., None] * (share * targets.square()).sum(1)[:, None]
    explained = (shared / torch.where(spread > 1e-9, spread, torch.inf)).amax(-1)
    chance = 1 / total[..., 0].clamp_min(2.0)
    return (explained - chance).clamp_min(0) + chance


def _kernels(views: CellViews, known: CellViews, relevance: Tensor) -> Float[Tensor, "B K R S"]:
    """Every expert's kernel between rows and known rows."""
    apart = (views.rank[:, :, None] - known.rank[:, None]).abs()
    return torch.stack([_kernel(expert, views, known, relevance, apart) for expert in EXPERTS], 1)


def _kernel(
    expert: Expert, views: CellViews, known: CellViews, relevance: Tensor, apart: Tensor | None = None
) -> Float[Tensor, "B R S"]:
    """One expert's kernel; `apart` is how far ranks are from each other, (B, R, S, F), where that is at hand."""
    weight = relevance**expert.power
    weight = weight / weight.sum(1, keepdim=True)
    if expert.kind == "laplace":
        if apart is None:
            distance = torch.cdist(views.rank * weight[:, None], known.rank * weight[:, None], p=1.0)
        else:
            distance = torch.einsum("brsf,bf->brs", apart, weight)
        return torch.exp(-expert.scale * distance)
    a, b = (getattr(v, expert.view) for v in (views, known))
    product = (a * weight[:, None]) @ b.mT
    if expert.kind == "gaussian":
        squares = [(v.square() * weight[:, None]).sum(-1) for v in (a, b)]
        distance = (squares[0][:, :, None] + squares[1][:, None] - 2 * product).clamp_min(0)
        product = torch.exp(-distance * (expert.scale**2 / 2))
    return product
