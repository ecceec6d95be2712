"""The forest as attention, as an average of nodes, and under weights and units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from encoders import Parts, Same
from regard.episode import Episode, Support
from regard.errors import ConfigError
from regard.estimators import FewShotRegressor
from regard.explain import explain
from regard.learners.extra_trees import ExtraTrees
from regard.nn.trees import walk
from regard.testing import LAWS, check_learner, random_episode


def task(n_rows: int = 12, n_query: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows (1, n, 4), positive targets (1, n, 1), queries (1, Q, 4), in double precision."""
    generator = torch.Generator().manual_seed(0)
    x, query = (torch.randn(1, n, 4, generator=generator, dtype=torch.float64) for n in (n_rows, n_query))
    return x, x[..., :1].exp() * 3 + 0.1, query


def answer(learner: ExtraTrees, support: Support, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output = learner.predict(learner.adapt(support), query)
    return output.mean, output.stddev


@pytest.mark.parametrize("shrinkage", [0.0, 1.0])
def test_values_are_averages_of_the_nodes_on_the_way(shrinkage: float) -> None:
    x, y, query = task()
    weight = torch.linspace(0.5, 2, 12, dtype=torch.float64)[None]
    learner = ExtraTrees(n_trees=3, shrinkage=shrinkage)
    state = learner.adapt(Support(x, y, weight))
    mean = answer(learner, Support(x, y, weight), query)[0][0, :, 0].numpy()
    ways = [np.array([level[0].numpy() for level in walk(state.trees, rows)]) for rows in (x, query)]
    for q in range(5):
        values = []
        for tree in range(3):
            value = np.average(y[0, :, 0], weights=weight[0])
            for level in range(len(ways[1])):
                node = ways[1][level, 0, tree, q]
                if level and node == ways[1][level - 1, 0, tree, q]:
                    break
                rows = ways[0][min(level, len(ways[0]) - 1), 0, tree] == node
                mass, here = weight[0, rows].sum().item(), np.average(y[0, rows, 0], weights=weight[0, rows])
                value += mass / (mass + shrinkage) * (here - value)
            values.append(value)
        assert mean[q] == pytest.approx(np.mean(values), rel=1e-12)


def test_without_shrinkage_examples_are_answered_by_themselves() -> None:
    x, y, _ = task()
    mean, deviation = answer(ExtraTrees(n_trees=5, shrinkage=0.0, noise=0.2), Support(x, y), x)
    torch.testing.assert_close(mean, y)
    torch.testing.assert_close(deviation, torch.full_like(y, 0.2 * y.std(correction=0).item()))


def test_laws_with_logarithms() -> None:
    names = {"weight_two_is_twice", "support_order_does_not_matter", "a_batch_is_a_loop"}
    check_learner(
        lambda: ExtraTrees(n_trees=1, share_tried=1.0, logarithms=True),
        lambda seed: positive(random_episode(seed, n_targets=2)),
        laws=[law for law in LAWS if law.__name__ in names],
    )


def positive(episode: Episode) -> Episode:
    support = episode.support
    return Episode(Support(support.x, support.y.exp(), support.weight), episode.query_x, episode.query_y.exp())


def test_positive_targets_are_seen_as_logarithms() -> None:
    x, y, query = task()
    log = ExtraTrees(logarithms=True)
    mean, deviation = answer(log, Support(x, y), query)
    of_logs, spread = answer(ExtraTrees(), Support(x, y.log()), query)
    torch.testing.assert_close(mean, of_logs.exp())
    torch.testing.assert_close(deviation, mean * torch.sinh(1.959964 * spread) / 1.959964)
    torch.testing.assert_close(answer(log, Support(x, 1000 * y), query)[0], 1000 * mean)
    shifted = y - 1
    torch.testing.assert_close(
        answer(log, Support(x, shifted), query)[0], answer(ExtraTrees(), Support(x, shifted), query)[0]
    )


def test_the_estimator_attends_and_explains() -> None:
    x, y, query = task()
    model = FewShotRegressor(ExtraTrees(n_trees=10)).fit(x[0].numpy(), y[0, :, 0].numpy())
    attention = model.attention(query[0].numpy())
    np.testing.assert_allclose(attention @ y[0, :, 0].numpy(), model.predict(query[0].numpy()), rtol=1e-5)
    found = explain(ExtraTrees(n_trees=5), Episode(Support(x, y), query, query[..., :1]))
    without = Support(x, y, (torch.arange(12) != 3).double()[None])
    learner = ExtraTrees(n_trees=5)
    expected = answer(learner, Support(x, y), query)[0] - answer(learner, without, query)[0]
    np.testing.assert_allclose(found.drop[:, 3], expected[0, :, 0].numpy(), atol=1e-12)
    assert found.kind == "attention"


def test_attention_in_pieces_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, query = task()
    learner = ExtraTrees(n_trees=7)
    state = learner.adapt(Support(x, y))
    whole = learner.attend(state, query)
    monkeypatch.setattr("regard.learners.extra_trees._AT_ONCE", 2 * 5 * 12)
    torch.testing.assert_close(learner.attend(state, query), whole)


def test_one_row_and_equal_targets() -> None:
    x, y, query = task()
    for support in (Support(x[:, :1], y[:, :1]), Support(x, torch.full_like(y, 4.0))):
        mean, deviation = answer(ExtraTrees(), support, query)
        torch.testing.assert_close(mean, support.y[:, :1].expand(1, 5, 1))
        assert bool((deviation > 0).all())


def test_blocks_that_are_not_seen_do_not_matter() -> None:
    x, y, query = task()
    learner = ExtraTrees(blocks=(1, 3), on_blocks=(0,))
    expected = answer(learner, Support(x, y), query)[0]
    x[..., 1:], query[..., 1:] = 0, 5
    torch.testing.assert_close(answer(learner, Support(x, y), query)[0], expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"blocks": (2, 2)}, "sum to the encoder's 5"),
        ({"blocks": (2, 3), "on_blocks": (2,)}, "some of 0 to 1"),
        ({"on_blocks": ()}, "some of 0 to 0"),
        ({"n_trees": 0}, "at least 1"),
        ({"share_tried": 1.5}, "above 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ExtraTrees(Same(5), **options)


def test_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="gives parts"):
        ExtraTrees(Parts())
