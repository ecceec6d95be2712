"""A function of tensors traced once for each shape and given to torch.compile's backend.

What is kept is kept for a learner, and found again by all that the trace has baked in: names, shapes and layouts of the
tensors, modes of the modules, and the settings that the caller names.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

logger = logging.getLogger("regard.learners")

_COMPILED: WeakKeyDictionary[Any, dict[Any, Callable[..., Any]]] = WeakKeyDictionary()
"""Not on the learner, which keeps no state: what is compiled for it goes when it goes."""

_SMALL = 2**20
"""Numbers given, in all, up to which one thread is faster than two."""


def run_compiled(owner: Any, key: Hashable, function: Callable[..., Any], arguments: Any, flat: list[Tensor]) -> Any:
    """`function(*arguments)`, compiled.

    Args:
        owner: the object for which it is kept.
        key: what the function depends on beside `flat`.
        function: of nests of tensors.
        arguments: nests of tensors, dicts and tuples.
        flat: all tensors of the arguments, in order.
    """
    known = _COMPILED.setdefault(owner, {})
    whole = (key, *[(t.shape, t.stride(), t.dtype, t.device) for t in flat])
    compiled = known.get(whole)
    if compiled is None:
        small = sum(t.numel() for t in flat) <= _SMALL
        compiled = known[whole] = (
            _by_one_thread(_compile(function, arguments, 1)) if small else _compile(function, arguments)
        )
    return compiled(flat)


def _by_one_thread(compiled: Callable[[list[Tensor]], Any]) -> Callable[[list[Tensor]], Any]:
    """Waking a second thread takes longer than a product of small matrices; 8 of them: 204 against 133 microseconds."""

    def run(flat: list[Tensor]) -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return compiled(flat)
        finally:
            torch.set_num_threads(threads)

    return run


def _compile(
    function: Callable[..., Any], arguments: tuple[Any, ...], threads: int | None = None
) -> Callable[[list[Tensor]], Any]:
    """Trace into a graph of primitive operations, once, and compile that; without a compiler, as it is, and say so."""
    shape: list[Any] = []
    flat, spec = pytree.tree_flatten(arguments)

    def plain(*tensors: Tensor) -> list[Tensor]:
        out, out_spec = pytree.tree_flatten(function(*pytree.tree_unflatten(list(tensors), spec)))
        shape[:] = [out_spec]
        return out

    # Importing and using the compiler warns of torch's own affairs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Here, since it loads half of the compiler.
            from torch.fx.experimental.proxy_tensor import make_fx

            graph = make_fx(plain, decomposition_table=_THIN)(*flat)
            # Inductor itself: the guards of torch.compile, and its own, would check what the key of `_COMPILED` says.
            options: dict[str, Any] = {"size_asserts": False} | ({"cpp.threads": threads} if threads else {})
            compiled: Any = torch._inductor.compile(graph, flat, options=options)
            compiled(*flat)
        except Exception as error:
            logger.warning(
                "execution is 'compiled', and compiling failed (%s: %s): going on with 'vmap', which gives the same "
                "answer, slower. A C++ compiler, such as g++, is needed; execution='vmap' silences this.",
                type(error).__name__,
                str(error).partition("\n")[0],
            )
            compiled = plain
    return lambda tensors: pytree.tree_unflatten(compiled(*tensors), shape[0])


# ---- thin products ---------------------------------------------------------------------------------------------------


def _thin_product(a: Tensor, b: Tensor) -> Any:
    """A product over or to a single column, elementwise, which the compiler fuses with its neighbours; others stay."""
    if a.shape[-1] == 1:
        return a * b
    return (a * b.mT).sum(-1, keepdim=True) if b.shape[-1] == 1 else NotImplemented


_THIN = {torch.ops.aten.mm.default: _thin_product}
