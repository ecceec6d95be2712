"""The first block from patches is the block, to the second derivative, for every kind of Conv4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from regard.nn.conv4 import Conv4
from regard.nn.patches import Patches

KINDS: list[dict[str, Any]] = [
    {"image_size": 18},
    {"image_size": 19, "n_channels": 3},
    {"image_size": 9, "halve_by": "stride"},
    {"image_size": 8, "n_halvings": 0},
    {"image_size": 9, "n_halvings": 2, "parts": True},
]


def made(**kind: Any) -> tuple[Conv4, Tensor, Tensor]:
    torch.manual_seed(0)
    net = Conv4(n_filters=5, norm="transductive", **kind).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)  # scales of both signs
    item = (net_size := kind["image_size"], net_size, *((3,) if kind.get("n_channels") == 3 else ()))
    x, q = torch.rand(3, *item, dtype=torch.float64), torch.rand(5, *item, dtype=torch.float64)
    x[:, :6] = q[:, :, :6] = 0  # an empty background, where all places of a pool are equal
    return net, x, q


def adapted_loss(net: Conv4, weights: dict[str, Tensor], x: Any, q: Any) -> Tensor:
    for _ in range(2):
        slopes = torch.autograd.grad(
            functional_call(net, weights, (x,)).square().mean(), list(weights.values()), create_graph=True
        )
        weights = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    return functional_call(net, weights, (q,)).sin().mean()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_meta_gradients_are_those_of_images(kind: dict[str, Any]) -> None:
    net, x, q = made(**kind)
    weights = dict(net.named_parameters())
    ready = net.prepare(x), net.prepare(q)
    assert all(isinstance(r, Patches) for r in ready)
    found, expected = adapted_loss(net, weights, *ready), adapted_loss(net, weights, x, q)
    assert torch.allclose(found, expected, rtol=1e-10)
    pairs = zip(*(torch.autograd.grad(loss, list(weights.values())) for loss in (found, expected)), strict=True)
    assert all((a - b).norm() <= 1e-10 * b.norm() for a, b in pairs)


def test_under_vmap_too() -> None:
    net, x, _ = made(**KINDS[0])
    ready, weights = net.prepare(x), {name: torch.stack([p, p * 1.1]).detach() for name, p in net.named_parameters()}

    def slope(w: dict[str, Tensor], items: Any) -> dict[str, Tensor]:
        return grad(lambda v: functional_call(net, v, (items,)).square().mean())(w)

    expected = vmap(slope, (0, None))(weights, x)
    both = torch.stack([x, x])
    for found in (vmap(slope, (0, None))(weights, ready), vmap(lambda w, t: slope(w, net.prepare(t)))(weights, both)):
        assert all((found[n] - expected[n]).norm() <= 1e-10 * expected[n].norm() for n in weights)


def test_other_norms_leave_the_items_alone() -> None:
    x = torch.rand(2, 28, 28)
    assert all(Conv4(1, 4, norm=norm).prepare(x) is x for norm in ("group", "instance", "batch", "none"))
    assert Conv4(5, 4, norm="transductive").prepare(y := torch.rand(2, 28, 28, 5)) is y


def test_under_autocast_the_images_are_convolved() -> None:
    net, x, _ = made(image_size=18)
    net, image = net.float(), x[0].float()[None]
    with torch.autocast("cpu", torch.bfloat16):
        assert net.prepare(image) is image
        low = net(net.prepare(image))
    low.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    high = net(net.prepare(image))
    assert (low - high).norm() < 0.05 * high.norm()
