"""Extremely randomised trees as tensors: grown level by level over all trees of all tasks at once, and walked.

    a node is split at   x_d <= u,    u ~ uniform between its least and its largest x_d, one for each feature d tried
    d maximises          W_left |m_left - m|^2 + W_right |m_right - m|^2       W: summed weight, m: mean target

until the targets of a node are equal, or its rows are. Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees",
Machine Learning 63(1).

There is no bootstrap, so a row of weight 2 is the row twice. Random numbers are a function of the seed, the tree and
the way to the node, and so is the choice between features whose gains are equal up to rounding, as many are among few
rows: neither the order of rows, nor other tasks, nor rows of weight 0 change a tree. Nor does shifting or scaling a
feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.episode import Value

_GOLDEN, _MIX1, _MIX2 = -7046029254386353131, -4658895280553007687, -7723592293110705685
"""Of SplitMix64 (Steele et al. 2014), as signed integers."""

_AT_ONCE = 4_000_000
"""Numbers, rows times features, that one level of some trees may hold: what bounds the memory."""

_EQUAL = 1e-9
"""Of the sum of squares of a node: gains and variances that differ by less are equal."""

_CONSTANT = 1e-6
"""Of the range of a feature in its task: smaller ranges are rounding of whoever computed the features."""


@dataclass(frozen=True)
class Trees(Value):
    """M trees of each of B tasks, of at most K nodes; the first is the root, and children come after their parents.

    feature: (B, M, K) that a node splits; threshold: (B, M, K); child: (B, M, K) its left child, the right one is the
    next; 0 for a leaf.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor

    def tasks_of(self, index: Int[Tensor, " N"]) -> Trees:
        """The trees of some tasks, which may repeat."""
        return Trees(self.feature[index], self.threshold[index], self.child[index])


def walk(trees: Trees, x: Float[Tensor, "B Q D"]) -> Iterator[tuple[Int[Tensor, "B M Q"], Tensor]]:
    """The node of each row in each tree, level by level from the root, and whether the row came to it just now."""
    n_trees = trees.child.shape[1]
    node = torch.zeros(x.shape[0], n_trees, x.shape[1], dtype=torch.int64, device=x.device)
    wide = x.mT[:, None].expand(-1, n_trees, -1, -1)  # (B, M, D, Q)
    moved = torch.ones_like(node, dtype=torch.bool)
    while True:
        yield node, moved
        child = trees.child.gather(2, node)
        moved = child > 0
        if not bool(moved.any()):
            return
        value = wide.gather(2, trees.feature.gather(2, node)[:, :, None])[:, :, 0]
        right = (value > trees.threshold.gather(2, node)).to(child.dtype)
        node = torch.where(moved, child + right, node)


