"""Fine-tuning on the support, leaving groups out: against plain Adam on copies, and by the laws of every learner."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from encoders import Vectors
from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import query_loss
from regard.learners.fine_tuned import FineTuned
from regard.learners.maml import MAML
from regard.learners.prototypical import Prototypical
from regard.learners.tnp import TNPD
from regard.nn.mlp import MLP
from regard.testing import LAWS, check_learner, numbers, random_episode


def in_context(n_targets: int = 0) -> TNPD:
    return TNPD(Vectors(), d_model=8, n_layers=2, n_heads=2, d_feed=8, n_embed=2, n_targets=n_targets)


@pytest.fixture(autouse=True)
def double() -> None:
    torch.manual_seed(0)


def by_hand(learner: TNPD, support: Support, groups: list[list[int]], n_steps: int, rate: float) -> TNPD:
    """One task: a copy of the learner, torch's Adam, each group left out in turn."""
    copy = deepcopy(learner)
    adam = torch.optim.Adam(copy.parameters(), rate)
    for step in range(n_steps):
        out = groups[step % len(groups)]
        kept = [i for i in range(support.n_rows) if i not in out and support.weight[0, i] > 0] or out
        rows = Support(support.x[:, kept], support.y[:, kept], support.weight[:, kept], support.n_classes)
        asked = Episode(rows, support.x[:, out], support.y[:, out], support.weight[:, out], support.n_classes)
        adam.zero_grad()
        query_loss(copy(asked), asked).sum().backward()
        adam.step()
    return copy


@pytest.mark.parametrize(
    ("rows", "groups"), [(1, [[0], [2], [3], [5]]), (2, [[0], [2, 3], [5]]), (6, [[0, 2, 3, 5]])], ids=str
)
def test_it_is_adam_on_a_copy_of_each_task(rows: int, groups: list[list[int]]) -> None:
    learner = in_context(2).double().eval()
    support = Support(
        torch.randn(1, 6, 6).double(), torch.randn(1, 6, 2).double(), torch.tensor([[1, 0, 0.5, 1, 0, 2]]).double()
    )
    other = random_episode(3, n_targets=2, n_way=2, n_tasks=1).support
    both = Support(
        torch.cat([support.x, other.x]), torch.cat([support.y, other.y]), torch.cat([support.weight, other.weight])
    )
    query = torch.randn(2, 3, 6).double()
    tuned = FineTuned(learner, 7, learning_rate=0.01, rows_per_group=rows)
    expected = by_hand(learner, support, groups, 7, 0.01)
    got = tuned.predict(tuned.adapt(both), query)
    torch.testing.assert_close(
        got.mean[:1], expected.predict(expected.adapt(support), query[:1]).mean, rtol=1e-7, atol=1e-9
    )
    assert (got.mean[:1] - learner.predict(learner.adapt(support), query[:1]).mean).abs().max() > 1e-3


def test_further_rows_are_asked_about_in_place_of_the_support() -> None:
    learner = in_context(2).double().eval()
    support = Support(torch.randn(1, 4, 6).double(), torch.randn(1, 4, 2).double())
    further = Support(torch.randn(1, 6, 6).double(), torch.randn(1, 6, 2).double())
    copy = deepcopy(learner)
    adam = torch.optim.Adam(copy.parameters(), 0.01)
    for step in range(5):
        kept, asked = (slice(2, 4), slice(0, 3)) if step % 2 == 0 else (slice(0, 2), slice(3, 6))
        rows = Support(support.x[:, kept], support.y[:, kept], support.weight[:, kept], 0)
        episode = Episode(rows, further.x[:, asked], further.y[:, asked])
        adam.zero_grad()
        query_loss(copy(episode), episode).sum().backward()
        adam.step()
    tuned, query = FineTuned(learner, 5, learning_rate=0.01, rows_per_group=2), torch.randn(1, 3, 6).double()
    got = tuned.predict(tuned.adapt(support, further), query).mean
    torch.testing.assert_close(got, copy.predict(copy.adapt(support), query).mean, rtol=1e-7, atol=1e-9)
    with pytest.raises(EpisodeError, match="equally many rows for each group"):
        tuned.adapt(support, Support(further.x[:, :5], further.y[:, :5]))


