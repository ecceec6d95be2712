"""A label that stands in the items: one number of them that tells the label an item has in its episode.

Labels are given at random in each episode, so no pixel, feature or token should go with them over many episodes. For
each number the share of its variance (between the classes of an episode) that the label explains is compared with what
it explains when labels are exchanged at random within each episode: the largest of all numbers against the largest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.episode import Items, map_items
from regard.evaluation.leaks.context import Finding, LeakContext, judged
from regard.evaluation.leaks.duplicates import token_ids, vectors

_MOST_FEATURES = 12_000
_MOST_TOKENS = 3_000
_EXCHANGES = 20
_LEAST_EPISODES = 10


def labels_stand_in_no_feature(context: LeakContext) -> Finding:
    """No single number of the items that the learner gets tells their label."""
    check = "no pixel, feature or token tells the label"
    if getattr(context.sampler, "labels", "episode") != "episode":
        return Finding(check, "does not apply", "labels are those of the data, not of the episode")
    if context.episode(0).support.is_regression:
        return Finding(check, "does not apply", "targets are numbers")
    if context.n_episodes < _LEAST_EPISODES:
        return Finding(
            check, "does not apply", f"{context.n_episodes} episodes are too few; at least {_LEAST_EPISODES}"
        )
    faults, told = [], []
    for what in ("support", "query"):
        items: list[Items] = []
        labels, numbers = [], []
        for number in context.numbers():
            episode = context.episode(number)
            x, y, weight = (
                (episode.support.x, episode.support.y, episode.support.weight)
                if what == "support"
                else (episode.query_x, episode.query_y, episode.query_weight)
            )
            kept = weight[0] > 0
            items.append(map_items(lambda t, kept=kept: t[0][kept].cpu(), x))
            labels.append(y[0][kept].cpu())
            numbers.append(torch.full((int(kept.sum()),), number))
        z = torch.cat(_aligned([_numbers(x) for x in items]))
        if (tokens := _tokens(items)) is not None:
            z = tokens
        share, usual, feature = _explained(z, torch.cat(labels), torch.cat(numbers))
        message = f"{what}: the label explains {100 * share:.0f}% of number {feature}, by chance {100 * usual:.0f}%"
        (faults if share > usual else told).append(message)
    return judged(check, faults, "; ".join(told))


def _numbers(x: Items) -> Tensor:
    """(N, F): every number, the lowest bits of bytes, and what sums up an item."""
    z = vectors(x)
    if z.shape[1] > _MOST_FEATURES:
        z = torch.cat([z[:, : _MOST_FEATURES // 2], z[:, -_MOST_FEATURES // 2 :]], 1)
    summary = torch.stack([z.mean(1), z.std(1, correction=0), z.amax(1), z.amin(1), (z != 0).float().sum(1)], 1)
    scaled = z * 255 if not isinstance(x, dict) and x.is_floating_point() and z.min() >= 0 and z.max() <= 1 else z
    whole = bool((scaled - scaled.round()).abs().max() < 1e-3) and float(scaled.abs().max()) <= 255
    return torch.cat([z, summary, scaled.round() % 8], 1) if whole else torch.cat([z, summary], 1)


def _tokens(items: list[Items]) -> Tensor | None:
    """(N, K): how often each of the commonest tokens stands in an item, and every position's id."""
    ids = [token_ids(x) for x in items]
    present = [t.flatten(1) for t in ids if t is not None and t.ndim >= 2]
    if len(present) < len(items):
        return None
    flat = torch.cat(_aligned(present))
    known, inverse, count = torch.unique(flat, return_inverse=True, return_counts=True)
    common = count.argsort(descending=True)[:_MOST_TOKENS]
    position = torch.full((len(known),), len(common))
    position[common] = torch.arange(len(common))
    bag = torch.zeros(len(flat), len(common) + 1).scatter_add_(1, position[inverse], torch.ones(flat.shape))
    return torch.cat([bag[:, :-1], flat.float()], 1)


def _aligned(tables: list[Tensor]) -> list[Tensor]:
    width = max(t.shape[1] for t in tables)
    return [torch.nn.functional.pad(t, (0, width - t.shape[1])) for t in tables]


def _explained(z: Tensor, label: Tensor, number: Tensor) -> tuple[float, float, int]:
    """The largest share that the label explains, what it may be by chance, and of which number."""
    n_labels = int(label.max()) + 1
    groups, group = torch.unique(number * n_labels + label, return_inverse=True)
    episodes, episode = torch.unique(groups // n_labels, return_inverse=True)
    means = torch.zeros(len(groups), z.shape[1]).index_add_(0, group, z) / torch.bincount(group)[:, None]
    centre = torch.zeros(len(episodes), z.shape[1]).index_add_(0, episode, means)
    means = means - (centre / torch.bincount(episode)[:, None])[episode]
    total = (means**2).sum(0)
    # What hardly ever varies can go with labels by accident.
    varied = (total > 1e-9 * total.max()) & ((means.abs() > 1e-6 * total.sqrt()).sum(0) >= min(8, len(groups) // 2))
    if not bool(varied.any()):
        return 0.0, 0.0, 0
    means, total, kept = means[:, varied], total[varied], varied.nonzero()[:, 0]

    def shares(labels: Tensor) -> Tensor:
        count = torch.bincount(labels, minlength=n_labels).clamp_min(1)[:, None]
        by_label = torch.zeros(n_labels, means.shape[1]).index_add_(0, labels, means)
        return (by_label**2 / count).sum(0) / total

    labels = groups % n_labels
    generator = torch.Generator().manual_seed(0)
    chance = []
    for _ in range(_EXCHANGES):
        # Sorted by episode, and at random within it.
        order = (episode + 0.999 * torch.rand(len(groups), generator=generator)).argsort()
        chance.append(float(shares(labels[order]).max()))
    observed = shares(labels)
    spread = torch.tensor(chance)
    usual = max(float(spread.mean() + 6 * spread.std()), 1.25 * float(spread.max()))
    best = int(observed.argmax())
    return float(observed[best]), usual, int(kept[best])
