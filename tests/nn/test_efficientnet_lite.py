"""EfficientNet-Lite0: batch norm folded into convolutions computes what the two did; maps have the published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bodies import efficientnet_weights
from regard.errors import BodyError
from regard.nn.efficientnet_lite import EfficientNetLite0


def plain_block(weights: dict[str, Tensor], at: str, x: Tensor, *, kernel: int, stride: int, expand: bool) -> Tensor:
    """One block by convolution, then batch norm, as two steps."""

    def step(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{at}{convolution}.weight"]
        side = x.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel.shape[-1] - side, 0)
        pads = (total // 2, total - total // 2)
        z = F.conv2d(F.pad(x, (*pads, *pads)), kernel, None, stride, 0, 1, groups)
        mean, variance, scale, shift = (
            weights[f"{at}{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(z, mean, variance, scale, shift, training=False, eps=1e-3)

    wide = F.relu6(step(x, "_expand_conv", "_bn0")) if expand else x
    wide = F.relu6(step(wide, "_depthwise_conv", "_bn1", stride, wide.shape[1]))
    return step(wide, "_project_conv", "_bn2")


@pytest.mark.parametrize(("number", "stride", "kernel"), [(0, 1, 3), (1, 2, 3), (3, 2, 5)])
def test_folded_norms_compute_what_two_steps_compute(number: int, stride: int, kernel: int) -> None:
    weights = {name: t.double() for name, t in efficientnet_weights().items()}
    network = EfficientNetLite0().double()
    network.load(weights)
    block = network.blocks[number]
    n_in = weights[f"_blocks.{number}.{'_depthwise' if number == 0 else '_expand'}_conv.weight"].shape[int(number > 0)]
    n_in = 32 if number == 0 else n_in
    x = torch.randn(2, n_in, 15, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = plain_block(weights, f"_blocks.{number}.", x, kernel=kernel, stride=stride, expand=number > 0)
    found, _ = block(x)
    torch.testing.assert_close(found, expected)


def test_maps_have_the_published_sizes() -> None:
    network = EfficientNetLite0()
    with torch.no_grad():
        maps = network(torch.randn(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps.thin] == [32] + 2 * [16] + 2 * [8] + 6 * [4] + 5 * [2]
    assert maps.head.shape == (1, 1280, 2, 2)
    assert [m.shape[1] for m in (*maps.wide, maps.head)] == [wide for wide, _ in network.widths]
    # 4.65 million are published; the batch norms' are folded away, and each convolution has a shift in their place.
    assert sum(p.numel() for p in network.parameters()) == 4_631_000


def test_a_mode_changes_nothing() -> None:
    network = EfficientNetLite0()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.train().classify(x), network.eval().classify(x), rtol=0, atol=0)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in network.modules())


def test_weights_of_another_network_are_refused() -> None:
    weights = efficientnet_weights()
    with pytest.raises(BodyError, match="no weights of EfficientNet-Lite0"):
        EfficientNetLite0().load({**weights, "_fc.weight": torch.zeros(10, 1280)})
    del weights["_blocks.7._bn1.running_var"]
    with pytest.raises(BodyError, match=r"_bn1\.running_var"):
        EfficientNetLite0().load(weights)
