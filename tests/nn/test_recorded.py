"""What stands in for PyTorch's linear algebra while a function is recorded gives what PyTorch gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.nn import recorded


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "is_recorded", lambda: True)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_normal_quantile_is_exact_far_into_the_tails() -> None:
    tail = torch.logspace(-300, -1, 500, dtype=torch.float64)
    p = torch.cat([tail, torch.linspace(0.05, 0.95, 300, dtype=torch.float64), 1 - tail[tail > 1e-15]])
    assert torch.allclose(recorded.normal_quantile(p), torch.special.ndtri(p), rtol=1e-14, atol=1e-15)


def test_the_inverse_of_badly_conditioned_matrices() -> None:
    a = normal(3, 40, 40)
    a = a @ a.mT + 0.01 * torch.eye(40, dtype=torch.float64)
    assert torch.linalg.cond(a).max() > 1e4
    assert torch.allclose(recorded.inverse(a) @ a, torch.eye(40, dtype=torch.float64).expand(3, -1, -1), atol=1e-8)


def test_a_unit_triangular_system() -> None:
    lower, right = 0.2 * normal(2, 33, 33).tril(-1), normal(2, 33, 4)
    expected = torch.linalg.solve_triangular(lower, right, upper=False, unitriangular=True)
    assert torch.allclose(recorded.unit_lower_solve(lower, right), expected, atol=1e-12)


def test_distinct_values_are_sorted_both_ways() -> None:
    x = normal(4, 9)
    assert torch.equal(recorded.stable_argsort(x), x.argsort())
    assert torch.equal(recorded.stable_argsort(x, descending=True), x.argsort(descending=True))


def test_the_inverse_of_the_error_function() -> None:
    x = torch.linspace(-0.9999, 0.9999, 201, dtype=torch.float64)
    assert torch.allclose(recorded.inverse_erf(x), torch.erfinv(x), rtol=1e-12, atol=1e-14)
