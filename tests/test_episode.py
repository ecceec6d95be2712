"""The episode as a value: shapes at construction, values at check, and moving it about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from inspect import unwrap

import numpy as np
import pytest
import torch
from jaxtyping import config
from torch import Tensor

from regard.episode import Episode, Support, first_tensor, flatten_tasks, map_items, unflatten_tasks
from regard.errors import EpisodeError, RegardError, did_you_mean

Y = torch.tensor([[0, 1, 2], [0, 1, 0]])


def support(**changed: object) -> Support:
    return Support(**{"x": torch.arange(24.0).view(2, 3, 4), "y": Y, **changed})  # type: ignore[arg-type]


def episode(**changed: object) -> Episode:
    values = {"support": support(), "query_x": torch.ones(2, 2, 4), "query_y": torch.zeros(2, 2, dtype=torch.int64)}
    return Episode(**{**values, **changed})  # type: ignore[arg-type]


def test_defaults_are_weight_one_and_classes_counted() -> None:
    one = episode()
    assert torch.equal(one.support.weight, torch.ones(2, 3))
    assert torch.equal(one.query_weight, torch.ones(2, 2))
    assert (one.n_classes, one.n_tasks, one.support.n_rows, one.support.n_tasks) == (3, 2, 3, 2)
    assert not one.support.is_regression


def test_more_classes_than_the_support_shows_are_told_to_it() -> None:
    wide = episode(n_classes=7)
    assert wide.support.n_classes == 7
    assert wide.support.one_hot().shape == (2, 3, 7)


def test_membership_is_the_weight_in_the_column_of_the_class() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    wanted = torch.zeros(2, 3, 3)
    for b in range(2):
        for s in range(3):
            wanted[b, s, Y[b, s]] = weight[b, s]
    assert torch.equal(support(weight=weight).membership(), wanted)


def test_membership_lets_gradients_through_to_the_weight() -> None:
    weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    support(weight=weight).membership().sum().backward()
    assert torch.equal(weight.grad, torch.ones(2, 3, dtype=torch.float64))  # type: ignore[arg-type]


def test_targets_make_it_regression_with_weights_of_their_dtype() -> None:
    regression = support(y=torch.zeros(2, 3, 1, dtype=torch.float64))
    assert regression.is_regression
    assert regression.n_classes == 0
    assert regression.weight.dtype == torch.float64


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        support().x = torch.zeros(1)  # type: ignore[misc]


def test_casting_touches_floats_only_and_reaches_everything() -> None:
    bytes_ = episode(query_x={"ids": torch.ones(2, 2, 4, dtype=torch.int64), "mask": torch.ones(2, 2)})
    cast = bytes_.to(dtype=torch.float64)
    assert cast.support.x.dtype == cast.support.weight.dtype == cast.query_weight.dtype == torch.float64  # type: ignore[union-attr]
    assert cast.query_x["mask"].dtype == torch.float64  # type: ignore[index]
    assert cast.query_x["ids"].dtype == cast.query_y.dtype == torch.int64  # type: ignore[index]


def test_tasks_cuts_every_tensor_and_detach_every_graph() -> None:
    whole = episode(support=support(weight=torch.ones(2, 3, requires_grad=True)))
    second = whole.tasks(slice(1, 2))
    assert second.n_tasks == 1
    assert torch.equal(second.support.y, Y[1:])
    assert torch.equal(second.query_x, whole.query_x[1:])  # type: ignore[index]
    assert second.n_classes == 3  # the batch's, so that answers keep their columns
    assert torch.equal(whole.tasks(torch.tensor([1, 0])).support.y, Y.flip(0))
    assert whole.support.weight.requires_grad
    assert not whole.detach().support.weight.requires_grad


def test_flattening_tasks_and_back() -> None:
    x = torch.arange(24).view(2, 3, 4)
    assert torch.equal(unflatten_tasks(flatten_tasks(x), 2), x)
    assert flatten_tasks({"a": x, "b": x[..., 0]})["b"].shape == (6,)
    assert unflatten_tasks(torch.zeros(0, 4), 0).shape == (0, 0, 4)
    assert torch.equal(map_items(lambda t: t + 1, x), x + 1)
    assert torch.equal(first_tensor({"a": x}), x)
    with pytest.raises(EpisodeError, match="empty dict"):
        first_tensor({})


SHAPES: list[tuple[Callable[[], object], str]] = [
    (lambda: support(y=Y[0]), r"y\[None\]"),
    (lambda: support(y=Y.float()), r"y\.long\(\)"),
    (lambda: support(y=Y.int()), r"y\.long\(\)"),
    (lambda: support(y=Y[..., None].int()), "targets as floats"),
    (lambda: support(x=torch.zeros(2, 4, 4)), r"support x has shape \(2, 4, 4\)"),
    (lambda: support(x={"ids": torch.zeros(2, 3), "mask": torch.zeros(3, 2)}), "support mask"),
    (lambda: support(weight=torch.ones(2, 2)), "support weight"),
    (lambda: episode(query_x=torch.ones(2, 3, 4)), "query x"),
    (lambda: episode(query_weight=torch.ones(2, 3)), "query weight"),
    (
        lambda: episode(query_x=torch.ones(3, 2, 4), query_y=torch.zeros(3, 2, dtype=torch.int64)),
        "support holds 2 tasks",
    ),
]


@pytest.mark.parametrize(("make", "message"), SHAPES)
def test_shapes_that_disagree_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert isinstance(caught.value, EpisodeError)
    assert isinstance(caught.value, RegardError)


def with_value(x: Tensor, value: float) -> Tensor:
    changed = x.clone()
    changed[0, 1] = value
    return changed


X = torch.ones(2, 3, 4)
VALUES: list[tuple[Callable[[], Episode], str]] = [
    (lambda: episode(support=support(x=with_value(X, float("nan")))), "support x has NaN"),
    (lambda: episode(query_x=with_value(torch.ones(2, 2, 4), float("inf"))), "query x has NaN or infinite"),
    (lambda: episode(support=support(weight=with_value(torch.ones(2, 3), -1.0))), "support weight has negative"),
    (lambda: episode(query_weight=with_value(torch.ones(2, 2), float("nan"))), "query weight has negative"),
    (lambda: episode(support=support(y=Y * 2, n_classes=3)), r"labels \[0, 2, 4\].*: expected 0\.\.2; map them"),
    (lambda: episode(query_y=torch.full((2, 2), -1)), r"query y holds the labels \[-1\]"),
    (lambda: episode(query_y=torch.full((2, 2), 2)), "query row 0 of task 1 has class 2"),
    (
        lambda: episode(support=support(y=with_value(torch.ones(2, 3, 1), float("nan"))), query_y=torch.ones(2, 2, 1)),
        "NaN or infinite targets",
    ),
]


@pytest.mark.parametrize(("make", "message"), VALUES)
def test_values_that_cannot_be_are_told_by_check(make: Callable[[], Episode], message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        make().check()


def test_check_says_everything_that_is_wrong() -> None:
    wrong = episode(support=support(x=with_value(X, float("nan"))), query_weight=with_value(torch.ones(2, 2), -1.0))
    with pytest.raises(EpisodeError) as caught:
        wrong.check()
    assert len(str(caught.value).splitlines()) == 2


def test_what_weight_0_leaves_out_is_not_looked_at() -> None:
    hidden = with_value(torch.ones(2, 3), 0.0)
    padded = episode(
        support=support(x=with_value(X, float("nan")), weight=hidden),
        query_x=with_value(torch.ones(2, 2, 4), float("nan")),
        query_weight=with_value(torch.ones(2, 2), 0.0),
    )
    assert padded.check() is padded


def test_a_query_may_not_ask_for_a_class_whose_rows_all_weigh_nothing() -> None:
    absent = episode(support=support(weight=with_value(torch.ones(2, 3), 0.0)), query_y=torch.tensor([[1, 0], [0, 0]]))
    with pytest.raises(EpisodeError, match="class 1, and no support row"):
        absent.check()


def test_did_you_mean() -> None:
    assert did_you_mean("Matchin", ["Matching", "FEAT"]) == "did you mean 'Matching'?"
    assert did_you_mean("xyz", ["b", "a"]) == "choose one of a, b."


@pytest.fixture
def annotations_not_executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in use, where nothing checks the type of an argument before the constructor sees it."""
    config.update("jaxtyping_disable", True)
    for made in (Support, Episode):
        monkeypatch.setattr(made, "__init__", unwrap(made.__init__))
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("annotations_not_executed")
def test_arrays_and_lists_become_tensors_once() -> None:
    from_arrays = Support(np.ones((1, 3, 2)), np.array([[0, 1, 1]], np.int32), np.array([[1.0, 0.0, 2.0]]))  # type: ignore[arg-type]
    assert (from_arrays.x.dtype, from_arrays.y.dtype, from_arrays.weight.dtype) == (
        torch.float32,
        torch.int64,
        torch.float32,
    )
    from_lists = Episode(Support([[[1, 2], [3, 4]]], [[0, 1]]), [[[5, 6]]], [[1]])  # type: ignore[arg-type]
    assert from_lists.query_x.tolist() == [[[5, 6]]] and from_lists.query_y.dtype == torch.int64
    pixels = Support({"image": np.zeros((1, 2, 4, 4), np.uint8)}, [[0, 1]])  # type: ignore[arg-type]
    assert pixels.x["image"].dtype == torch.uint8
    for labels in (["a", "b"], [["a", "b"]], [[0], [0, 1]], None):
        with pytest.raises(EpisodeError, match="expected a tensor, a NumPy array or nested lists"):
            Support(torch.zeros(1, 2, 3), labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_row_of_weight_0_holds_nothing_that_can_be_felt(poison: float) -> None:
    weight = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[[1.0], [poison], [5.0]]], dtype=torch.float64, requires_grad=True)
    classes = Support({"x": x}, torch.tensor([[0, -100, 1]]), weight, 2)
    assert classes.x["x"].flatten().tolist() == [1.0, 0.0, 5.0] and classes.y.tolist() == [[0, 0, 1]]
    asked = Episode(classes, {"x": x}, x, weight.detach())
    assert asked.query_y.flatten().tolist() == [1.0, 0.0, 5.0] == asked.query_x["x"].flatten().tolist()
    (gradient,) = torch.autograd.grad((classes.x["x"].square().sum(-1) * weight).sum(), x)
    assert gradient.flatten().tolist() == [2.0, 0.0, 0.0]
    with pytest.raises(EpisodeError, match="NaN or infinite"):
        Support(torch.full((1, 1, 1), float("nan")), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1)).check()


