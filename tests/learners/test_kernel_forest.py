"""The mean of processes and a forest is that of the two learners by themselves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import Parts, Same
from regard.episode import Support
from regard.errors import ConfigError
from regard.estimators import FewShotRegressor
from regard.learners.extra_trees import ExtraTrees
from regard.learners.kernel_forest import KernelForest
from regard.learners.kernel_mixture import KernelMixture


def task(n_rows: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (1, n, 5), positive targets (1, n, 1), queries (1, 4, 5), in double precision."""
    generator = torch.Generator().manual_seed(0)
    x, query = (torch.randn(1, n, 5, generator=generator, dtype=torch.float64) for n in (n_rows, 4))
    return x, x[..., :1].exp() * 3 + 0.1, query


@pytest.mark.parametrize("logarithms", [False, True])
def test_it_is_the_mean_of_both(logarithms: bool) -> None:
    x, y, query = task()
    support = Support(x, y)
    both = KernelForest(blocks=(2, 3), on_blocks=(0,), n_trees=5, logarithms=logarithms)
    output = both.predict(both.adapt(support), query)
    processes = KernelMixture(blocks=(2, 3), logarithms=logarithms)
    forest = ExtraTrees(blocks=(2, 3), on_blocks=(0,), n_trees=5, logarithms=logarithms)
    smooth, steps = (part.predict(part.adapt(support), query) for part in (processes, forest))
    torch.testing.assert_close(output.mean, (smooth.mean + steps.mean) / 2)
    about = (smooth.variance + (smooth.mean - output.mean).square()).sqrt()
    torch.testing.assert_close(output.stddev, about)


def test_no_prediction_is_below_zero_where_no_target_is() -> None:
    x, y, query = task(6)
    both = KernelForest(logarithms=False, n_trees=5)
    far = 50 * query
    assert bool((both.predict(both.adapt(Support(x, y - y.min())), far).mean >= 0).all())


def test_one_row_and_equal_targets() -> None:
    x, y, query = task()
    both = KernelForest(n_trees=5)
    for support in (Support(x[:, :1], y[:, :1]), Support(x, torch.full_like(y, 4.0))):
        output = both.predict(both.adapt(support), query)
        torch.testing.assert_close(output.mean, support.y[:, :1].expand(1, 4, 1))
        assert bool((output.stddev > 0).all() and output.stddev.isfinite().all())


def test_a_fitted_estimator_can_be_pickled_and_explained() -> None:
    x, y, query = task()
    model = FewShotRegressor(KernelForest(Same(5), n_trees=5)).fit(x[0].numpy(), y[0, :, 0].numpy())
    expected = model.predict(query[0].numpy())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(query[0].numpy()), expected)
    found = model.explain(query[0].numpy())
    less = FewShotRegressor(KernelForest(Same(5), n_trees=5)).fit(
        x[0].numpy(), y[0, :, 0].numpy(), sample_weight=(np.arange(12) != 3).astype(float)
    )
    np.testing.assert_allclose(found.drop[:, 3], expected - less.predict(query[0].numpy()), atol=1e-4)


def test_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="gives parts"):
        KernelForest(Parts())
