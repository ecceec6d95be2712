"""The Chinese pages say what the English ones say: same headings, same code, same figures."""

from __future__ import annotations

import re

import pytest

from pages import ROOT, code_blocks, heading_levels, numbers

PAIRS = [("README.md", "README.zh-CN.md"), ("docs/tutorial.md", "docs/zh/tutorial.md")]


def _read(name: str) -> str:
    """A page without its generated table, which stands on the English page only."""
    return re.sub(r"<!-- table.*?end of table -->", "", (ROOT / name).read_text(), flags=re.S)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_headings_code_and_figures_are_in_step(english: str, chinese: str) -> None:
    original, translation = _read(english), _read(chinese)
    assert heading_levels(original) == heading_levels(translation)
    assert code_blocks(original) == code_blocks(translation)
    assert numbers(original) == numbers(translation)


@pytest.mark.parametrize("page", [pair[1] for pair in PAIRS])
def test_a_chinese_page_is_in_chinese(page: str) -> None:
    chinese = len(re.findall(r"[\u4e00-\u9fff]", _read(page)))
    assert chinese > 500
