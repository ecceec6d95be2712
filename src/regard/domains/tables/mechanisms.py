"""How synthetic tables come about: causes, what follows from them, and functions from features to targets.

All is done for B tables at once; axes are B tables, R rows, F features, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regard.domains.tables.draws import Draws, Floats, Integers

_ACTIVATIONS: tuple[Callable[[Floats], Floats], ...] = (
    np.tanh,
    lambda h: np.maximum(h, 0),
    lambda h: h,
    np.abs,
    np.sin,
    lambda h: np.exp(-np.square(h)),
    lambda h: np.sign(h) * np.sqrt(np.abs(h)),
    lambda h: (h > 0).astype(np.float32),
    lambda h: np.clip(np.square(h), 0, 9),
    lambda h: np.round(np.clip(h, -4, 4)),
)
_SHARES = (4, 3, 5, 1, 1, 1, 1, 1, 1, 1)


def standardised(h: Floats) -> Floats:
    """Each column of (B, R, N) with mean 0 and variance 1; a constant stays one."""
    h = h - h.mean(1, keepdims=True)
    spread = np.sqrt(np.square(h).mean(1, keepdims=True))
    return (h / np.maximum(spread, 1e-4)).astype(np.float32)


def activated(draws: Draws, h: Floats, n_kinds: int = 3) -> Floats:
    """An activation of its own for every column of (B, R, N), out of a few for each table."""
    width = h.shape[2]
    kinds = draws.choice(_SHARES, n_kinds)
    column_kinds = np.take_along_axis(kinds, draws.below(n_kinds, width), 1)
    out = h.copy()
    for kind, activation in enumerate(_ACTIVATIONS):
        table, column = np.nonzero(column_kinds == kind)
        out[table, :, column] = activation(h[table, :, column])
    return out


def causes(draws: Draws, n_rows: int, width: int) -> Floats:
    """(B, R, width) roots: normal, uniform or heavy-tailed, rows in groups or not."""
    z = draws.normal(n_rows, width)
    kind = draws.choice((6, 2, 1), width)[:, None]
    heavy = z * np.exp(0.6 * np.abs(draws.normal(n_rows, 1)))
    z = np.where(kind == 1, np.clip(1.4 * z, -1.7, 1.7), np.where(kind == 2, heavy, z))
    # Groups of rows, as customers or species are.
    group = draws.below(2 + draws.below(7, 1), n_rows)
    strength = draws.chance(0.4, 1, 1) * draws.uniform(1, 1, low=0.3, high=2.5)
    centre = strength * draws.normal(8, width)
    return z + np.take_along_axis(centre, group[..., None], 1)


def graph(draws: Draws, n_rows: int, width: int, depth: int) -> Floats:
    """(B, R, width * depth): the nodes of a structural causal model, a layer of `width` nodes after the other.

    Every node is an activation of a sparse random sum of the layer before it, and noise.
    """
    h = causes(draws, n_rows, width)
    layers = [standardised(h)]
    keep = draws.uniform(1, 1, low=0.05, high=1.0)
    noisy = draws.chance(0.75, 1, 1) * draws.log_uniform(1, 1, low=0.01, high=0.7)
    for _ in range(depth - 1):
        linked = draws.chance(np.maximum(keep, 1.5 / width), width, width)
        weight = draws.normal(width, width) * linked
        # Some links remain from a node to its namesake, so that a chain of causes does not fade.
        weight = weight + np.eye(width, dtype=np.float32) * draws.chance(0.5, 1, width)
        h = standardised(np.matmul(layers[-1], weight))
        gain, shift = np.exp(0.5 * draws.normal(1, width)), 0.7 * draws.normal(1, width)
        h = activated(draws, gain * h + shift)
        noise = noisy * np.exp(0.5 * draws.normal(1, width))
        layers.append(standardised(standardised(h) + noise * draws.normal(n_rows, width)))
    return np.concatenate(layers, 2)


def relevance(draws: Draws, n_features: int) -> Floats:
    """(B, 1, F) how much a feature matters to a target: often only a few do."""
    some = draws.uniform(1, 1, low=1.0, high=n_features + 1.0)
    few = draws.uniform(1, 1, low=1.0, high=min(n_features, 4) + 1.0)
    count = np.where(draws.chance(0.5, 1, 1), some, few).astype(np.int64)
    return (draws.order(n_features)[:, None] < count) * np.exp(0.7 * draws.normal(1, n_features))


def linear(draws: Draws, x: Floats, n_outputs: int) -> Floats:
    """(B, R, F) to (B, R, K), a sparse linear map."""
    weight = draws.normal(x.shape[2], n_outputs) * relevance(draws, x.shape[2]).swapaxes(1, 2)
    return standardised(np.matmul(x, weight))


def network(draws: Draws, x: Floats, n_outputs: int, width: int = 12) -> Floats:
    """(B, R, F) to (B, R, K), one or two hidden layers."""
    h = x * relevance(draws, x.shape[2])
    for _ in range(2):
        h = standardised(np.matmul(h, draws.normal(h.shape[2], width)))
        h = activated(draws, h * np.exp(0.5 * draws.normal(1, width)) + 0.7 * draws.normal(1, width))
    return standardised(np.matmul(h, draws.normal(width, n_outputs)))


def forest(draws: Draws, x: Floats, n_outputs: int, n_trees: int = 6, depth: int = 4) -> Floats:
    """(B, R, F) to (B, R, K), a sum of random trees that ask about one feature at a time."""
    n_tables, n_rows, n_features = x.shape
    n_inner = 2**depth - 1
    matter = relevance(draws, n_features)[:, 0]
    # Gumbel's trick: features drawn in proportion to their relevance, the others never.
    noise = -np.log(-np.log(draws.uniform(n_trees * n_inner, n_features)))
    scores = np.where(matter[:, None] > 0, np.log(np.maximum(matter, 1e-6))[:, None] + noise, -np.inf)
    feature = scores.argmax(-1)
    # A threshold is the value of a row, so that both sides have some.
    at = draws.below(n_rows, n_trees * n_inner)
    table = np.arange(n_tables)[:, None]
    threshold = x[table, at, feature].reshape(n_tables, n_trees, n_inner)
    feature = feature.reshape(n_tables, n_trees, n_inner)
    # Trees end early at random, so that depths differ.
    deep = 1 + draws.below(depth, n_trees)
    node = np.zeros((n_tables, n_trees, n_rows), dtype=np.int64)
    for level in range(depth):
        node_feature = np.take_along_axis(feature, node, 2)
        value = x[table[..., None], np.arange(n_rows), node_feature]
        right = (value > np.take_along_axis(threshold, node, 2)) & (deep > level)[..., None]
        node = 2 * node + 1 + right
    leaf = draws.normal(n_trees, 2**depth, n_outputs)
    size = draws.chance(np.where(draws.chance(0.4, 1), 0.2, 1.0), n_trees)
    size[:, 0] = True
    leaf_value = np.take_along_axis(leaf, (node - n_inner)[..., None], 2)
    return standardised((leaf_value * size[..., None, None]).sum(1, dtype=np.float32))


def prototypes(draws: Draws, x: Floats, n_outputs: int, per_output: int = 2) -> Floats:
    """(B, R, F) to (B, R, K): nearness to a few rows, in the features that matter."""
    n_features = x.shape[2]
    scaled = x * relevance(draws, n_features)
    chosen = draws.below(x.shape[1], n_outputs * per_output)
    centre = np.take_along_axis(scaled, chosen[..., None], 1)
    distance = np.square(scaled).sum(2)[..., None] + np.square(centre).sum(2)[:, None]
    distance = distance - 2 * np.matmul(scaled, centre.swapaxes(1, 2))
    nearest = distance.reshape(*distance.shape[:2], n_outputs, per_output).min(-1)
    return standardised(-np.sqrt(np.maximum(nearest, 0)))


def node_sums(draws: Draws, nodes: Floats, n_outputs: int) -> Floats:
    """(B, R, N) to (B, R, K): for each output one node, or the sum of a few."""
    n_nodes = nodes.shape[2]
    weight = draws.normal(3, n_outputs)
    weight[:, 1:] *= draws.chance(0.3, 1, 1)
    index = draws.below(n_nodes, 3, n_outputs)
    total = sum(
        weight[:, k, None] * np.take_along_axis(nodes, index[:, k, None].repeat(nodes.shape[1], 1), 2) for k in range(3)
    )
    return standardised(total)  # type: ignore[arg-type]


def column_ranks(x: Floats) -> Floats:
    """Columns of (B, R, N) as column_ranks in (0, 1); equal values by the order of rows."""
    order = np.argsort(np.argsort(x, axis=1, kind="stable"), axis=1, kind="stable")
    return ((order + 0.5) / x.shape[1]).astype(np.float32)


def binned(rank: Floats, shares: Floats) -> Integers:
    """Ranks (B, R, N) in (0, 1) to bins, the widths of which are `shares` (B, N, K)."""
    edges = np.cumsum(shares, 2)[..., :-1] / shares.sum(2)[..., None]
    return (rank[..., None] > edges[:, None]).sum(-1)
