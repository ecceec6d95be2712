"""A module called with other tensors predicts with those, and has its own again afterwards."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from regard.errors import ConfigError
from regard.nn.transforms import call_with


def contents(module: nn.Module) -> list[tuple[str, int]]:
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, id(tensor)) for name, tensor in named]


def twice() -> nn.Module:
    """One layer under two names, and one weight in two layers."""
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = layer.weight
    return nn.Sequential(layer, nn.BatchNorm1d(4), layer, other)


def test_it_is_functional_call_where_every_tensor_has_one_place() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    tensors = {name: torch.randn_like(p) for name, p in module.named_parameters()}
    tensors |= {name: b.clone() for name, b in module.named_buffers()}
    x = torch.randn(3, 4)
    before = contents(module)
    ours, theirs = dict(tensors), {name: t.clone() for name, t in tensors.items()}
    torch.testing.assert_close(call_with(module, ours, x), functional_call(module, theirs, (x,)))
    torch.testing.assert_close(ours, theirs)
    assert contents(module) == before


def test_what_has_two_places_is_replaced_and_restored_in_both() -> None:
    module, x = twice().eval(), torch.randn(3, 4)
    before = contents(module)
    tensors = {name: torch.randn_like(p) for name, p in module.named_parameters()}
    z = x @ tensors["0.weight"].T + tensors["0.bias"]
    z = z / (1 + 1e-5) ** 0.5 * tensors["1.weight"] + tensors["1.bias"]  # batch norm before it has seen any data
    z = z @ tensors["0.weight"].T + tensors["0.bias"]
    torch.testing.assert_close(call_with(module, tensors, x), z @ tensors["0.weight"].T + tensors["3.bias"])
    assert contents(module) == before


def test_an_exception_leaves_the_module_as_it_was() -> None:
    module = twice()
    module[3].register_forward_pre_hook(lambda *_: 1 / 0)
    before = contents(module)
    with pytest.raises(ZeroDivisionError):
        call_with(module, {name: torch.randn_like(p) for name, p in module.named_parameters()}, torch.randn(3, 4))
    assert contents(module) == before


def test_an_unknown_name_is_refused_before_the_call() -> None:
    module = nn.Linear(2, 2)
    before = contents(module)
    with pytest.raises(ConfigError, match=r"no parameter or buffer 'wieght'"):
        call_with(module, {"weight": torch.zeros(2, 2), "wieght": torch.zeros(2, 2)}, torch.zeros(1, 2))
    assert contents(module) == before


def test_a_recurrent_layer_keeps_nothing_of_the_call() -> None:
    """It has a list of its weights beside its parameters; a copy of it fails where that holds results of others."""
    module, x = nn.LSTM(3, 2), torch.randn(4, 3)
    expected = module(x)[0]
    tensors = {name: p * 2 for name, p in module.named_parameters()}
    assert not torch.allclose(call_with(module, tensors, x)[0], expected)
    torch.testing.assert_close(deepcopy(module)(x)[0], expected)


def test_a_buffer_bound_to_a_new_tensor_is_written_back() -> None:
    class Counts(nn.Module):
        n: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("n", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.n = self.n + 1
            return x * self.n

    module, tensors = Counts(), {"n": torch.tensor(4.0)}
    assert call_with(module, tensors, torch.tensor(1.0)) == 5
    assert tensors["n"] == 5 and module.n == 0
