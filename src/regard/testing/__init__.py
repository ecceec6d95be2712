"""The laws every learner keeps, for anybody's learner.

    from regard.testing import check_learner
    check_learner(lambda: MyLearner(MyEncoder()), my_episode)

A law is a function of a `Case` that yields one sentence, with numbers, for each way it is broken; `LAWS` lists all.
A learner is held to what it claims (`ignores_order`, `counts_weight`, `relabels`, `regresses`, `rebuilds`,
`differentiates_twice`, `vmaps`, and its types), and to everything that needs no claim. All is done in float64, where
two ways of computing one thing agree to ten digits or differ for a reason.

Whether a learner learns is asked in the easiest way only: items it has just seen. `regard.evaluation` asks the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from regard.errors import LawError
from regard.testing.answers import (
    a_batch_is_a_loop,
    adapting_leaves_no_trace,
    an_empty_support_is_survived,
    answers_have_the_right_shape,
    attention_is_a_distribution,
    encoded_is_fresh,
    forward_is_adapt_then_predict,
    joined_states_answer_alike,
    queries_do_not_see_each_other,
    relabelling_relabels,
    saved_is_loaded,
    support_order_does_not_matter,
    the_wrong_targets_are_refused,
    weight_two_is_twice,
    weight_zero_is_absence,
)
from regard.testing.case import Case, Law, MakeEpisode, MakeLearner, numbers, random_episode, varied
from regard.testing.gradients import (
    a_gradient_reaches_every_parameter,
    executions_agree,
    second_derivatives_are_right,
    the_model_is_left_whole,
    the_weight_gradient_is_finite,
    vmap_is_a_loop,
)
from regard.testing.use import (
    a_state_is_its_own,
    absent_queries_are_not_scored,
    attention_is_felt,
    attention_is_of_its_query_and_rows,
    float32_is_near_float64,
    gradients_change_no_answer,
    random_numbers_are_left_alone,
    separable_tasks_are_solved,
    threads_agree,
    training_mode_keeps_the_laws,
)

__all__ = ["LAWS", "Case", "Law", "MakeEpisode", "MakeLearner", "check_learner", "numbers", "random_episode"]


LAWS: tuple[Law, ...] = (
    answers_have_the_right_shape,
    forward_is_adapt_then_predict,
    support_order_does_not_matter,
    weight_zero_is_absence,
    weight_two_is_twice,
    a_batch_is_a_loop,
    joined_states_answer_alike,
    queries_do_not_see_each_other,
    adapting_leaves_no_trace,
    a_gradient_reaches_every_parameter,
    the_weight_gradient_is_finite,
    second_derivatives_are_right,
    vmap_is_a_loop,
    executions_agree,
    the_model_is_left_whole,
    relabelling_relabels,
    saved_is_loaded,
    attention_is_a_distribution,
    an_empty_support_is_survived,
    encoded_is_fresh,
    the_wrong_targets_are_refused,
    training_mode_keeps_the_laws,
    gradients_change_no_answer,
    float32_is_near_float64,
    random_numbers_are_left_alone,
    a_state_is_its_own,
    threads_agree,
    absent_queries_are_not_scored,
    attention_is_felt,
    attention_is_of_its_query_and_rows,
    separable_tasks_are_solved,
)
"""All laws, in the order in which they are checked."""

VARIED: tuple[Law, ...] = (
    answers_have_the_right_shape,
    forward_is_adapt_then_predict,
    support_order_does_not_matter,
    weight_zero_is_absence,
    weight_two_is_twice,
    a_batch_is_a_loop,
    queries_do_not_see_each_other,
    relabelling_relabels,
    absent_queries_are_not_scored,
)
"""The laws that are checked at a second size as well."""


def check_learner(
    make_learner: MakeLearner, make_episode: MakeEpisode, *, laws: Sequence[Law] | None = None, tolerance: float = 1e-10
) -> None:
    """Hold a learner to the laws.

    Args:
        make_learner: a new learner at each call, its parameters drawn from torch's global generator.
        make_episode: seed to episode; see `random_episode` for one made of noise.
        laws: some of `LAWS`; all by default.
        tolerance: largest difference that counts as rounding; iterative solvers need more than the default.

    Raises:
        LawError: names every broken law, and says how it is broken.

    Examples:
        >>> from regard.learners import Prototypical
        >>> from regard.nn.mlp import MLP
        >>> check_learner(lambda: Prototypical(MLP(6, 4, [])), random_episode)  # raises where a law is broken
    """
    broken: dict[str, list[str]] = {}
    with _float64():
        name = type(make_learner()).__name__
        for law in LAWS if laws is None else laws:
            # A case of its own: what one law did to a learner that keeps state is not to be blamed on the next.
            case = Case(make_learner, make_episode, tolerance)
            sentences = _sentences(law, case)
            if law in VARIED and not sentences:
                sentences = [f"at another size, {sentence}" for sentence in _sentences(law, varied(case))]
            if sentences:
                broken[law.__name__] = sentences
    if broken:
        listed = [f"\n  {law}: {sentence}" for law, sentences in broken.items() for sentence in sentences]
        raise LawError(f"{name} breaks {len(broken)} law(s) it claims to keep:{''.join(listed)}")


def _sentences(law: Law, case: Case) -> list[str]:
    try:
        return list(law(case))
    except Exception as error:
        return [f"raised {type(error).__name__}: {error}"]


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
