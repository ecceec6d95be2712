"""What a module is made of, found in one walk.

`named_parameters`, `named_buffers` and `modules` each walk through the whole module, and each takes as long as a
product of a small dense network. Whoever needs several of them in one call looks once, and keeps nothing for the next.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class ModuleTensors(NamedTuple):
    """Modules, parameters and buffers of a module, by name, each once; as they are now."""

    modules: dict[str, nn.Module]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def training(self) -> tuple[bool, ...]:
        """Of each module: a part of a model may be in eval mode on its own."""
        return tuple([module.training for module in self.modules.values()])


def module_tensors(root: nn.Module) -> ModuleTensors:
    """As `named_modules`, `named_parameters` and `named_buffers` find them, in their order."""
    found = ModuleTensors({}, {}, {})
    _collect(root, "", found, set())
    return found


def _collect(module: nn.Module, path: str, found: ModuleTensors, seen: set[int]) -> None:
    seen.add(id(module))
    found.modules[path] = module
    start = f"{path}." if path else ""
    for into, own in ((found.parameters, module._parameters), (found.buffers, module._buffers)):
        for name, tensor in own.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                into[start + name] = tensor
    for name, child in module._modules.items():
        if child is not None and id(child) not in seen:
            _collect(child, start + name, found, seen)
