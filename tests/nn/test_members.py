"""One walk finds what torch's three find."""

from __future__ import annotations

import torch
from torch import nn

from regard.nn.members import module_tensors


def test_members_are_those_that_torch_finds() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(nn.BatchNorm1d(2), shared, nn.Sequential(shared, nn.Linear(2, 3, bias=False)))
    model.register_module("nothing", None)
    model[2][1].weight = nn.Parameter(torch.zeros(2, 2))
    model[2].tied = shared.weight
    found = module_tensors(model)
    for own, theirs in (
        (found.modules, model.named_modules()),
        (found.parameters, model.named_parameters()),
        (found.buffers, model.named_buffers()),
    ):
        expected = dict(theirs)
        assert list(own) == list(expected)
        assert all(own[name] is expected[name] for name in expected)
    model[0].eval()
    assert module_tensors(model).training() == tuple(m.training for m in model.modules())
