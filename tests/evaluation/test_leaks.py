"""Each leak is planted, and found by the check that is for it; a clean learner on clean data passes every check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.domains.base import digests
from regard.episode import Items, Support
from regard.errors import DataError
from regard.evaluation.leaks import CHECKS, Finding, answers, data, find_leaks
from regard.learners import Prototypical
from regard.learners.base import EncodingLearner, Learner, hide_absent
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import scores
from regard.nn.flat import Flat
from regard.nn.norm import TransductiveNorm
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler

SIDE, N_ITEMS = 8, 8


def pictures(n_classes: int, seed: int) -> Dataset:
    """Noisy copies of one random picture a class."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.rand(n_classes, 1, SIDE, SIDE, generator=generator)
    x = kind + 0.5 * torch.randn(n_classes, N_ITEMS, SIDE, SIDE, generator=generator)
    y = torch.arange(n_classes).repeat_interleave(N_ITEMS)
    return Dataset(x.flatten(0, 1), y, tuple(f"{seed}-{c:02d}" for c in range(n_classes)))


TRAIN, TEST = pictures(6, 1), pictures(12, 2)
PARTS = {"train": TRAIN, "test": TEST}


def sampler(dataset: Dataset = TEST) -> EpisodeSampler:
    return EpisodeSampler(dataset, n_way=4, n_shot=2, n_query=3)


def look(learner: Learner, check: object, *, of: EpisodeSampler | None = None, n_episodes: int = 20) -> Finding:
    found = find_leaks(learner, of or sampler(), PARTS, n_episodes=n_episodes, checks=[check])  # type: ignore[list-item]
    assert len(found) == 1
    return found[0]


def honest() -> Learner:
    return Prototypical(Flat())


def test_an_honest_learner_on_clean_data_passes_everything() -> None:
    found = find_leaks(honest(), sampler(), PARTS)
    assert len(found) == len(CHECKS) == 20
    # Those of several tasks per item and of sentence pairs have nothing to look at here.
    assert {f.check for f in found if f.verdict != "passed"} == {
        "no task repeats the labels of another split's",
        "no item of the test tasks is trained on",
        "no English side of a query is trained on",
        "few English sides of queries are nearly trained on",
    }
    assert not [f for f in found if f.verdict == "failed"]


def test_checks_leave_the_learner_as_it_came() -> None:
    learner = honest().train()
    find_leaks(learner, sampler(), PARTS, n_episodes=2)
    assert learner.training


# ---- leaks of the data -----------------------------------------------------------------------------------------------


def test_a_class_in_two_parts_is_found() -> None:
    both = replace(TRAIN, class_names=(*TRAIN.class_names[:-1], TEST.class_names[3]))
    found = find_leaks(honest(), sampler(), {"train": both, "test": TEST}, checks=[data.class_names_stand_in_one_split])
    assert found[0].verdict == "failed" and TEST.class_names[3] in found[0].proof


def test_one_item_under_two_names_is_found() -> None:
    x = TRAIN.x.clone()  # type: ignore[union-attr]
    x[5] = TEST.x[40]  # type: ignore[index]
    parts = {"train": replace(TRAIN, x=x), "test": TEST}
    found = find_leaks(honest(), sampler(), parts, checks=[data.contents_stand_in_one_split])
    assert found[0].verdict == "failed"
    assert TRAIN.class_names[0] in found[0].proof and TEST.class_names[5] in found[0].proof


def test_a_picture_brightened_and_a_little_noisy_is_found_in_training() -> None:
    x = TRAIN.x.clone()  # type: ignore[union-attr]
    x[5] = TEST.x[40] * 1.5 + 0.2 + 0.01 * torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(3))  # type: ignore[index]
    parts = {"train": replace(TRAIN, x=x), "test": TEST}
    exact, near = data.contents_stand_in_one_split, data.contents_have_no_near_copy
    found = find_leaks(honest(), sampler(), parts, checks=[exact, near])
    assert [f.verdict for f in found] == ["passed", "failed"]
    assert TEST.class_names[5] in found[1].proof


def test_without_training_data_it_does_not_apply() -> None:
    found = find_leaks(honest(), sampler(), None, n_episodes=2)
    assert [f.verdict for f in found[:4]] == ["does not apply"] * 4


class SupportAsked(EpisodeSampler):
    """The first query of each episode is its first support item."""

    def rows(self, episodes: Sequence[int] | NDArray[np.int64]) -> EpisodeRows:
        rows = super().rows(episodes)
        query = rows.query.clone()
        query[:, 0] = rows.support[:, 0]
        return replace(rows, query=query)


def test_a_support_item_asked_as_a_query_is_found() -> None:
    planted = look(honest(), data.support_and_query_share_no_item, of=SupportAsked(TEST, 4, 2, 3))
    assert planted.verdict == "failed" and "query row" in planted.proof


def test_an_item_that_stands_twice_in_the_data_is_found_between_support_and_query() -> None:
    x = TEST.x.clone()  # type: ignore[union-attr]
    x[1::2] = x[0::2]
    twice = sampler(replace(TEST, x=x))
    assert look(honest(), data.support_and_query_share_no_item, of=twice).verdict == "failed"
    x[1::2] += 0.001 * torch.randn(x[1::2].shape, generator=torch.Generator().manual_seed(4))
    nearly = sampler(replace(TEST, x=x))
    assert look(honest(), data.support_and_query_share_no_item, of=nearly).verdict == "passed"
    assert look(honest(), data.support_and_query_share_no_near_copy, of=nearly).verdict == "failed"


