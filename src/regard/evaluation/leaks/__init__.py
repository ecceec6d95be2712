"""The errors that made published results void, each as a test of a learner on a data set.

    from regard.evaluation.leaks import find_leaks
    findings = find_leaks(learner, sampler, {"train": ..., "test": ...})

Few-shot results have been void because labels followed the sorted class names, because shuffled queries lost eight
points, because batch statistics of the queries were used and not told, because support images came back as queries, and
because test classes stood in the training set under another name. Each is a `Check` here: a function of a `LeakContext`
that gives a `Finding`: passed, failed with the proof, or does not apply with the reason.

A learner that says it is `transductive` is allowed to look at the other queries: those checks do not apply, and say by
how much the answers moved.

Left out: leaks through a pretrained encoder that has seen the test classes. No test of ours can see what it was fed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regard.errors import DataError
from regard.evaluation.leaks.answers import (
    a_batch_of_one_is_a_batch_of_many,
    classes_can_be_renamed,
    nothing_is_known_without_evidence,
    other_queries_lend_no_statistics,
    queries_can_be_removed,
    queries_can_be_shuffled,
    the_same_episode_gives_the_same_answer,
)
from regard.evaluation.leaks.context import Check, Finding, LeakContext, Verdict
from regard.evaluation.leaks.data import (
    classes_stand_in_one_part,
    contents_have_no_near_copy,
    contents_stand_in_one_part,
    labels_do_not_follow_the_classes,
    support_and_query_share_no_item,
    support_and_query_share_no_near_copy,
)
from regard.learners.base import Learner
from regard.nn.inference import eval_mode
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler

__all__ = ["CHECKS", "Check", "Finding", "LeakContext", "Verdict", "find_leaks"]

CHECKS: tuple[Check, ...] = (
    classes_stand_in_one_part,
    contents_stand_in_one_part,
    contents_have_no_near_copy,
    support_and_query_share_no_item,
    support_and_query_share_no_near_copy,
    labels_do_not_follow_the_classes,
    nothing_is_known_without_evidence,
    classes_can_be_renamed,
    queries_can_be_shuffled,
    queries_can_be_removed,
    other_queries_lend_no_statistics,
    the_same_episode_gives_the_same_answer,
    a_batch_of_one_is_a_batch_of_many,
)
"""All checks, in the order in which they are told."""


def find_leaks(
    learner: Learner,
    sampler: EpisodeSampler,
    parts: Mapping[str, Dataset] | None = None,
    *,
    n_episodes: int = 50,
    checks: Sequence[Check] | None = None,
) -> list[Finding]:
    """Look for every leak.

    Args:
        learner: temporarily in eval mode, then restored.
        sampler: of the episodes a result is claimed for.
        parts: name to data set, to compare training with testing.
        n_episodes: at least 2; more find fainter leaks.
        checks: some of `CHECKS`; all by default.

    Raises:
        DataError: fewer than two episodes, or a learner that does not classify.
    """
    if n_episodes < 2:
        raise DataError(f"n_episodes is {n_episodes}: expected at least 2, since chance is judged by an interval.")
    context = LeakContext(learner, sampler, dict(parts or {}), n_episodes)
    with eval_mode(learner):
        return [check(context) for check in (CHECKS if checks is None else checks)]
