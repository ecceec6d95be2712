"""Ridge and prototypes against scikit-learn and by hand, in float64."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional as F

from regard.episode import Episode, Support
from regard.learners.ridge_prototypes import RidgePrototypes
from regard.nn.flat import Flat


def task(n: int = 12, d: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])[:n], torch.randn(4, d, generator=generator).double()


def test_the_answer_is_the_mean_of_ridge_and_prototypes() -> None:
    x, y, query = task()
    learner = RidgePrototypes(Flat(), penalty=0.7, ridge_scale=3.0, prototype_scale=4.0).double()
    support = Support(x[None], y[None], torch.ones(1, 12, dtype=torch.float64), 3)
    logits = learner.predict(learner.adapt(support), query[None])
    assert isinstance(logits, torch.Tensor)
    centres = torch.stack([x[y == k].mean(0) for k in range(3)])
    middle = centres.mean(0)
    weight = torch.tensor([12 / 3 / 6] * 6 + [12 / 3 / 3] * 6)  # all classes count the same
    ridge = Ridge(alpha=0.7, fit_intercept=False)
    ridge.fit((x - middle).numpy(), (F.one_hot(y, 3) - 1 / 3).numpy(), sample_weight=weight.numpy())
    by_ridge = torch.softmax(3 * torch.from_numpy((query - middle).numpy() @ ridge.coef_.T), -1)
    cosine = F.normalize(query, dim=-1) @ F.normalize(centres, dim=-1).T
    by_prototype = torch.softmax(4 * cosine, -1)
    torch.testing.assert_close(logits[0].softmax(-1), (by_ridge + by_prototype) / 2)
    # What rejects: the largest logit is the scaled cosine of the nearest class.
    torch.testing.assert_close(logits[0].amax(-1), 4 * cosine.amax(-1))
    query_y = torch.tensor([[0, 1, 2, 0]])
    loss = learner.loss(Episode(support, query[None], query_y, torch.ones(1, 4, dtype=torch.float64), 3))
    picked = [p[torch.arange(4), query_y[0]].log().mean() for p in (by_ridge, by_prototype)]
    torch.testing.assert_close(loss[0], -(picked[0] + picked[1]) / 2)


def test_numbers_are_the_mean_of_ridge_and_attention() -> None:
    x, _, query = task()
    target = (x[:, :1] * 2 + 1 + 0.1 * x[:, 1:2].square()).double()
    learner = RidgePrototypes(Flat(), penalty=0.3, prototype_scale=4.0).double()
    support = Support(x[None], target[None], torch.ones(1, 12, dtype=torch.float64), 0)
    answer = learner.predict(learner.adapt(support), query[None])
    assert isinstance(answer, torch.distributions.Normal)
    ridge = Ridge(alpha=0.3).fit(x.numpy(), target[:, 0].numpy())
    share = torch.softmax(4 * F.normalize(query, dim=-1) @ F.normalize(x, dim=-1).T, -1)
    expected = (ridge.predict(query.numpy()) + (share @ target)[:, 0].numpy()) / 2
    np.testing.assert_allclose(answer.mean[0, :, 0].detach().numpy(), expected)
    # Generalised cross-validation of the ridge.
    middle = (x - x.mean(0)).numpy()
    hat = middle @ np.linalg.solve(middle.T @ middle + 0.3 * np.eye(5), middle.T) + 1 / 12
    residual = (target[:, 0].numpy() - ridge.predict(x.numpy())) ** 2
    deviation = np.sqrt(residual.mean() / (1 - np.trace(hat) / 12) ** 2 + 1e-6)
    np.testing.assert_allclose(answer.stddev[0, :, 0].detach().numpy(), deviation)
