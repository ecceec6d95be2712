"""Evaluation runs in inference mode, whose tensors cannot be differentiated through: inner loops use copies."""

from __future__ import annotations

import pytest
import torch

from regard.episode import Support
from regard.learners import ANIL
from regard.nn.mlp import MLP


@pytest.mark.parametrize("execution", ["auto", "loop", "vmap"])
def test_a_support_made_in_inference_mode_is_adapted_to(execution: str) -> None:
    torch.manual_seed(0)
    learner = ANIL(MLP(4, 8, (8,)), 3, inner_lr=0.1, inner_steps=2, execution=execution).eval()
    x, y = torch.randn(2, 6, 4), torch.tensor([[0, 0, 1, 1, 2, 2]]).repeat(2, 1)
    expected = learner.predict(learner.adapt(Support(x, y)), x)
    with torch.inference_mode():
        support = Support(x.clone(), y.clone(), torch.ones(2, 6), 3)
        assert support.weight.is_inference()
        state = learner.adapt(support)
        output = learner.predict(state, x.clone())
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