def grow(
    x: Float[Tensor, "B S D"],
    y: Float[Tensor, "B S T"],
    weight: Float[Tensor, "B S"],
    *,
    n_trees: int,
    share_tried: float = 1.0,
    seed: int = 0,
) -> Trees:
    """Grow trees on the rows of weight above 0, in double precision. Equal tasks are grown once.

    Args:
        x: features.
        y: targets; all of them count alike, in units of their own deviation.
        weight: of the rows.
        n_trees: M.
        share_tried: of the features at each split, at least one; all are tried where those are constant.
        seed: of the random numbers.
    """
    with torch.no_grad():
        x, y, weight = (t.detach().double() for t in (x, y, weight))
        first: dict[bytes, int] = {}
        of_task = []
        for task in range(len(x)):
            key = torch.cat([x[task].flatten(), y[task].flatten(), weight[task]]).cpu().numpy().tobytes()
            of_task.append(first.setdefault(key, len(first)))
        index = torch.tensor(of_task, device=x.device)
        once = torch.tensor([of_task.index(k) for k in range(len(first))], device=x.device)
        x, y, weight = x[once], y[once], weight[once]
        share = weight / weight.sum(1, keepdim=True).clamp_min(1e-300)
        y = y - (share[..., None] * y).sum(1, keepdim=True)
        deviation = (share[..., None] * y.square()).sum(1, keepdim=True).sqrt()
        y = y / torch.where(deviation > 0, deviation, 1.0)
        n_tried = max(1, min(x.shape[2], round(share_tried * x.shape[2])))
        per_tree = max(1, x.shape[0] * x.shape[1] * n_tried)
        numbers = torch.arange(n_trees, device=x.device)
        grown = [_grow_some(x, y, weight, some, n_tried, seed) for some in numbers.split(max(1, _AT_ONCE // per_tree))]
        joined = Trees(*(torch.cat([getattr(g, name) for g in grown], 1) for name in ("feature", "threshold", "child")))
        return joined.tasks_of(index) if len(first) < len(of_task) else joined


@dataclass(frozen=True)
class _Level:
    """N nodes of F trees, sorted by tree, and the A pairs of a row and a tree that are in them, sorted by node.

    row: (A,) of all tasks' rows; node: (A,) of N; residual: (A, T) from the mean of the node; weight: (A,) of the row;
    tree: (N,) of F; number: (N,) within its tree; key: (N,) of its random numbers; mass: (N,) summed weight; squares:
    (N,) of residuals, summed.
    """

    row: Tensor
    node: Tensor
    residual: Tensor
    weight: Tensor
    tree: Tensor
    number: Tensor
    key: Tensor
    mass: Tensor
    squares: Tensor

    @classmethod
    def of(cls, row: Tensor, node: Tensor, tree: Tensor, number: Tensor, key: Tensor, rows: _Rows) -> _Level:
        """With masses and residuals."""
        weight, y = rows.weight[row], rows.y[row]
        mass = weight.new_zeros(len(tree)).index_add_(0, node, weight)
        total = y.new_zeros(len(tree), y.shape[1]).index_add_(0, node, weight[:, None] * y)
        residual = y - (total / mass[:, None])[node]
        squares = torch.zeros_like(mass).index_add_(0, node, weight * residual.square().sum(-1))
        return cls(row, node, residual, weight, tree, number, key, mass, squares)

    def only(self, kept: Tensor) -> _Level:
        """These nodes (N,) and their rows."""
        if bool(kept.all()):
            return self
        rows = kept[self.node]
        node = (kept.cumsum(0) - 1)[self.node][rows]
        pairs = (self.row[rows], node, self.residual[rows], self.weight[rows])
        return _Level(*pairs, *(t[kept] for t in (self.tree, self.number, self.key, self.mass, self.squares)))


@dataclass(frozen=True)
class _Rows:
    """The rows of all tasks. x: (R, D), y: (R, T), weight: (R,), task: (R,), least_range: (B, D)."""

    x: Tensor
    y: Tensor
    weight: Tensor
    task: Tensor
    least_range: Tensor


def _grow_some(x: Tensor, y: Tensor, weight: Tensor, trees: Tensor, n_tried: int, seed: int) -> Trees:
    """These trees (M,) of all tasks; arguments as of `grow`, targets standardised."""
    n_tasks, n_rows, _ = x.shape
    present = (weight > 0)[..., None]
    full = x.masked_fill(~present, -torch.inf).amax(1) - x.masked_fill(~present, torch.inf).amin(1)
    task = torch.arange(n_tasks, device=x.device).repeat_interleave(n_rows)
    rows = _Rows(x.flatten(0, 1), y.flatten(0, 1), weight.flatten(), task, _CONSTANT * full)
    shape = (n_tasks * len(trees), 2 * n_rows - 1)
    feature = torch.zeros(shape, dtype=torch.int64, device=x.device)
    child, threshold = torch.zeros_like(feature), torch.zeros(shape, dtype=torch.float64, device=x.device)
    used = torch.ones(shape[0], dtype=torch.int64, device=x.device)
    # A row of task b begins in the root of tree (b, m), for all m.
    row = rows.weight.nonzero()[:, :1].expand(-1, len(trees))
    tree, order = (task[row] * len(trees) + torch.arange(len(trees), device=x.device)).flatten().sort(stable=True)
    root, node = torch.unique_consecutive(tree, return_inverse=True)
    key = _mix(_mix(trees + 1 + seed * 1_000_003)[root % len(trees)])
    level = _Level.of(row.flatten()[order], node, root, torch.zeros_like(root), key, rows)
    while len(level.row):
        level = level.only(level.squares > _EQUAL * level.mass)
        level, best, at = _splits(level, rows, n_tried)
        # Children are numbered in the order of their parents, tree by tree.
        rank = torch.arange(len(level.tree), device=x.device) - torch.searchsorted(level.tree, level.tree)
        first = used[level.tree] + 2 * rank
        place = (level.tree, level.number)
        feature[place], threshold[place], child[place] = best, at, first
        used.index_add_(0, level.tree, torch.full_like(level.tree, 2))
        right = (rows.x[level.row, best[level.node]] > at[level.node]).to(torch.int64)
        node, order = (2 * level.node + right).sort(stable=True)
        sides = torch.arange(2, device=x.device)
        keys = _mix(level.key[:, None] + (sides + 1) * _GOLDEN).flatten()
        number = (first[:, None] + sides).flatten()
        level = _Level.of(level.row[order], node, level.tree.repeat_interleave(2), number, keys, rows)
    shape = (n_tasks, len(trees), -1)
    return Trees(feature.view(shape), threshold.view(shape), child.view(shape))


def _splits(level: _Level, rows: _Rows, n_tried: int) -> tuple[_Level, Tensor, Tensor]:
    """The nodes that can be split, their features (N,) and thresholds (N,)."""
    n_features = rows.x.shape[1]
    feature, threshold, found = _best_of(level, rows, n_tried)
    if n_tried < n_features and not bool(found.all()):  # the features that were tried are constant there
        others = _best_of(level.only(~found), rows, n_features)
        feature[~found], threshold[~found], found[~found] = others
    return level.only(found), feature[found], threshold[found]


def _best_of(level: _Level, rows: _Rows, n_tried: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best of some random splits of every node: features (N,), thresholds (N,), and whether there is one (N,)."""
    n_nodes, n_features = len(level.tree), rows.x.shape[1]
    every = n_tried == n_features
    counter = torch.arange(1, n_tried + 1, device=level.key.device) * _GOLDEN
    word = _mix(level.key[:, None] + counter)  # (N, E), of which each bit is used for one purpose
    index = counter.new_tensor(range(n_features)).expand(n_nodes, -1) if every else (word & 0xFFFF) % n_features
    tried = rows.x[level.row] if every else rows.x[level.row].gather(1, index[level.node])  # (A, E)
    wide = level.node[:, None].expand(-1, n_tried)
    low = tried.new_full((n_nodes, n_tried), torch.inf).scatter_reduce_(0, wide, tried, "amin")
    high = tried.new_full((n_nodes, n_tried), -torch.inf).scatter_reduce_(0, wide, tried, "amax")
    task = torch.zeros_like(level.tree).index_copy_(0, level.node, rows.task[level.row])
    varies = high - low > rows.least_range[task].gather(1, index)
    threshold = low + (high - low) * ((word >> 40) & 0xFFFFFF).to(low.dtype) * 2.0**-24
    left = (tried <= threshold[level.node]) * level.weight[:, None]
    mass = torch.zeros_like(low).index_add_(0, level.node, left)
    gain = torch.zeros_like(low)
    for residual in level.residual.unbind(-1):
        gain += torch.zeros_like(low).index_add_(0, level.node, left * residual[:, None]).square()
    gain = gain * (1 / mass + 1 / (level.mass[:, None] - mass))
    gain = gain.nan_to_num(0.0, 0.0, 0.0).masked_fill(~varies, -1.0)
    equal = gain >= gain.amax(1, keepdim=True) - _EQUAL * level.squares[:, None]
    order = ((word >> 16) & 0xFFFFFF).masked_fill(~equal | ~varies, -1)
    best = order.argmax(1, keepdim=True)
    return index.gather(1, best)[:, 0], threshold.gather(1, best)[:, 0], varies.any(1)


def _mix(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64, on signed integers."""
    z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * _MIX1
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * _MIX2
    return z ^ (z >> 31 & 0x1FFFFFFFF)
