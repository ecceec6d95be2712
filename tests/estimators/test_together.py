"""Questions to several estimators are answered as each estimator alone answers them, in fewer passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from regard.episode import first_tensor
from regard.errors import EpisodeError, RegardError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.estimators.together import answer_together
from regard.learners import Matching, Prototypical, TableTransformer
from regard.learners.states import join_states, tensors_of
from regard.nn.mlp import MLP

RNG = np.random.default_rng(0)


def tables(n: int, n_rows: int = 8, n_classes: int = 2, **options: Any) -> list[FewShotClassifier]:
    torch.manual_seed(0)
    learner = TableTransformer(d_cell=8, d_row=8, n_table_layers=1, n_row_layers=1, n_row_heads=2, n_codes=3).eval()
    first = FewShotClassifier(learner, **options)
    made = [first.fit(RNG.normal(size=(n_rows, 3)), np.arange(n_rows) % n_classes)]
    for _ in range(n - 1):
        model = FewShotClassifier(learner, **options).fit(RNG.normal(size=(n_rows, 3)), np.arange(n_rows) % n_classes)
        model._learner = made[0]._learner  # as where a learner is read from its file once
        made.append(model)
    return made


def passes_of(learner: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tasks of each pass from now on."""
    seen: list[int] = []
    predict: Any = learner.predict

    def counted(state: Any, x: Any) -> Any:
        seen.append(len(first_tensor(x)))
        return predict(state, x)

    monkeypatch.setattr(learner, "predict", counted)
    return seen


@pytest.mark.parametrize(("n_views", "n_classes"), [(1, 2), (3, 2), (2, 5)])
def test_each_gets_what_it_gets_alone(n_views: int, n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tables(4, 10, n_classes, n_estimators=n_views)
    queries = [RNG.normal(size=(n, 3)) for n in (1, 4, 2, 3)]
    expected = [model.predict_proba(x) for model, x in zip(models, queries, strict=True)]
    seen = passes_of(models[0]._learner, monkeypatch)
    for model, found, probability in zip(
        models, answer_together(list(zip(models, queries, strict=True))), expected, strict=True
    ):
        assert not isinstance(found, RegardError)
        np.testing.assert_allclose(model.predictions_of(found).probability, probability, atol=1e-5)
    assert seen == [4 * n_views]


def test_questions_to_one_are_one_task_and_attention_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = FewShotClassifier(Matching(MLP(3, 4, [4])).eval()).fit(RNG.normal(size=(6, 3)), [0, 1] * 3)
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 3))
    found = answer_together([(model, a), (model, b)])
    for x, one in zip((a, b), found, strict=True):
        assert not isinstance(one, RegardError)
        attention = model.predictions_of(one).attention
        assert attention is not None
        np.testing.assert_allclose(attention, model.attention(x), atol=1e-6)


def test_other_sizes_other_learners_and_faults_do_not_disturb() -> None:
    small, large = tables(2), tables(1, n_rows=12)
    proto = FewShotClassifier(Prototypical(MLP(3, 4, [4])).eval()).fit(RNG.normal(size=(6, 3)), ["a", "b"] * 3)
    x = RNG.normal(size=(2, 3))
    questions = [(small[0], x), (small[1], x[:, :2]), (large[0], x), (proto, x), (small[1], x), (small[0], x[:0])]
    found = answer_together(questions)
    assert isinstance(found[1], EpisodeError) and isinstance(found[5], EpisodeError)
    for number in (0, 2, 3, 4):
        one, model = found[number], questions[number][0]
        assert not isinstance(one, RegardError)
        np.testing.assert_allclose(model.predictions_of(one).probability, model.predict_proba(x), atol=1e-5)


def test_a_pass_is_no_larger_than_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    models = tables(5, chunk_size=4)
    seen = passes_of(models[0]._learner, monkeypatch)
    answer_together([(model, RNG.normal(size=(2, 3))) for model in models])
    assert seen == [2, 2, 1]


def test_numbers_are_answered_too() -> None:
    x = RNG.normal(size=(10, 3))
    models = [FewShotRegressor("tables").fit(x, scale * x[:, 0] + 5) for scale in (1, 30)]
    for model, found in zip(models, answer_together([(model, x[:3]) for model in models]), strict=True):
        assert not isinstance(found, RegardError)
        value, deviation = model.predictions_of(found)
        expected = model.predict(x[:3], return_std=True)
        np.testing.assert_allclose(value, expected[0], rtol=1e-5)
        np.testing.assert_allclose(deviation, expected[1], rtol=1e-5)


def test_states_that_differ_in_more_than_tasks_are_not_joined() -> None:
    one = torch.zeros(1, 2)
    joined = join_states([{"a": (one, 3)}, {"a": (one + 1, 3)}])
    assert joined["a"][0].shape == (2, 2) and joined["a"][1] == 3
    assert [t.shape for t in tensors_of(joined)] == [(2, 2)]
    for other in (torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.int64), "x"):
        with pytest.raises(EpisodeError):
            join_states([one, other])
    for a, b in (({"a": one}, {"b": one}), ((one,), (one, one)), ((one, 1), (one, 2))):
        with pytest.raises(EpisodeError):
            join_states([a, b])
