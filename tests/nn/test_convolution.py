"""The convolution is PyTorch's, to the third derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.nn.convolution import Conv2d

KINDS: list[dict[str, Any]] = [
    {"padding": 1},
    {"padding": 1, "stride": 2, "bias": False},
    {"dilation": 2, "padding": (2, 1)},
    {"padding": "same"},
    {"padding": 1, "padding_mode": "reflect"},
]


def derivatives(conv: nn.Module, x: Tensor, wanted: list[Tensor], n: int = 3) -> list[Tensor]:
    found = [conv(x)]
    for _ in range(n):
        total = torch.stack([((t + 0.3 * t**2).tanh() * _ramp(t)).sum() for t in found[-len(wanted) :]]).sum()
        found += torch.autograd.grad(total, wanted, create_graph=True)
    return found[1:]


def _ramp(t: Tensor) -> Tensor:
    return torch.linspace(-1, 2, t.numel(), dtype=t.dtype).view(t.shape)


@pytest.mark.parametrize("image_too", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_three_derivatives_are_those_of_torch(kind: dict[str, Any], image_too: bool) -> None:
    torch.manual_seed(0)
    ours = Conv2d(2, 3, 3, **kind).double()
    theirs = nn.Conv2d(2, 3, 3, **kind).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 7, 6, dtype=torch.float64).requires_grad_(image_too)
    images = [x] if image_too else []
    found = derivatives(ours, x, images + list(ours.parameters()))
    expected = derivatives(theirs, x, images + list(theirs.parameters()))
    assert all((a - b).norm() <= 1e-10 * b.norm() for a, b in zip(found, expected, strict=True))


def test_slopes_of_one_kind_only() -> None:
    """Where the second derivative is of dx alone or of dw alone."""
    torch.manual_seed(0)
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    ours = Conv2d(2, 3, 3, padding=1, bias=False).double()
    theirs = nn.Conv2d(2, 3, 3, padding=1, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    for first in (0, 1):
        both = []
        for conv in (ours, theirs):
            wanted = [x, conv.weight]
            (slope,) = torch.autograd.grad((conv(x) ** 3).sum(), wanted[first], create_graph=True)
            both.append(torch.autograd.grad((slope**2).sum(), wanted))
        assert all((a - b).norm() <= 1e-10 * b.norm() for a, b in zip(*both, strict=True))


def test_keeps_channels_last_in_every_derivative() -> None:
    conv = Conv2d(4, 6, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    found = derivatives(conv, x, [conv.weight], 2)
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in (conv(x), *found))


def test_bfloat16_under_autocast() -> None:
    conv, x = Conv2d(2, 3, 3), torch.randn(1, 2, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert conv.weight.grad is not None
