"""The prior over tables: what the in-context transformer for tables has seen of the world before it sees yours.

A table is made in four steps, each with random settings of its own:

1. **Nodes.** A structural causal model: root causes (normal, uniform, heavy-tailed, rows in groups or not) run through
   layers of sparse random sums, random activations and noise (`mechanisms.graph`). Features are some of the nodes, so
   they depend on each other; a share of them is replaced by noise (irrelevant), by near copies of others (redundant).
2. **Target.** Scores made by one of: other nodes of the model (which may be causes, effects or neither), a sparse
   linear map, a random network, a random forest of axis-aligned trees, nearness to prototypes, or the sum of two of
   these. Noise on top, from hardly any to more than there is to learn.
3. **Classes.** One score cut at random ranks, with as many pieces as classes or more (pieces are then dealt out to
   classes); or the best of several scores. 2 to 10 classes, balanced or not, some labels wrong, names shuffled. With
   numbers for targets: one score, sometimes bent.
4. **Columns as people keep them.** Monotone transforms, heavy tails, rounding, categories (ordered or with shuffled
   codes), two-valued columns, missing cells.

Table number i is a function of (seed, i). Its size is that of its group of `group` tables, so that a batch has no
padding: a batch must lie in one group.

The ideas are those of TabPFN (Hollmann et al. 2023, arXiv:2207.01848; and 2025, Nature 637) and TabICL (Qu et al. 2025,
arXiv:2502.05564); the mixture and all of the numbers are ours.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch

from regard.domains.tables import mechanisms as make
from regard.domains.tables.columns import as_kept
from regard.domains.tables.draws import Draws, Floats, Integers
from regard.episode import Episode, Support
from regard.errors import DataError
from regard.sampling.counts import Count
from regard.sampling.source import EpisodeSource, Numbers, count_range

_KINDS = (make.node_sums, make.linear, make.network, make.forest, make.prototypes)
_KIND_SHARES = (3, 2, 2, 3, 1)
_N_SCORES = 10


@final
class TablePrior(EpisodeSource):
    """Episode numbers to synthetic tables.

    Args:
        n_way: fewest and most classes, from 2 to 10; (0, 0) for numbers to be predicted.
        n_shot: fewest and most support rows of a table, over all classes.
        n_query: query rows of a table.
        seed: of all tables.
        stream: another one, other tables under the same seed.
        n_features: fewest and most features.
        group: tables of one size, in a row; a multiple of the tasks per step.

    Raises:
        DataError: a range that is none.
    """

    def __init__(
        self,
        n_way: Count = (2, 10),
        n_shot: Count = (10, 180),
        n_query: Count = 40,
        *,
        seed: int = 0,
        stream: int = 0,
        n_features: Count = (1, 30),
        group: int = 16,
    ) -> None:
        numbers = n_way in (0, (0, 0))
        self.n_way = (0, 0) if numbers else count_range(n_way, "n_way")
        self.n_shot, self.n_features = count_range(n_shot, "n_shot"), count_range(n_features, "n_features")
        if not numbers and (self.n_way[0] < 2 or self.n_way[1] > _N_SCORES):
            raise DataError(f"n_way is {n_way}: expected from 2 to {_N_SCORES}, or 0 for numbers to be predicted.")
        self.n_query, self._n_query = n_query, count_range(n_query, "n_query")[1]
        self.seed, self.stream, self.group = seed, stream, group

    def __call__(self, episodes: Numbers) -> Episode:
        """The tables of these numbers.

        Raises:
            DataError: they are not of one group.
        """
        numbers = np.asarray(episodes, dtype=np.int64)
        groups = np.unique(numbers // self.group)
        if len(groups) != 1:
            raise DataError(
                f"the tables {int(numbers.min())}..{int(numbers.max())} are of {len(groups)} groups, which differ in "
                f"size: expected one batch to lie in a group of {self.group}; make tasks_per_step divide it."
            )
        n_support, n_features, width, depth = self._sizes(groups)
        draws = Draws(self.seed, numbers, part=self.stream)
        nodes = make.graph(draws.fork(0), n_support + self._n_query, width, depth)
        features, rest = _split_nodes(draws.fork(1), nodes, n_features)
        features = _spoiled(draws.fork(2), features)
        scores = _scores(draws, features, rest)
        x, missing = as_kept(draws.fork(3), features)
        if self.n_way[1]:
            y: Integers | Floats = _classes(draws.fork(4), scores, self.n_way)
        else:
            # A score as it is, or with a heavy tail, or rounded: (B, R, 1).
            fork, y = draws.fork(5), scores[..., :1]
            kind = fork.choice((6, 2, 1, 1), 1)[..., None]
            bend = fork.uniform(1, 1, low=0.2, high=0.9)
            bent = [np.exp(bend * y), np.sinh(bend * y), np.round(2 * y)]
            y = make.standardised(np.select([kind == 1, kind == 2, kind == 3], bent, y))
        items = {"x": torch.from_numpy(x), "missing": torch.from_numpy(missing)}
        support_x, query_x = (
            {k: v[:, rows] for k, v in items.items()} for rows in (slice(n_support), slice(n_support, None))
        )
        target = torch.from_numpy(np.ascontiguousarray(y))
        if not self.n_way[1]:
            return Episode(Support(support_x, target[:, :n_support], n_classes=0), query_x, target[:, n_support:])
        # Labels 0, 1, ... for the classes that the support has, and for the others the next free one.
        is_present = torch.nn.functional.one_hot(target[:, :n_support], _N_SCORES).sum(1) > 0
        n_present = is_present.sum(1, keepdim=True).clamp_max(_N_SCORES - 1)
        label = torch.where(is_present, is_present.cumsum(1) - 1, n_present).gather(1, target)
        support, query_y = Support(support_x, label[:, :n_support], n_classes=self.n_way[1]), label[:, n_support:]
        # A class without a support row cannot be predicted.
        in_support = support.one_hot().sum(1).gather(1, query_y) > 0
        return Episode(support, query_x, query_y, in_support.to(support.weight.dtype))

    def _sizes(self, group: Integers) -> tuple[int, int, int, int]:
        """Support rows, features, width and depth of the graph, of a group."""
        draws = Draws(self.seed, group, part=self.stream).fork(900)
        low, high = self.n_shot
        # Between even and log-even: few-row tables are the cheap ones, many-row tables teach more.
        rows = low + (high - low) * float(draws.uniform(1)[0, 0]) ** 1.3
        few, many = self.n_features
        features = few * ((many + 1) / few) ** float(draws.uniform(1)[0, 0] ** 0.6)
        n_features = min(int(features), many)
        depth = 1 + int(draws.below(4, 1)[0, 0])
        least = -(-(n_features + 4) // depth)
        width = max(4, least) + int(draws.below(24, 1)[0, 0])
        return round(rows), n_features, width, depth


def _split_nodes(draws: Draws, nodes: Floats, n_features: int) -> tuple[Floats, Floats]:
    """Some nodes are seen, and the rest may be targets."""
    order = draws.order(nodes.shape[2])
    # Half of the tables show neighbours in the graph, half of them any nodes.
    near = (np.arange(nodes.shape[2]) + draws.below(nodes.shape[2], 1)) % nodes.shape[2]
    order = np.where(draws.chance(0.4, 1), near, order)
    nodes = np.take_along_axis(nodes, order[:, None], 2)
    return nodes[..., :n_features], nodes[..., n_features:]


def _spoiled(draws: Draws, x: Floats) -> Floats:
    """Some features are noise, some nearly copies of another."""
    n_rows, n_features = x.shape[1:]
    other = np.take_along_axis(x, draws.below(n_features, n_features)[:, None], 2)
    near = other + draws.log_uniform(1, n_features, low=0.03, high=1.0) * draws.normal(n_rows, n_features)
    x = np.where(draws.chance(draws.chance(0.3, 1) * draws.uniform(1, high=0.6), n_features)[:, None], near, x)
    noise = draws.chance(draws.chance(0.4, 1) * draws.uniform(1, high=0.8), n_features)[:, None]
    return make.standardised(np.where(noise, draws.normal(n_rows, n_features), x))


def _scores(draws: Draws, features: Floats, rest: Floats) -> Floats:
    """(B, R, K) scores of the target: of one making, or the sum of two, as most things in the world are."""
    first = draws.fork(6)
    kinds = first.choice(_KIND_SHARES, 2)
    part = np.where(first.chance(0.5, 1), first.uniform(1, low=0.4, high=1.0), 1.0)
    out = np.zeros((*features.shape[:2], _N_SCORES), dtype=np.float32)
    for number, function in enumerate(_KINDS):
        index = np.nonzero((kinds == number).any(1))[0]
        if len(index):
            inputs = rest if function is make.node_sums else features
            share = np.where(kinds[index, 0] == number, part[index, 0], 0) + np.where(
                kinds[index, 1] == number, 1 - part[index, 0], 0
            )
            out[index] += share[:, None, None] * function(draws.fork(10 + number, index), inputs[index], _N_SCORES)
    draws = draws.fork(7)
    level = draws.chance(0.9, 1, 1) * draws.log_uniform(1, 1, low=0.05, high=2.0)
    return make.standardised(make.standardised(out) + level * draws.normal(*out.shape[1:]))


def _classes(draws: Draws, scores: Floats, n_classes: tuple[int, int]) -> Integers:
    """(B, R) labels."""
    n_rows = scores.shape[1]
    low, high = n_classes
    # Half of the tables have as few classes as there can be, which most real ones have.
    count = np.where(draws.chance(0.5, 1), low, low + draws.below(high - low + 1, 1))
    pieces = np.where(draws.chance(0.25, 1), count + draws.below(2 * count, 1), count)
    uneven = draws.chance(0.6, 1, 1) * draws.uniform(1, 1, high=1.2)
    shares = np.exp(uneven * draws.normal(1, 30)) * (np.arange(30) < pieces[..., None])
    piece = make.binned(make.column_ranks(scores[..., :1]), shares.astype(np.float32))[..., 0]
    # The first pieces go to a class each, so that every class has one; the others to any.
    owner = np.where(np.arange(30) < count, np.arange(30), draws.below(count, 30))
    shuffled = np.take_along_axis(owner, np.argsort(draws.uniform(30) + (np.arange(30) >= pieces), axis=1), 1)
    cut = np.take_along_axis(shuffled, piece, 1)
    handicap = 0.6 * draws.chance(0.5, 1, 1) * draws.normal(1, _N_SCORES)
    best = np.where(np.arange(_N_SCORES) < count[:, None], scores + handicap, -np.inf).argmax(-1)
    label = np.where(draws.chance(0.55, 1), cut, best)
    wrong = draws.chance(draws.chance(0.2, 1) * draws.uniform(1, high=0.2), n_rows)
    # The best of several scores favours no name, and pieces were dealt out at random: names mean nothing already.
    return np.where(wrong, draws.below(count, n_rows), label)
