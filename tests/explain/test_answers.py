"""An explanation says what carrying out its changes shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.evaluation.intervals import Interval
from regard.explain import Counterfactual, Explanation, explain
from regard.learners import MAML, CrossTransformer, Learner, Matching, Prototypical
from regard.nn.conv4 import Conv4
from regard.nn.flat import Flat


def task(n_per_class: int = 3, n_queries: int = 5, seed: int = 0) -> Episode:
    """Three overlapping classes: some answers can be turned by one example."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat_interleave(n_per_class)
    centres = torch.tensor([[1.0, 0.0], [0.5, 0.9], [-0.5, 0.9]])
    x = 0.5 * torch.randn(len(y), 2, generator=generator) + centres[y]
    query = 0.5 * torch.randn(n_queries, 2, generator=generator) + centres[1]
    return Episode(Support(x[None], y[None], n_classes=3), query[None], torch.zeros(1, n_queries).long())


def answer(learner: Learner, support: Support, query: Tensor) -> Tensor:
    output = learner.predict(learner.adapt(support), query)
    assert isinstance(output, Tensor)
    return output[0].softmax(-1).detach()


LEARNERS = {
    "attention": lambda: Matching(Flat(), scale=3.0),
    "influence": lambda: Prototypical(Flat()),
    "gradient": lambda: MAML(torch.nn.Linear(2, 3), inner_lr=0.5, inner_steps=2),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_claim_holds_when_it_is_carried_out(name: str) -> None:
    torch.manual_seed(0)
    learner, episode = LEARNERS[name](), task()
    support = episode.support
    found = explain(learner, episode)
    before = answer(learner, support, episode.query_x)
    assert found.predicted.tolist() == before.argmax(-1).tolist()
    turned = 0
    for query in range(len(found.predicted)):
        predicted = int(found.predicted[query])
        turning = []
        for row in range(support.n_rows):
            weight = support.weight.clone()
            weight[0, row] = 0
            after = answer(learner, Support(support.x, support.y, weight, 3), episode.query_x)[query]
            assert found.drop[query, row] == pytest.approx(float(before[query, predicted] - after[predicted]), abs=1e-5)
            if int(after.argmax()) != predicted:
                turning.append(row)
        turn = found.removed[query]
        assert (turn is None) == (not turning)
        if turn is not None:
            assert turn.example == max(turning, key=lambda row: found.drop[query, row])
            turned += 1
        change = found.relabelled[query]
        if change is not None:
            y = support.y.clone()
            assert change.label is not None
            y[0, change.example] = change.label
            after = answer(learner, Support(support.x, y, support.weight, 3), episode.query_x)[query]
            assert int(after.argmax()) == change.answer != predicted
            assert float(after.max()) == pytest.approx(change.probability, abs=1e-5)
            turned += 1
    assert turned


def test_attention_that_rebuilds_the_answer_is_shown_and_other_attention_is_not() -> None:
    learner, episode = Matching(Flat(), scale=3.0), task()
    found = explain(learner, episode)
    assert found.kind == "attention"
    attention = learner.attend(learner.adapt(episode.support), episode.query_x)[0].detach()
    np.testing.assert_allclose(found.contribution, attention.numpy(), rtol=1e-5)
    assert explain(Prototypical(Flat()), episode).kind == "influence"


def test_an_example_of_weight_zero_contributes_nothing_and_turns_nothing() -> None:
    episode = task()
    support = Support(episode.support.x, episode.support.y, torch.tensor([[1.0] * 8 + [0.0]]), 3)
    found = explain(Prototypical(Flat()), Episode(support, episode.query_x, episode.query_y))
    assert np.abs(found.contribution[:, 8]).max() == 0
    assert np.abs(found.drop[:, 8]).max() < 1e-6
    turns = [turn for turn in found.removed + found.relabelled if turn is not None]
    assert all(turn.example != 8 for turn in turns)


def test_trust_tells_attention_from_noise() -> None:
    """Attention of Matching names what it uses; the same numbers shuffled among the examples do not."""
    episode = task(n_per_class=4, n_queries=80)
    found = explain(Matching(Flat(), scale=8.0), episode)
    assert found.believed

    class Shuffled(Matching):
        def attend(self, state: object, query_x: object) -> Tensor:
            honest = super().attend(state, query_x)
            return honest[..., torch.randperm(honest.shape[-1], generator=torch.Generator().manual_seed(0))]

    assert explain(Shuffled(Flat(), scale=8.0), episode).believed is False


@pytest.mark.parametrize("episode", [task(n_per_class=1), task(n_queries=1)])
def test_trust_that_cannot_be_measured_is_not_claimed(episode: Episode) -> None:
    found = explain(Matching(Flat()), episode)
    assert found.trust is None
    assert found.believed is None


def test_numbers_are_explained_by_what_moves_them() -> None:
    torch.manual_seed(0)
    x = torch.stack([torch.linspace(-1, 1, 6), torch.ones(6)], -1)[None]
    learner = Matching(Flat(), scale=3.0)
    found = explain(learner, Episode(Support(x, 3 * x[..., :1]), x[:, :2], 3 * x[:, :2, :1]))
    mean = (found.contribution * 3 * x[0, :, 0].numpy()).sum(1)
    np.testing.assert_allclose(found.probability, mean, rtol=1e-5)
    assert found.removed == found.relabelled == [None, None]


def test_several_tasks_and_transductive_learners_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 2, 8, 8, generator=generator)
    y = torch.tensor([[0, 1], [0, 1]])
    episode = Episode(Support(x, y), x, y)
    with pytest.raises(EpisodeError, match="2 tasks: expected one"):
        explain(Prototypical(Flat()), episode)
    encoder = Conv4(1, 4, n_halvings=1, image_size=8, norm="transductive")
    with pytest.raises(ConfigError, match="transductive"):
        explain(CrossTransformer(encoder), episode.tasks(slice(0, 1)))


