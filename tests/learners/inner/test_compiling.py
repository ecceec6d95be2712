"""Small compiled work is done by one thread, and the number of threads is as before."""

from __future__ import annotations

import pytest
import torch

from regard.learners.inner.compiling import _by_one_thread


def test_one_thread_for_the_time() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert _by_one_thread(lambda flat: (len(flat), torch.get_num_threads()))([torch.ones(1)]) == (1, 1)
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            _by_one_thread(lambda flat: 1 // 0)([])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
