"""What the library needs of torch.func and torch.export: whether they are at work, and a call with other tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import ConfigError


def inside_transform() -> bool:
    """Whether a transform of torch.func (grad, vmap, jvp) surrounds this call: some kernels have no rule there."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def is_recorded() -> bool:
    """Whether torch.export records this call, for a file: sizes are symbols, and values are not there to be read."""
    return torch.compiler.is_exporting()


def values_are_known() -> bool:
    """Whether a choice may be made by looking at values: not inside a transform, nor while a function is traced."""
    return not (is_recorded() or torch.compiler.is_compiling() or inside_transform())


def call_with(module: nn.Module, tensors: dict[str, Tensor], *arguments: Any) -> Any:
    """`module(*arguments)` with these parameters and buffers in place of its own.

    What the module holds twice, be it a tensor under two names or a whole layer, is replaced in both places, and every
    place gets back the very tensor that it had, also when the call raises. (torch.func.functional_call of torch 2.13
    replaces tensors by name. Where two names lead to one layer, it keeps its own replacement for the original of the
    second name, and puts that back at the end.)

    Args:
        module: it is called as it is, in its mode.
        tensors: names, as of `named_parameters` and `named_buffers`, to tensors. A buffer that the call binds to a new
            tensor (`self.count = self.count + 1`) is written back here.
        arguments: of the call.

    Raises:
        ConfigError: a name that the module does not have.
    """
    places: list[tuple[dict[str, Any], str, str, Tensor]] = []
    names: dict[int, str] = {}
    recurrent: list[nn.RNNBase] = []
    try:
        _replace(module, "", tensors, places, names, recurrent, set())
        if unknown := tensors.keys() - names.values():
            raise ConfigError(
                f"{type(module).__name__} has no parameter or buffer {sorted(unknown)[0]!r}: expected names as of "
                "named_parameters() and named_buffers(); were layers renamed or tied after the learner was made?"
            )
        result = module(*arguments)
        for slots, key, name, _ in places:
            current = slots.get(key)
            if current is not tensors[name] and isinstance(current, Tensor):
                tensors[name] = current
        return result
    finally:
        for slots, key, _, original in places:
            slots[key] = original
        for layer in recurrent:  # it keeps a list of its own, which would hold the replacements
            layer._init_flat_weights()


def _replace(
    module: nn.Module,
    path: str,
    tensors: dict[str, Tensor],
    places: list[tuple[dict[str, Any], str, str, Tensor]],
    names: dict[int, str],
    recurrent: list[nn.RNNBase],
    seen: set[int],
) -> None:
    """Replace what `tensors` has in this module and those under it; note each place and what was there."""
    seen.add(id(module))
    n_before = len(places)
    for slots in (module._parameters, module._buffers):
        for key, original in slots.items():
            if original is not None:
                name = names.setdefault(id(original), path + key)
                if name in tensors:
                    places.append((slots, key, name, original))
                    slots[key] = tensors[name]  # pyright: ignore[reportArgumentType]
    if isinstance(module, nn.RNNBase) and len(places) > n_before:
        recurrent.append(module)
    for key, child in module._modules.items():
        if child is not None and id(child) not in seen:
            _replace(child, f"{path}{key}.", tensors, places, names, recurrent, seen)
