"""Eval mode is borrowed and given back, module by module, and writes nothing where nothing changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.nn.inference import device_of, eval_mode


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Dropout(0.5)))


def modes(module: nn.Module) -> list[bool]:
    return [submodule.training for submodule in module.modules()]


def test_every_submodule_gets_its_own_mode_back() -> None:
    module = network()
    before = modes(module)
    assert before.count(False) == 1
    with eval_mode(module):
        assert not any(modes(module))
        with eval_mode(module):  # nested: the inner one changes nothing and restores nothing
            pass
        assert not any(modes(module))
    assert modes(module) == before


def test_modes_come_back_after_an_error() -> None:
    module = network()
    before = modes(module)
    with pytest.raises(ValueError, match="on purpose"), eval_mode(module):
        raise ValueError("on purpose")
    assert modes(module) == before


def test_a_module_in_eval_mode_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    module = network().eval()

    def refuse(self: nn.Module, mode: bool = True) -> nn.Module:
        raise AssertionError("written to")

    monkeypatch.setattr(nn.Sequential, "train", refuse)
    with eval_mode(module):
        pass


def test_the_device_is_that_of_the_first_parameter() -> None:
    assert device_of(nn.Identity()) == torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
