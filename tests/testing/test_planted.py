"""Wrong learners, each wrong in one way, and each caught by the law that is named beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import Vectors
from regard.episode import Episode, Support
from regard.errors import LawError
from regard.learners.base import EncodingAttendingLearner, EncodingLearner, Learner, hide_absent, query_loss
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import scores
from regard.testing import LAWS, check_learner, random_episode


class Right(EncodingLearner):
    """Prototypical networks, which faults are planted in by replacing one of its functions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Vectors()

    def adapt_encoded(self, support: Support[Tensor]) -> Prototypes:
        return class_means(support.x, support)

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return hide_absent(scores(query_z, state.centre, "distance"), state.mass)


class Attends(EncodingAttendingLearner):
    """As `Right`, with an attention that does not rebuild the answer: the classes' probability, shared by its rows."""

    rebuilds = False

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Vectors()

    def adapt_encoded(self, support: Support[Tensor]) -> Support[Tensor]:
        return support

    def predict_encoded(self, state: Support[Tensor], query_z: Tensor) -> Tensor:
        means = class_means(state.x, state)
        return hide_absent(scores(query_z, means.centre, "distance"), means.mass)

    def attend_encoded(self, state: Support[Tensor], query_z: Tensor) -> Tensor:
        score = scores(query_z, state.x, "distance")
        p = state.weight[:, None] * torch.exp(score - score.amax(-1, keepdim=True))
        return p / p.sum(-1, keepdim=True)


Fault = tuple[str, str, Callable[..., object], str]
FAULTS: list[Fault] = []


