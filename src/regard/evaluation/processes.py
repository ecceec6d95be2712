"""Work shared among processes, with the same values, bit for bit, as in one.

Every item is computed alone by one of the processes, as this one would: with as many threads, since another number of
threads adds in another order, and with the same default dtype. So N processes want N times the cores; on a machine
without them, lower `torch.set_num_threads` first.

Processes are started by joblib's loky, which sends functions and learners that were defined in a script or notebook
too, and needs no `if __name__ == "__main__"` around the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import torch

from regard.errors import ConfigError

Item = TypeVar("Item")
Value = TypeVar("Value")


def map_in_order(function: Callable[[Item], Value], items: Sequence[Item], processes: int = 1) -> Iterator[Value]:
    """`function(item)` for each item, in the order of the items.

    Args:
        function: whose value depends on the item alone. It is sent to each process once.
        items: split evenly, neighbours together.
        processes: 1 computes here.

    Raises:
        ConfigError: fewer than 1 process. Otherwise whatever `function` raises.
    """
    if processes < 1:
        raise ConfigError(f"processes is {processes}: expected at least 1.")
    if processes == 1 or len(items) < 2:
        yield from map(function, items)
        return
    from joblib import Parallel, delayed  # comes with scikit-learn

    ends = [len(items) * i // processes for i in range(processes + 1)]
    shares = [items[first:end] for first, end in pairwise(ends) if end > first]
    work = delayed(_map_share)
    numerics = (torch.get_num_threads(), torch.get_default_dtype())
    # Without memory maps: they would hand out read-only arrays, and leave files behind when a process is killed.
    parallel = Parallel(n_jobs=len(shares), backend="loky", max_nbytes=None, return_as="generator")
    results = parallel(work(function, share, *numerics) for share in shares)
    for values in cast(Iterator[list[Value]], results):
        yield from values


def _map_share(
    function: Callable[[Item], Value], share: Sequence[Item], n_threads: int, dtype: torch.dtype
) -> list[Value]:
    torch.set_num_threads(n_threads)
    torch.set_default_dtype(dtype)
    return [function(item) for item in share]