def test_clearing_is_traced_by_vmap() -> None:
    x, y = torch.tensor([[[float("nan")], [2.0]]]), torch.tensor([[0, 1]])
    weights = torch.tensor([[[0.0, 1.0]], [[0.0, 3.0]]])
    got = torch.func.vmap(lambda w: (Support(x, y, w, 2).x * w[..., None]).sum())(weights)
    assert got.tolist() == [2.0, 6.0]


def test_sequences_are_targets_of_a_kind_of_their_own() -> None:
    y = torch.tensor([[[5, 2, -1], [7, -1, -1]]])
    made = Support(torch.zeros(1, 2, 3), y, torch.tensor([[1.0, 0.0]])).check()
    assert made.is_sequence
    assert not made.is_regression
    assert made.n_classes == 0
    assert torch.equal(made.y, y)
    assert torch.equal(Episode(made, torch.zeros(1, 2, 3), y).check().tasks(slice(0, 1)).query_y, y)


def test_a_sequence_without_a_token_is_refused_unless_it_is_padding() -> None:
    y = torch.full((1, 2, 3), -1)
    Support(torch.zeros(1, 2, 3), y, torch.zeros(1, 2)).check()
    with pytest.raises(EpisodeError, match="without a token"):
        Support(torch.zeros(1, 2, 3), y).check()
