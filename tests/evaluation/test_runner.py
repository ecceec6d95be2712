"""What a runner evaluates: digests, batches, and items encoded once, each against doing it by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.episode import Episode
from regard.evaluation.encoded import encode_items
from regard.evaluation.runner import FromEncoded, FromItems, FromSource, episode_runner, episodes_digest, row_runner
from regard.learners import Matching, Prototypical
from regard.nn.flat import Flat
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler
from regard.sampling.functions import Sinusoids
from regard.sampling.source import Numbers

CPU = torch.device("cpu")


def dataset(n_classes: int = 6, n_items: int = 5) -> Dataset:
    x = torch.randn(n_classes * n_items, 3, generator=torch.Generator().manual_seed(0))
    return Dataset.of(x, torch.arange(n_classes).repeat_interleave(n_items))


def sampler(**changes: object) -> EpisodeSampler:
    settings: dict[str, object] = {"n_way": (2, 4), "n_shot": (1, 2), "n_query": 2, "seed": 1}
    return EpisodeSampler(dataset(), **{**settings, **changes})  # type: ignore[arg-type]


class Jitter:
    n_noise = 1

    def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + noise


class Encoding(Flat):
    """Notes the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return super().forward(x)


class Noting(Sinusoids):
    """Notes which episodes were asked for."""

    asked: list[int]

    def __call__(self, episodes: Numbers) -> Episode:
        self.asked = [*getattr(self, "asked", []), *np.asarray(episodes).tolist()]
        return super().__call__(episodes)


def test_the_digest_of_generated_episodes_is_of_the_first_and_the_last() -> None:
    source = Noting(3, 2, seed=4)
    digest = FromSource(Prototypical(Flat()), source, 9, CPU).digest()
    assert source.asked == [0, 8]
    expected = hashlib.sha256(b"Noting")
    for number in (0, 8):
        e = source([number])
        for t in (e.support.x, e.support.y, e.query_x, e.query_y):
            expected.update(t.numpy().tobytes())
    assert digest == expected.hexdigest()[:16]
    others = (Noting(3, 2, seed=5), Noting(3, 1, seed=4), Noting(3, 2, seed=4, stream=1))
    assert len({digest, *(FromSource(Prototypical(Flat()), o, 9, CPU).digest() for o in others)}) == 4


def test_the_digest_of_episodes_hangs_on_rows_labels_items_and_names() -> None:
    base = sampler()
    rows = base.rows(range(4))
    digest = episodes_digest(base, rows)
    assert digest == episodes_digest(sampler(), sampler().rows(range(4))) and len(digest) == 16
    moved = Dataset(base.dataset.x + 1, base.dataset.y, base.dataset.class_names)
    named = Dataset(base.dataset.x, base.dataset.y, tuple(f"n{i}" for i in range(6)))
    other = [
        episodes_digest(base, base.rows(range(5))),
        episodes_digest(base, base.rows(range(1, 5))),
        episodes_digest(sampler(seed=2), sampler(seed=2).rows(range(4))),
        episodes_digest(EpisodeSampler(moved, (2, 4), (1, 2), 2, seed=1), rows),
        episodes_digest(EpisodeSampler(named, (2, 4), (1, 2), 2, seed=1), rows),
    ]
    assert len({digest, *other}) == 6


def test_padding_of_an_episode_has_weight_0_when_items_are_encoded_once() -> None:
    base = sampler()
    rows = base.rows(range(8))
    fresh = base.gather(rows)
    items = encode_items(Prototypical(Flat()), base.dataset, rows, CPU, chunk=4)
    support, query = items.episode(rows)
    assert torch.equal(support.weight, fresh.support.weight) and bool((support.weight == 0).any())
    real, real_query = fresh.support.weight > 0, fresh.query_weight > 0
    assert torch.equal(support.x[real], fresh.support.x[real])
    assert torch.equal(query[real_query], fresh.query_x[real_query])
    assert torch.equal(support.y[real], fresh.support.y[real])
    assert support.n_classes == fresh.n_classes == rows.n_classes


@pytest.mark.parametrize("chunk", [1, 4, 7, 1000])
def test_each_used_item_is_encoded_once_in_chunks(chunk: int) -> None:
    base, encoder = sampler(), Encoding()
    rows = base.rows(range(2))
    used = {0, *rows.support[rows.support >= 0].tolist(), *rows.query[rows.query >= 0].tolist()}
    items = encode_items(Prototypical(encoder), base.dataset, rows, CPU, chunk=chunk)
    assert sum(encoder.sizes) == len(used) == len(items.z) < len(base.dataset)
    assert max(encoder.sizes) == min(chunk, len(used)) and len(encoder.sizes) == -(-len(used) // chunk)
    for row in used:
        assert torch.equal(items.z[items.index[row]], base.dataset.x[row])  # type: ignore[index]


def test_which_runner_is_chosen() -> None:
    learner, base = Prototypical(Flat()), sampler()
    rows = base.rows(range(2))
    assert isinstance(row_runner(learner, base, rows, CPU), FromEncoded)
    assert isinstance(row_runner(learner, base, rows, CPU, cache=False), FromItems)
    assert isinstance(row_runner(learner, sampler(transform=Jitter()), rows, CPU), FromItems)
    assert isinstance(episode_runner(learner, Sinusoids(3, 2), 4, CPU), FromSource)
    chosen = episode_runner(learner, base, 3, CPU)
    assert isinstance(chosen, FromEncoded) and len(chosen.rows) == 3
    assert (FromSource.size, FromItems.size, chosen.size) == (16, 1, 16)


@pytest.mark.parametrize("make", [Prototypical, Matching])
def test_all_runners_predict_alike(make: type[Prototypical]) -> None:
    learner, base = make(MLP(3)).eval(), sampler()
    rows = base.rows(range(6))
    by_hand = learner(base(range(2, 5)))
    for runner in (row_runner(learner, base, rows, CPU, cache=c) for c in (True, False)):
        output, y, weight = runner.run(slice(2, 5))
        n_query, n_way = by_hand.shape[1:]  # batches are padded to their own widest episode
        assert isinstance(output, Tensor)
        real = weight > 0
        assert torch.allclose(output[:, :n_query, :n_way][real[:, :n_query]], by_hand[real[:, :n_query]], atol=1e-6)
        assert torch.equal(y[real], base(range(2, 5)).query_y[real[:, :n_query]])
        assert weight.dtype == torch.float64 and set(weight.unique().tolist()) <= {0.0, 1.0}


def test_confusion_names_classes_of_the_data_and_skips_padding() -> None:
    base = sampler()
    rows = base.rows(range(5))
    runner = row_runner(Prototypical(Flat()), base, rows, CPU)
    right = runner.confusion(rows.query_y)
    matrix = right.matrix()
    assert matrix.sum() == int((rows.query >= 0).sum()) == matrix.trace()
    counts = np.bincount(base.dataset.y[rows.query[rows.query >= 0]].numpy(), minlength=6)
    assert np.diag(matrix).tolist() == counts.tolist()
    assert right.class_names == base.dataset.class_names
    first = runner.confusion(torch.zeros_like(rows.query_y)).matrix()
    zero = {int(base.dataset.y[row]) for row in rows.support[(rows.support_y == 0) & (rows.support >= 0)]}
    assert set(np.flatnonzero(first.sum(0)).tolist()) == zero
    assert FromSource(Prototypical(Flat()), Sinusoids(3, 2), 2, CPU).confusion(torch.zeros(2, 2)) is None
