"""Cached answers are fresh answers; batches, modes and order leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.episode import Episode, Items
from regard.errors import ConfigError, DataError, EpisodeError
from regard.evaluation import (
    LOWER_IS_BETTER,
    METRICS,
    Comparison,
    Interval,
    Result,
    compare,
    compare_learners,
    evaluate,
    ranks,
)
from regard.learners.base import EncodingLearner, Learner
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.matching import Matching
from regard.learners.prototypical import Prototypical
from regard.nn.conv4 import Conv4
from regard.nn.encoder import Encoder
from regard.sampling import Dataset, EpisodeSampler


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


class Shift:
    """A transform: adds its noise to the picture."""

    n_noise = 1

    def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + (noise[:, :, None] * 100).to(x.dtype)


class Counting(Encoder):
    """Counts the items it is given."""

    parts, n_features = False, 64

    def __init__(self) -> None:
        super().__init__()
        self.n_items = 0
        self.linear = nn.Linear(64, 64)

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        self.n_items += len(x)
        return self.linear(x.flatten(1).to(self.linear.weight.dtype))


def images(n_classes: int = 12, seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(60, 190, (n_classes, 1, 8, 8), generator=generator)
    x = centre + torch.randint(-60, 61, (n_classes, 9, 8, 8), generator=generator)
    return Dataset.of(x.to(torch.uint8).flatten(0, 1), torch.arange(n_classes).repeat_interleave(9))


def sampler(**change: object) -> EpisodeSampler:
    settings: dict[str, object] = {"n_way": 5, "n_shot": 2, "n_query": 3, "seed": 3}
    return EpisodeSampler(images(), **{**settings, **change})  # type: ignore[arg-type]


def learners() -> dict[str, EncodingLearner]:
    small = {"n_halvings": 2, "image_size": 8}
    return {
        "prototypical": Prototypical(Conv4(n_filters=8, **small), scale=0.1),
        "batch norm": Prototypical(Conv4(n_filters=8, norm="batch", **small), scale=0.1),
        "matching": Matching(Conv4(n_filters=8, **small)),
        "parts": CrossTransformer(Conv4(n_filters=8, parts=True, **small), d_head=4),
    }


def assert_same(a: Result, b: Result) -> None:
    for name in METRICS:
        np.testing.assert_allclose(a.per_episode[name], b.per_episode[name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert a.confusion is not None and b.confusion is not None
    assert a.confusion.matrix().tolist() == b.confusion.matrix().tolist()
    assert a.digest == b.digest


@pytest.mark.parametrize("name", list(learners()))
@pytest.mark.parametrize("n_way", [5, (2, 6)])
def test_cached_is_fresh_and_batches_do_not_matter(name: str, n_way: int | tuple[int, int]) -> None:
    learner, episodes = learners()[name], sampler(n_way=n_way, n_shot=(1, 3))
    one = evaluate(learner, episodes, 7, batch=1)
    assert_same(one, evaluate(learner, episodes, 7, batch=1, cache=False))
    assert_same(one, evaluate(learner, episodes, 7, batch=3))
    assert_same(one, evaluate(learner, episodes, 7, batch=100, cache=False))


def test_equals_a_loop_by_hand() -> None:
    learner, episodes = learners()["prototypical"].eval(), sampler(n_way=(2, 5))
    result = evaluate(learner, episodes, 4)
    for i in range(4):
        episode = episodes([i])
        with torch.no_grad():
            right = learner(episode).argmax(-1) == episode.query_y
        expected = right[episode.query_weight > 0].double().mean()
        assert result.per_episode["accuracy"][i] == pytest.approx(float(expected))
    assert result.metrics["accuracy"].mean == pytest.approx(result.per_episode["accuracy"].mean())
    assert result.calibration is not None
    assert result.metrics["ece"].mean == pytest.approx(result.calibration.ece)
    assert (result.n_way, result.n_shot, result.n_query) == ((2, 5), 2, 3)
    assert (result.episodes, result.seed, result.transductive) == (4, 3, False)


def test_confusion_is_over_the_classes_of_the_data() -> None:
    result = evaluate(Prototypical(Counting()), sampler(), 30)
    assert result.confusion is not None
    matrix = result.confusion.matrix()
    assert matrix.shape == (12, 12)
    assert matrix.sum() == 30 * 5 * 3
    assert matrix.trace() == pytest.approx(30 * 5 * 3 * result.metrics["accuracy"].mean)


def test_each_item_is_encoded_once_and_only_if_needed() -> None:
    encoder, episodes = Counting(), sampler(n_query=1)
    evaluate(Prototypical(encoder), episodes, 50)
    assert encoder.n_items <= len(episodes.dataset)
    few = Counting()
    evaluate(Prototypical(few), episodes, 2)
    assert few.n_items <= 2 * 15 + 1
    again = Counting()
    evaluate(Prototypical(again), episodes, 50, cache=False)
    assert again.n_items == 50 * 15


def test_a_transform_is_not_cached_away() -> None:
    encoder = Counting()
    distorted = evaluate(Prototypical(encoder), sampler(transform=Shift()), 3)
    assert encoder.n_items == 3 * 25
    assert distorted.digest != evaluate(Prototypical(encoder), sampler(), 3).digest


def test_a_transductive_learner_gets_one_episode_at_a_time() -> None:
    learner = Prototypical(Conv4(n_filters=8, norm="transductive", n_halvings=2, image_size=8), scale=0.1)
    a, b = evaluate(learner, sampler(), 5, batch=1), evaluate(learner, sampler(), 5, batch=5)
    assert_same(a, b)
    assert a.transductive


def test_modes_state_and_gradients_are_as_before() -> None:
    learner = learners()["batch norm"].train()
    learner.encoder.eval()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    evaluate(learner, sampler(), 3)
    evaluate(learner, sampler(), 3, cache=False)
    assert learner.training and not learner.encoder.training
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    learner.loss(sampler()([0])).sum().backward()


def test_modes_are_restored_after_an_error() -> None:
    class Failing(Learner):
        def adapt(self, support: object) -> None:
            assert not self.training
            raise EpisodeError("on purpose")

        def predict(self, state: object, query_x: Items) -> Tensor:
            raise NotImplementedError

    learner = Failing()
    with pytest.raises(EpisodeError, match="on purpose"):
        evaluate(learner, sampler(), 3)
    assert learner.training


def test_progress_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(learners()["prototypical"], sampler(), 5, batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_refuses_what_cannot_be_evaluated() -> None:
    class Numbers(Learner):
        def adapt(self, support: object) -> None:
            return None

        def predict(self, state: object, query_x: Items) -> torch.distributions.Normal:
            return torch.distributions.Normal(0.0, 1.0)

        def forward(self, episode: Episode) -> torch.distributions.Normal:
            return self.predict(None, episode.query_x)

    with pytest.raises(EpisodeError, match="the learner answered with a Normal"):
        evaluate(Numbers(), sampler(), 3)
    with pytest.raises(ConfigError, match="at least 2"):
        evaluate(learners()["prototypical"], sampler(), 1)
    with pytest.raises(ConfigError, match="batch is 0"):
        evaluate(learners()["prototypical"], sampler(), 3, batch=0)


# ---- compare ---------------------------------------------------------------------------------------------------------


def result_with(name: str, accuracy: np.ndarray, **change: object) -> Result:
    base = evaluate(Prototypical(Counting()), sampler(), len(accuracy), name=name)
    return replace(base, per_episode={"accuracy": accuracy, "nll": 1 - accuracy}, **change)  # type: ignore[arg-type]


def test_ties_are_reported_as_ties_and_ranks_share() -> None:
    generator = np.random.default_rng(0)
    hard = generator.uniform(size=60)
    a, b, c = (
        result_with(n, hard + s + 0.02 * generator.normal(size=60)) for n, s in zip("abc", (0, 0, -0.1), strict=True)
    )
    compared = compare([a, b, c], ["accuracy", "nll"])
    assert [(t.a, t.b, t.metric, t.tie, t.better) for t in compared] == [
        ("a", "b", "accuracy", True, None),
        ("a", "b", "nll", True, None),
        ("a", "c", "accuracy", False, "a"),
        ("a", "c", "nll", False, "a"),
        ("b", "c", "accuracy", False, "b"),
        ("b", "c", "nll", False, "b"),
    ]
    assert "nll" in LOWER_IS_BETTER
    assert ranks(compared) == ranks(compared, "nll") == {"a": 1, "b": 1, "c": 3}
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        ranks(compared, "acuracy")


def comparison(a: str, b: str, low: float, high: float, metric: str = "accuracy") -> Comparison:
    return Comparison(a, b, "toy", 5, 1, metric, Interval((low + high) / 2, low, high))


def test_an_interval_that_touches_zero_is_a_tie() -> None:
    assert comparison("a", "b", 0.0, 0.2).tie and comparison("a", "b", -0.2, 0.0).tie
    assert comparison("a", "b", 1e-9, 0.2).better == "a" and comparison("a", "b", -0.2, -1e-9).better == "b"
    assert comparison("a", "b", 0.1, 0.2, "crps").better == "b"
    assert comparison("a", "b", 0.1, 0.2, "coverage").better is None


def test_ranks_count_the_clearly_better() -> None:
    tied, clear = (-0.1, 0.1), (0.1, 0.2)
    pairs = {"ab": tied, "ac": clear, "ad": clear, "bc": tied, "bd": clear, "cd": tied}
    assert ranks([comparison(*pair, *bounds) for pair, bounds in pairs.items()]) == {"a": 1, "b": 1, "c": 2, "d": 3}
    assert ranks([comparison(*pair, *tied) for pair in pairs]) == dict.fromkeys("abcd", 1)


def test_compare_learners_asks_the_same_episodes() -> None:
    chosen = {"a": learners()["prototypical"], "b": learners()["matching"]}
    results, comparisons = compare_learners(chosen, sampler(), 6, data="toy")
    assert [r.learner for r in results] == ["a", "b"]
    assert len(comparisons) == len(METRICS)
    first = comparisons[0]
    gap = results[0].per_episode["accuracy"] - results[1].per_episode["accuracy"]
    assert (first.metric, first.data) == ("accuracy", "toy")
    assert first.difference.mean == pytest.approx(gap.mean())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 4}, "seed is 3 for 'a' and 4 for 'b'"),
        ({"n_way": 4}, "n_way is 5 for 'a' and 4 for 'b'"),
        ({"transform": Shift()}, "digest is"),
    ],
)
def test_compare_refuses_different_episodes(other: dict[str, object], message: str) -> None:
    learner = learners()["prototypical"]
    a = evaluate(learner, sampler(), 3, name="a")
    with pytest.raises(DataError, match=message):
        compare([a, evaluate(learner, sampler(**other), 3, name="b")])


def test_compare_refuses_other_data_under_the_same_name() -> None:
    learner = learners()["prototypical"]
    a = evaluate(learner, sampler(), 3, name="a")
    b = evaluate(learner, EpisodeSampler(images(seed=9), 5, 2, 3, seed=3), 3, name="b")
    with pytest.raises(DataError, match="digest"):
        compare([a, b])


def test_compare_refuses_repeated_names_missing_values_and_unknown_metrics() -> None:
    a = evaluate(learners()["prototypical"], sampler(), 3, name="a")
    with pytest.raises(DataError, match="a name of its own"):
        compare([a, a])
    with pytest.raises(DataError, match="two or more"):
        compare([a])
    with pytest.raises(DataError, match="'b' has no per-episode values"):
        compare([a, replace(a, learner="b", per_episode={})])
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        compare([a, replace(a, learner="b")], ["accuracyy"])
