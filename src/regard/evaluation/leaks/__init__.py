"""The errors that made published results void, each as a test of a learner on a data set.

    from regard.evaluation.leaks import find_leaks
    findings = find_leaks(learner, sampler, {"train": ..., "validation": ..., "test": ...})

Few-shot results have been void because labels followed the sorted class names, because shuffled queries lost eight
points, because batch statistics of the queries were used and not reported, because support images came back as queries,
and because test classes stood in the training set under another name. Each is a `Check` here: a function of a
`LeakContext` that gives a `Finding`: passed, failed with the proof, or does not apply with the reason.

A learner that says it is `transductive` is allowed to look at the other queries: those checks do not apply, and report
by how much the predictions moved. For regression, the checks of labels and class names do not apply; sharing of items,
weights, order and statistics of queries are checked, and knowledge without evidence against the support's mean.

Left out: leaks through a pretrained encoder that has seen the test classes. No test of ours can see what it was fed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regard.domains.base import Domain
from regard.domains.translation.protocol import EnglishSides
from regard.errors import DataError
from regard.evaluation.leaks.answers import (
    a_batch_of_one_is_a_batch_of_many,
    classes_can_be_renamed,
    no_statistics_of_other_queries,
    nothing_is_known_without_evidence,
    queries_can_be_removed,
    queries_can_be_shuffled,
    the_same_episode_gives_the_same_prediction,
    weight_0_is_absence,
)
from regard.evaluation.leaks.classes import classes_have_no_other_name
from regard.evaluation.leaks.context import Check, Finding, LeakContext, Verdict
from regard.evaluation.leaks.data import (
    class_names_stand_in_one_split,
    contents_have_no_near_copy,
    contents_stand_in_one_split,
    labels_do_not_follow_the_classes,
    support_and_query_share_no_item,
    support_and_query_share_no_near_copy,
)
from regard.evaluation.leaks.english import english_of_queries_has_few_near_copies, english_of_queries_is_new
from regard.evaluation.leaks.features import labels_stand_in_no_feature
from regard.evaluation.leaks.tasks import items_of_tasks_stand_in_one_split, labels_of_a_task_are_not_repeated
from regard.learners.base import Learner
from regard.nn.inference import eval_mode
from regard.sampling.dataset import Dataset
from regard.sampling.source import EpisodeSource
from regard.sampling.task_table import TaskTable

__all__ = ["CHECKS", "OF_ANSWERS", "OF_ENGLISH", "Check", "Finding", "LeakContext", "Verdict", "find_leaks"]

OF_ANSWERS: tuple[Check, ...] = (
    weight_0_is_absence,
    queries_can_be_shuffled,
    queries_can_be_removed,
    no_statistics_of_other_queries,
    the_same_episode_gives_the_same_prediction,
    a_batch_of_one_is_a_batch_of_many,
)
"""Those that need no data set, and no task without evidence: what is not known is then guessed from all tasks."""

OF_ENGLISH: tuple[Check, ...] = (english_of_queries_is_new, english_of_queries_has_few_near_copies)
"""Of translation."""

CHECKS: tuple[Check, ...] = (
    class_names_stand_in_one_split,
    contents_stand_in_one_split,
    contents_have_no_near_copy,
    classes_have_no_other_name,
    support_and_query_share_no_item,
    support_and_query_share_no_near_copy,
    labels_do_not_follow_the_classes,
    labels_stand_in_no_feature,
    labels_of_a_task_are_not_repeated,
    items_of_tasks_stand_in_one_split,
    *OF_ENGLISH,
    nothing_is_known_without_evidence,
    classes_can_be_renamed,
    *OF_ANSWERS,
)
"""All checks, in the order in which they are reported."""


def find_leaks(
    learner: Learner,
    sampler: EpisodeSource,
    splits: Mapping[str, Dataset] | None = None,
    *,
    n_episodes: int = 50,
    checks: Sequence[Check] | None = None,
    domain: Domain | None = None,
    tables: Mapping[str, TaskTable] | None = None,
    item_ids: Mapping[str, Sequence[str]] | None = None,
    english: EnglishSides | None = None,
) -> list[Finding]:
    """Look for every leak.

    Args:
        learner: temporarily in eval mode, then restored.
        sampler: of the episodes a result is claimed for.
        splits: data set by name, such as "train", "validation" and "test"; each is compared with each.
        n_episodes: at least 2; more find fainter leaks.
        checks: some of `CHECKS`; all by default.
        domain: of the items, which may know how near copies of them are recognised; by their tensors by default.
        tables, item_ids, english: of data with several tasks per item, or of translation; see `LeakContext`.

    Raises:
        DataError: fewer than two episodes.
    """
    if n_episodes < 2:
        raise DataError(f"n_episodes is {n_episodes}: expected at least 2, since chance is judged by an interval.")
    context = LeakContext(
        learner,
        sampler,
        dict(splits or {}),
        n_episodes,
        domain=domain,
        tables=tables or {},
        item_ids=item_ids or {},
        english=english,
    )
    with eval_mode(learner):
        return [check(context) for check in (CHECKS if checks is None else checks)]