def planted(law: str, method: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Replace `method` of `Right` by the function, which gets the right one first."""

    def note(function: Callable[..., object]) -> Callable[..., object]:
        FAULTS.append((function.__name__, method, function, law))
        return function

    return note


def adapt_fault(name: str, law: str, change: Callable[[Support[Tensor]], Support[Tensor]]) -> None:
    FAULTS.append((name, "adapt_encoded", lambda right, self, s: right(self, change(s)), law))


def state_fault(name: str, law: str, change: Callable[[Prototypes], Prototypes]) -> None:
    FAULTS.append((name, "adapt_encoded", lambda right, self, s: change(right(self, s)), law))


def logit_fault(name: str, law: str, change: Callable[[Tensor, Prototypes, Tensor], Tensor]) -> None:
    FAULTS.append((name, "predict_encoded", lambda right, self, st, q: change(right(self, st, q), st, q), law))


def loss_fault(name: str, law: str, change: Callable[[Learner, Episode], Tensor]) -> None:
    FAULTS.append((name, "loss", lambda right, self, e: change(self, e), law))


def mode_fault(name: str, law: str, when: Callable[[Learner, Tensor], bool]) -> None:
    """Support weights are ignored under a condition."""

    def wrong(right, self, support):  # type: ignore[no-untyped-def]
        ones = torch.ones_like(support.weight)
        return right(self, replace(support, weight=ones) if when(self, support.x) else support)

    FAULTS.append((name, "adapt_encoded", wrong, law))


ZERO, TWICE, BATCH, ORDER = (
    "weight_zero_is_absence",
    "weight_two_is_twice",
    "a_batch_is_a_loop",
    "support_order_does_not_matter",
)
SHAPE, RELABEL, QUERIES, TRACE = (
    "answers_have_the_right_shape",
    "relabelling_relabels",
    "queries_do_not_see_each_other",
    "adapting_leaves_no_trace",
)
SEPARABLE, ABSENT, TRAIN, NO_GRAD = (
    "separable_tasks_are_solved",
    "absent_queries_are_not_scored",
    "training_mode_keeps_the_laws",
    "gradients_change_no_answer",
)
FLOAT32, RANDOM, ALIAS, THREADS = (
    "float32_is_near_float64",
    "random_numbers_are_left_alone",
    "a_state_is_its_own",
    "threads_agree",
)

# ---- sizes and weights that the default episode does not have --------------------------------------------------------
adapt_fault("weights_clipped_at_4", TWICE, lambda s: replace(s, weight=s.weight.clamp(max=4)))
adapt_fault("weights_under_0.4_dropped", TWICE, lambda s: replace(s, weight=torch.where(s.weight < 0.4, 0.0, s.weight)))
adapt_fault("weights_rounded", TWICE, lambda s: replace(s, weight=s.weight.round()))
adapt_fault("weights_rooted", TWICE, lambda s: replace(s, weight=s.weight.clamp_min(1e-30).sqrt() * (s.weight > 0)))
adapt_fault("weights_squared", TWICE, lambda s: replace(s, weight=s.weight.square()))
adapt_fault("weights_ignored", ZERO, lambda s: replace(s, weight=torch.ones_like(s.weight)))
adapt_fault("padding_counts_a_little", ZERO, lambda s: replace(s, weight=s.weight + 1e-3))
adapt_fault("only_nine_rows", ZERO, lambda s: replace(s, x=s.x[:, :9], y=s.y[:, :9], weight=s.weight[:, :9]))
adapt_fault("last_row_forgotten", ORDER, lambda s: replace(s, x=s.x[:, :-1], y=s.y[:, :-1], weight=s.weight[:, :-1]))
adapt_fault("rows_by_position", ORDER, lambda s: replace(s, x=s.x * torch.linspace(1, 2, s.n_rows)[:, None]))
adapt_fault(
    "first_row_counts_double", ORDER, lambda s: replace(s, weight=torch.cat([s.weight[:, :1] * 2, s.weight[:, 1:]], 1))
)
adapt_fault("labels_sorted", ORDER, lambda s: replace(s, y=s.y.sort(1).values))
adapt_fault("class_4_is_class_3", RELABEL, lambda s: replace(s, y=torch.where(s.y == 4, 3, s.y)))
adapt_fault("classes_over_3_dropped", RELABEL, lambda s: replace(s, weight=torch.where(s.y > 3, 0.0, s.weight)))
adapt_fault("normalised_over_the_batch", BATCH, lambda s: replace(s, x=s.x - s.x.mean((0, 1), keepdim=True)))
adapt_fault("scaled_by_tasks_over_3", BATCH, lambda s: replace(s, x=s.x * (1.0 if s.n_tasks <= 3 else 1.1)))
adapt_fault("centred_without_weights", ZERO, lambda s: replace(s, x=s.x - s.x.mean(1, keepdim=True)))
adapt_fault("scaled_by_row_count", ZERO, lambda s: replace(s, x=s.x * (1 + s.n_rows / 100)))
adapt_fault("weights_of_the_first_task", BATCH, lambda s: replace(s, weight=s.weight[:1].expand_as(s.weight)))
state_fault("centres_of_the_first_task", BATCH, lambda p: replace(p, centre=p.centre[:1].expand_as(p.centre)))
state_fault("centres_mixed_over_tasks", BATCH, lambda p: replace(p, centre=p.centre - 0.1 * p.centre.mean(0)))
state_fault("centres_rolled", SEPARABLE, lambda p: replace(p, centre=p.centre.roll(1, 1)))
state_fault(
    "first_class_favoured",
    RELABEL,
    lambda p: replace(p, centre=p.centre * (1 + torch.arange(p.centre.shape[1]))[:, None]),
)
state_fault("all_centres_one", SEPARABLE, lambda p: replace(p, centre=p.centre * 0 + p.centre.mean(1, keepdim=True)))

# ---- predictions -----------------------------------------------------------------------------------------------------
logit_fault("wrong_sign", SEPARABLE, lambda o, s, q: hide_absent(-torch.where(o > -torch.inf, o, 0.0), s.mass))
logit_fault(
    "constant",
    SEPARABLE,
    lambda o, s, q: hide_absent(0 * scores(q, s.centre, "distance") + 1e-3 * s.mass[:, None], s.mass),
)
logit_fault("farthest_class", SEPARABLE, lambda o, s, q: hide_absent(-scores(q, s.centre, "distance"), s.mass))
logit_fault("class_order", RELABEL, lambda o, s, q: o - 0.1 * torch.arange(o.shape[-1]))
logit_fault(
    "queries_centred",
    QUERIES,
    lambda o, s, q: hide_absent(scores(q - q.mean(1, keepdim=True), s.centre, "distance"), s.mass),
)
logit_fault("query_by_position", QUERIES, lambda o, s, q: o * (1 + torch.arange(o.shape[1]))[:, None])
logit_fault("query_count", QUERIES, lambda o, s, q: o * (1 + o.shape[1]))
logit_fault("absent_classes_kept", SHAPE, lambda o, s, q: scores(q, s.centre, "distance"))
logit_fault("one_class_more", SHAPE, lambda o, s, q: torch.cat([o, o[..., :1]], -1))
logit_fault("nan_answer", SHAPE, lambda o, s, q: o * float("nan"))
logit_fault("sharper_with_more_tasks", BATCH, lambda o, s, q: o * len(o))
logit_fault("sharper_without_gradients", NO_GRAD, lambda o, s, q: o * (1 if torch.is_grad_enabled() else 2))

# ---- modes, dtypes ---------------------------------------------------------------------------------------------------
mode_fault("weights_ignored_in_training", TRAIN, lambda self, x: self.training)
mode_fault("weights_ignored_without_gradients", NO_GRAD, lambda self, x: not torch.is_grad_enabled())
mode_fault("weights_ignored_in_inference_mode", NO_GRAD, lambda self, x: torch.is_inference_mode_enabled())
mode_fault("weights_ignored_in_float32", FLOAT32, lambda self, x: x.dtype == torch.float32)
mode_fault("weights_ignored_over_3_tasks", ZERO, lambda self, x: len(x) > 3)
mode_fault("weights_ignored_over_20_rows", ZERO, lambda self, x: x.shape[1] > 24)


@planted(TRAIN, "predict_encoded")
def queries_centred_in_training(right, self, state, query_z):  # type: ignore[no-untyped-def]
    return right(self, state, query_z - query_z.mean(1, keepdim=True) if self.training else query_z)


@planted(TRAIN, "adapt_encoded")
def tasks_mixed_in_training(right, self, support):  # type: ignore[no-untyped-def]
    return right(self, replace(support, x=support.x - support.x.mean(0) if self.training else support.x))


@planted(NO_GRAD, "predict_encoded")
def halved_without_gradients(right, self, state, query_z):  # type: ignore[no-untyped-def]
    return right(self, state, query_z) * (1.0 if torch.is_grad_enabled() else 0.5)


@planted(FLOAT32, "predict_encoded")
def float32_rounds(right, self, state, query_z):  # type: ignore[no-untyped-def]
    answer = right(self, state, query_z)
    return answer.round() if answer.dtype == torch.float32 else answer


# ---- losses ----------------------------------------------------------------------------------------------------------
loss_fault("negated_loss", SEPARABLE, lambda self, e: -query_loss(self(e), e))
loss_fault(
    "labels_of_the_next_query", ABSENT, lambda self, e: query_loss(self(e), replace(e, query_y=e.query_y.roll(1, 1)))
)
loss_fault(
    "query_weights_rounded",
    ABSENT,
    lambda self, e: query_loss(self(e), replace(e, query_weight=e.query_weight.round())),
)
loss_fault(
    "query_weights_ignored",
    BATCH,
    lambda self, e: query_loss(self(e), replace(e, query_weight=torch.ones_like(e.query_weight))),
)
loss_fault(
    "query_weights_as_mask",
    ABSENT,
    lambda self, e: query_loss(self(e), replace(e, query_weight=(e.query_weight > 0).double())),
)
loss_fault(
    "query_weights_over_1_clipped",
    ABSENT,
    lambda self, e: query_loss(self(e), replace(e, query_weight=e.query_weight.clamp(max=1))),
)
loss_fault("loss_of_the_batch", SHAPE, lambda self, e: query_loss(self(e), e).mean())
loss_fault("loss_shared_by_tasks", BATCH, lambda self, e: query_loss(self(e), e).mean().expand(e.n_tasks))
loss_fault("loss_of_labels_in_a_row", ABSENT, lambda self, e: query_loss(self(e), e) + 0.1 * e.query_y.double().mean(1))
loss_fault(
    "loss_ranks_labels", ABSENT, lambda self, e: query_loss(self(e), replace(e, query_y=e.query_y.sort(1).values))
)

# ---- traces, random numbers, other people's tensors ------------------------------------------------------------------


@planted(RANDOM, "adapt_encoded")
def seeds_torch(right, self, support):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return right(self, support)


@planted(RANDOM, "adapt_encoded")
def draws_from_torch(right, self, support):  # type: ignore[no-untyped-def]
    torch.randn(())
    return right(self, support)


@planted(RANDOM, "predict_encoded")
def seeds_numpy(right, self, state, query_z):  # type: ignore[no-untyped-def]
    np.random.seed(0)  # noqa: NPY002
    np.random.rand()  # noqa: NPY002
    return right(self, state, query_z)


@planted(RANDOM, "predict_encoded")
def seeds_numpy_and_draws_nothing(right, self, state, query_z):  # type: ignore[no-untyped-def]
    np.random.seed(3)  # noqa: NPY002
    return right(self, state, query_z)


@planted(RANDOM, "adapt_encoded")
def seeds_python(right, self, support):  # type: ignore[no-untyped-def]
    random.seed(0)
    return right(self, support)


@planted(TRACE, "adapt_encoded")
def noise_in_the_state(right, self, support):  # type: ignore[no-untyped-def]
    return right(self, replace(support, x=support.x + 1e-3 * torch.randn_like(support.x)))


@planted(TRACE, "adapt_encoded")
def keeps_the_state(right, self, support):  # type: ignore[no-untyped-def]
    self.last = right(self, support)
    return self.last


@planted(TRACE, "adapt_encoded")
def writes_a_parameter(right, self, support):  # type: ignore[no-untyped-def]
    with torch.no_grad():
        self.encoder.linear.bias.add_(1e-3)
    return right(self, support)


@planted(ALIAS, "adapt")
def keeps_the_callers_weights(right, self, support):  # type: ignore[no-untyped-def]
    state = right(self, support)
    return replace(state, mass=support.weight)


@planted(ALIAS, "adapt")
def writes_to_the_support(right, self, support):  # type: ignore[no-untyped-def]
    state = right(self, support)
    with torch.no_grad():
        support.x.mul_(1.0 + 1e-9)
    return state


LAST: dict[str, Prototypes] = {}


@planted(THREADS, "predict_encoded")
def predicts_from_the_last_state(right, self, state, query_z):  # type: ignore[no-untyped-def]
    LAST["state"] = state
    for _ in range(20):  # others get a turn
        torch.ones(200, 200) @ torch.ones(200, 200)
    return right(self, LAST["state"], query_z)


def test_the_learners_that_faults_are_planted_in_keep_the_laws() -> None:
    check_learner(Right, random_episode)
    check_learner(Attends, random_episode)


@pytest.mark.parametrize(("method", "fault", "law"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_planted_fault_is_caught_by_its_law(method: str, fault: Callable[..., object], law: str) -> None:
    right = getattr(Right, method)
    wrong = type("Wrong", (Right,), {method: lambda *arguments: fault(right, *arguments)})
    assert_caught(wrong, law)


ATTENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest_is_least": lambda score: -score,
    "least_where_most": lambda score: 1 / (score - 1e-3),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_made_up_attention_is_caught_by_deletion(name: str) -> None:
    class MadeUp(Attends):
        def attend_encoded(self, state: Support[Tensor], query_z: Tensor) -> Tensor:
            score = ATTENTIONS[name](scores(query_z, state.x, "distance"))
            p = state.weight[:, None] * torch.exp(score - score.amax(-1, keepdim=True))
            return p / p.sum(-1, keepdim=True)

    assert_caught(MadeUp, "attention_is_felt")


MISPLACED: dict[str, Callable[[Tensor], Tensor]] = {  # (B, Q, S) attention to attention that is somebody else's
    "first_query_for_all": lambda p: p[:, :1].expand_as(p),
    "mean_of_queries": lambda p: p.mean(1, keepdim=True).expand_as(p),
    "most_attended_row_for_all": lambda p: one_hot(p.mean(1).argmax(-1), p.shape[-1])[:, None].expand_as(p),
    "next_query": lambda p: p.roll(1, 1),
    "drawn_to_the_mean": lambda p: 0.5 * p + 0.5 * p.mean(1, keepdim=True),
    "first_rows_favoured": lambda p: normalised(p * torch.linspace(2, 1, p.shape[-1])),
    "a_row_of_its_own_for_each_query": lambda p: normalised(p * one_hot(torch.arange(p.shape[1]), p.shape[-1]) + 0 * p),
}


@pytest.mark.parametrize("name", MISPLACED)
def test_attention_of_another_query_or_row_is_caught(name: str) -> None:
    class Misplaced(Attends):
        def attend_encoded(self, state: Support[Tensor], query_z: Tensor) -> Tensor:
            return MISPLACED[name](super().attend_encoded(state, query_z))

    assert_caught(Misplaced, "attention_is_of_its_query_and_rows")


def one_hot(index: Tensor, n: int) -> Tensor:
    return torch.nn.functional.one_hot(index, n).double()


def normalised(p: Tensor) -> Tensor:
    return p / p.sum(-1, keepdim=True).clamp_min(1e-300)


def assert_caught(make: Callable[[], Learner], name: str) -> None:
    law = next(law for law in LAWS if law.__name__ == name)
    with pytest.raises(LawError, match=name):
        check_learner(make, random_episode, laws=[law])


def test_every_law_of_use_has_a_planted_fault() -> None:
    of_use = {law.__name__ for law in LAWS if law.__module__ == "regard.testing.use"}
    assert of_use == of_use & {"attention_is_felt", "attention_is_of_its_query_and_rows", *(law for *_, law in FAULTS)}
    assert len(FAULTS) + len(ATTENTIONS) >= 60