def test_no_step_is_the_learner_itself() -> None:
    learner, episode = in_context().eval(), random_episode(0).to(dtype=torch.float32)
    expected = learner.predict(learner.adapt(episode.support), episode.query_x)
    assert torch.equal(numbers(FineTuned(learner, 0)(episode)), numbers(expected))


def test_the_only_example_of_a_class_stays_in() -> None:
    support = Support(torch.randn(1, 3, 6), torch.tensor([[0, 1, 1]]))
    learner = FineTuned(Prototypical(MLP(6, 4, [8])).eval(), 5, learning_rate=0.01)
    assert bool(learner.leave_one_out_loss(support).isfinite().all())
    assert bool(learner.predict(learner.adapt(support), support.x).isfinite().all())


def test_it_lowers_what_it_descends_on_and_the_rule_leaves_easy_tasks_alone() -> None:
    learner, episode = in_context(1).eval(), random_episode(0, n_targets=1, n_tasks=6).to(dtype=torch.float32)
    tuned = FineTuned(learner, 12, learning_rate=1e-2)
    before = tuned.leave_one_out_loss(episode.support)
    state = tuned.adapt(episode.support)
    for b in range(6):
        own = deepcopy(learner)
        own.load_state_dict({name: w[b] for name, w in state.weights.items()}, strict=False)
        assert FineTuned(own).leave_one_out_loss(episode.support.tasks(slice(b, b + 1))) < before[b]
    chosen = tuned.calibrated([episode], 0.5)
    assert tuned.threshold is None and chosen.threshold == pytest.approx(float(before.median()), abs=0.5)
    got, context = chosen(episode).mean, learner(episode).mean
    changed = (got - context).abs().amax((1, 2)) > 1e-6
    assert changed.tolist() == (before > chosen.threshold).tolist()


def test_gradients_of_the_answer_reach_the_learner_as_if_the_steps_were_constant() -> None:
    learner, episode = in_context(1).eval(), random_episode(0, n_targets=1).to(dtype=torch.float32)
    FineTuned(learner, 3)(episode).mean.sum().backward()
    assert all(p.grad is not None for p in learner.head[-1].parameters())


SLOW = {"separable_tasks_are_solved", "threads_agree", "training_mode_keeps_the_laws", "second_derivatives_are_right"}
"""Laws of the loss, which is that of the learner inside, and those of many adaptations."""


@pytest.mark.parametrize("n_targets", [0, 3], ids=["classes", "joint"])
def test_laws(n_targets: int) -> None:
    def make() -> FineTuned:
        inner = TNPD(Vectors(), d_model=4, n_layers=1, n_heads=2, d_feed=4, n_embed=1, n_targets=n_targets)
        return FineTuned(inner, 2, learning_rate=1e-3, tasks_at_once=2)

    laws = [law for law in LAWS if law.__name__ not in SLOW and (n_targets or "class" in str(law.__doc__))]
    check_learner(make, lambda seed: random_episode(seed, n_targets=n_targets), laws=laws, tolerance=1e-9)


@pytest.mark.parametrize("options", [{"n_steps": -1}, {"rows_per_group": 0}, {"learning_rate": 0.0}], ids=str)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected steps of at least 0"):
        FineTuned(in_context(), **options)  # type: ignore[arg-type]


def test_a_gradient_learner_is_refused() -> None:
    with pytest.raises(ConfigError, match="answers in context"):
        FineTuned(MAML(MLP(6, 3, [4])))


def test_under_inference_mode() -> None:
    learner, episode = FineTuned(in_context(1).eval(), 2), random_episode(0, n_targets=1).to(dtype=torch.float32)
    with torch.inference_mode():
        inside: Tensor = learner(episode).mean
    torch.testing.assert_close(inside, learner(episode).mean)
