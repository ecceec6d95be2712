"""Where an inner loop stopped being finite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.errors import DivergenceError
from regard.learners.inner.tasks import Rows, Tensors, each_task

if TYPE_CHECKING:
    from regard.learners.inner.loop import GradientLearner


def explain_divergence(
    learner: GradientLearner, support: Rows, buffers: Tensors, n_classes: int, losses: Tensor | None = None
) -> None:
    """Walk through the inner loops again, task by task and step by step, to say where it began.

    Args:
        learner: that adapts.
        support: rows of B tasks.
        buffers: of each task, as before the first step.
        n_classes: of a task.
        losses: (B,) of the queries, where they are known.

    Raises:
        DivergenceError: always where a task has diverged.
    """
    with torch.no_grad():
        for b, (rows, copies) in enumerate(each_task((support, buffers))):
            steps = enumerate(learner.steps(rows, copies, n_classes))
            bad = next((k for k, (loss, w) in steps if loss is not None and not all_finite([loss, *w.values()])), None)
            if bad is None and (losses is None or bool(losses[b].isfinite())):
                continue
            where = f"at inner step {bad} of {learner.n_steps}" if bad is not None else "on its queries"
            raise DivergenceError(
                f"task {b} of the batch diverged {where}, with {learner.rule.describe()}: expected finite weights and "
                "losses. Lower inner_lr or take fewer steps, or look at this task for values that are not finite or "
                "very large.",
                task=b,
            )


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """One check for all of them."""
    return bool(torch.stack([t.isfinite().all() for t in tensors]).all())