def test_the_estimator_explains_in_the_classes_of_the_user() -> None:
    generator = np.random.default_rng(0)
    y = np.repeat(["left", "right"], 6)
    x = generator.normal(size=(12, 3)) + 2 * (y == "right")[:, None]
    model = FewShotClassifier("tables", n_estimators=3).fit(x, y)
    found = model.explain(x[:4] + 0.1)
    assert model.classes_[found.predicted].tolist() == ["left"] * 4
    assert found.contribution.shape == found.drop.shape == (4, 12)
    assert FewShotRegressor("tables").fit(x, x[:, 0]).explain(x[:2]).contribution.shape == (2, 12)


def one_query(low: float | None, *, is_regression: bool = False) -> Explanation:
    trust = None if low is None else Interval(low + 0.1, low, low + 0.2)
    drop = np.array([[0.01, -0.25, 0.5, 0.0]])
    turn = None if is_regression else Counterfactual(2, None, 0, 0.61)
    one = np.zeros(1, np.int64)
    return Explanation("influence", one, np.array([0.75]), drop, drop, [turn], [None], trust, is_regression)


@pytest.mark.parametrize(
    ("low", "start"),
    [(0.05, "The examples named here are the ones"), (-0.05, "Do not believe"), (None, "Whether the examples")],
)
def test_the_sentence_follows_the_interval(low: float | None, start: str) -> None:
    assert one_query(low).trust_sentence.startswith(start)


def test_few_queries_are_not_said_to_have_shown_chance() -> None:
    assert one_query(-0.05).trust_sentence.endswith("which so few queries cannot tell from chance.")
    assert one_query(-0.15).trust_sentence.endswith("which is no better than chance.")


def test_printed_it_says_what_each_change_does() -> None:
    lines = str(one_query(0.05)).splitlines()
    assert lines[0] == (
        "query 0: class 0, 75%; -50.0 points without example 2, +25.0 points without example 1, "
        "-1.0 points without example 0"
    )
    assert lines[1] == "    class 0, 61%, were example 2 removed"
    assert lines[-1] == one_query(0.05).trust_sentence
    number = str(one_query(None, is_regression=True)).splitlines()
    assert number[0].startswith("query 0: 0.75; -0.5 without example 2, +0.25 without example 1")


def test_printed_classes_have_the_users_names_and_many_queries_are_counted() -> None:
    X, y = np.eye(2).repeat(3, 0), np.repeat(["oak", "fir"], 3)
    told = str(FewShotClassifier(Prototypical(Flat())).fit(X, y).explain(np.tile(X, (2, 1))))
    assert told.startswith("query 0: oak, ")
    assert "query 3: fir, " in told
    assert "and 2 more queries" in told
