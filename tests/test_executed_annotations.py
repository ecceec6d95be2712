"""What is written down of types and shapes is checked, in each test from its first call on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from executed_annotations import FIRST_CALLS, ONE_IN, begin_test, checked
from regard.nn.attention import scores

RIGHT, WRONG = torch.zeros(2, 3), torch.zeros(3)
REFUSED = "violates type hint|Type-check error"


@checked
def n_rows(x: Float[Tensor, "B S"], factor: int = 1) -> int:
    return len(x) * factor


@checked
def doubled(x: int) -> int:
    return 2 * x


def made() -> Callable[[int], str]:
    @checked
    def inner(x: int) -> str:
        return "" if x else "empty"

    return inner


@checked
@dataclasses.dataclass
class Named:
    name: str

    @checked
    @property
    def length(self) -> int:
        return len(self.name)

    @checked
    @staticmethod
    def of(name: str) -> Named:
        return Named(name)


def test_shapes_are_checked_at_first_calls_and_at_some_of_the_rest() -> None:
    begin_test()
    assert [n_rows(RIGHT) for _ in range(FIRST_CALLS - 1)] == [2] * (FIRST_CALLS - 1)
    with pytest.raises(TypeCheckError):
        n_rows(WRONG)
    refused = 0
    for _ in range(4 * ONE_IN):
        try:
            n_rows(WRONG)
        except TypeCheckError:
            refused += 1
    assert refused == 4
    begin_test()
    with pytest.raises(TypeCheckError):
        n_rows(WRONG)


def test_types_are_checked_at_every_call() -> None:
    for _ in range(5 * FIRST_CALLS):
        with pytest.raises(Exception, match=REFUSED):
            doubled("2")  # type: ignore[arg-type]
    with pytest.raises(Exception, match=REFUSED):
        Named(3)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=REFUSED):
        Named.of(3)  # type: ignore[arg-type]
    assert Named("ab").length == 2


def test_a_function_within_a_function_is_checked_once_a_test() -> None:
    for _ in range(2):
        begin_test()
        with pytest.raises(Exception, match=REFUSED):
            made()("2")  # type: ignore[arg-type]
        assert made()("2") == ""  # type: ignore[arg-type]


def test_the_package_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        scores(torch.zeros(2, 3), torch.zeros(2, 3, 4), "distance")
