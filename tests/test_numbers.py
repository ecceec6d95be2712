"""Numbers are written as people write them."""

from __future__ import annotations

import math

import pytest

from regard.numbers import readable


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (971.4, 2, "970"),
        (-3204.0, 2, "-3200"),
        (12345.678, 4, "12350"),
        (0.00012345, 3, "0.000123"),
        (1.5e-7, 3, "1.5e-07"),
        (2.5e9, 4, "2.5e+09"),
        (-1e-320, 3, "-1e-320"),
        (-0.0, 3, "0"),
        (0.1 + 0.2, 4, "0.3"),
        (math.nan, 3, "nan"),
        (-math.inf, 3, "-inf"),
    ],
)
def test_as_people_write_them(value: float, digits: int, written: str) -> None:
    assert readable(value, digits) == written


def test_a_sign_where_it_is_wanted() -> None:
    assert [readable(v, 2, signed=True) for v in (320.0, -320.0, 0.0)] == ["+320", "-320", "0"]