class Sorted(EpisodeSampler):
    """Labels follow the order of the classes, as `np.unique(..., return_inverse=True)` gives them."""

    def rows(self, episodes: Sequence[int] | NDArray[np.int64]) -> EpisodeRows:
        rows = super().rows(episodes)
        y, support_y, query_y = self.dataset.y, rows.support_y.clone(), rows.query_y.clone()
        for b in range(len(rows)):
            kinds = torch.unique(y[rows.support[b]])
            support_y[b] = torch.searchsorted(kinds, y[rows.support[b]])
            query_y[b] = torch.searchsorted(kinds, y[rows.query[b]])
        return replace(rows, support_y=support_y, query_y=query_y)


def test_labels_in_the_order_of_the_classes_are_found() -> None:
    planted = look(honest(), data.labels_do_not_follow_the_classes, of=Sorted(TEST, 4, 2, 3))
    assert planted.verdict == "failed" and "rank correlation" in planted.proof


# ---- leaks in the answers --------------------------------------------------------------------------------------------


class _Plain(EncodingLearner):
    """Prototypical, to be spoiled by subclasses, each in one way."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: nn.Module = Flat()

    def adapt_encoded(self, support: Support) -> Prototypes:
        return class_means(support.x, support)  # type: ignore[arg-type]

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return hide_absent(scores(query_z, state.centre, "distance"), state.mass)


class Remembers(_Plain):
    """Knows the test classes by heart, in their order: it needs no support."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kinds", torch.stack([TEST.x[i * N_ITEMS : (i + 1) * N_ITEMS].mean(0) for i in range(12)]))  # type: ignore[index]

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        kind = scores(query_z, self.kinds.flatten(1), "distance").argmax(-1)  # type: ignore[operator]
        # The sorted labels of four of twelve classes grow with the class.
        label = (kind * state.mass.shape[1] // 12).clamp_max(state.mass.shape[1] - 1)
        return hide_absent(nn.functional.one_hot(label, state.mass.shape[1]).to(query_z) * 10, state.mass)


def test_knowledge_before_evidence_is_found_where_labels_leak() -> None:
    leaking = Sorted(TEST, 4, 2, 3)
    planted = look(Remembers(), answers.nothing_is_known_without_evidence, of=leaking, n_episodes=60)
    assert planted.verdict == "failed" and "above chance" in planted.proof
    clean = look(Remembers(), answers.nothing_is_known_without_evidence, n_episodes=60)
    assert clean.verdict == "passed"


class Favourite(_Plain):
    """Prefers class 0 whatever it sees, and says that names do not matter."""

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = scores(query_z, state.centre, "distance")
        return hide_absent(logits + 3 * (torch.arange(logits.shape[-1]) == 0), state.mass)


class Modest(Favourite):
    """The same, and makes no such promise; the favourite costs accuracy, but not by the names."""

    relabels = False


def test_a_favourite_class_is_found() -> None:
    assert look(Favourite(), answers.classes_can_be_renamed).verdict == "failed"
    assert look(Modest(), answers.classes_can_be_renamed).verdict == "passed"


class Positions(_Plain):
    """Knows that queries come in the order of their classes."""

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        n_queries, n_classes = query_z.shape[1], state.mass.shape[1]
        label = torch.arange(n_queries) * n_classes // n_queries
        return nn.functional.one_hot(label, n_classes).to(query_z).expand(len(query_z), -1, -1) * 10


def test_the_order_of_queries_is_found() -> None:
    assert look(Positions(), answers.queries_can_be_shuffled).verdict == "failed"


class _Centred(_Plain):
    """Subtracts the mean of all queries."""

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        moved = query_z - query_z.mean(1, keepdim=True)
        return hide_absent(scores(moved, state.centre, "distance"), state.mass)


class _Normed(_Plain):
    """Batch statistics of whatever it is given, which it says."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _FlatNormed()


class _FlatNormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = TransductiveNorm(1)

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return self.norm(x[:, None]).flatten(1)


@pytest.mark.parametrize("check", [answers.queries_can_be_removed, answers.no_statistics_of_other_queries])
def test_peeking_at_other_queries_is_found_and_allowed_where_it_is_told(check: object) -> None:
    assert look(_Centred(), check).verdict == "failed"
    told = look(_Normed(), check)
    assert told.verdict == "does not apply" and "transductive" in told.proof and "differ by" in told.proof


class Moody(_Plain):
    """Draws its answer from the global generator."""

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = scores(query_z, state.centre, "distance")
        return hide_absent(logits + 1e-3 * torch.randn_like(logits), state.mass)


def test_a_random_answer_is_found() -> None:
    assert look(Moody(), answers.the_same_episode_gives_the_same_prediction).verdict == "failed"


class Neighbourly(_Plain):
    """Its prototypes are moved by the other tasks of the batch."""

    def adapt_encoded(self, support: Support) -> Prototypes:
        means = class_means(support.x, support)  # type: ignore[arg-type]
        return replace(means, centre=means.centre + means.centre.mean(0, keepdim=True))


def test_tasks_that_see_each_other_are_found() -> None:
    assert look(Neighbourly(), answers.a_batch_of_one_is_a_batch_of_many).verdict == "failed"


# ---- content ---------------------------------------------------------------------------------------------------------


def test_digests_tell_items_apart_and_read_dicts() -> None:
    ids = torch.tensor([[1, 2], [1, 2], [2, 1]])
    first, second, third = digests({"ids": ids, "mask": torch.ones(3, 2)})
    assert first == second != third


def test_one_episode_is_too_few() -> None:
    with pytest.raises(DataError, match="at least 2"):
        find_leaks(honest(), sampler(), n_episodes=1)
