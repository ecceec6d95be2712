"""A transformer cut between two of its layers, so that what the frozen ones make is kept and only the others run.

The two halves share every module with the model they were cut from. `lower` runs the layers below the cut and stops
there; `upper` goes through the model again with states in place of the layers below, so that masks, positions and the
last norm are the model's own affair.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import BodyError
from regard.nn.transforms import call_with

_STATES: ContextVar[Tensor] = ContextVar("states")


class CutModel:
    """A model of transformers and where it is cut.

    Args:
        model: with its layers in one `nn.ModuleList`.
        n_upper: layers above the cut; 0 leaves the model whole.
        inputs: any small input of the model, on which both halves are compared with the whole.

    Raises:
        BodyError: layers that cannot be found, more than there are, or a model that cannot be run in two halves.
    """

    def __init__(self, model: nn.Module, n_upper: int, inputs: Mapping[str, Any]) -> None:
        self.n_upper = n_upper
        self.lower = self.upper = model
        if not n_upper:
            return
        path, layers = find_layers(model)
        cut = len(layers) - n_upper
        if cut < 0:
            raise BodyError(
                f"n_trained_layers is {n_upper} and {type(model).__name__} has {len(layers)}: expected at most those."
            )
        stop = [*layers[:cut], *(_Stop(layer) for layer in layers[cut:])]
        resume = [*(_Resume(layer) for layer in layers[:cut]), *layers[cut:]]
        self.lower, self.upper = _with_layers(model, path, stop), _with_layers(model, path, resume)
        self.cut = cut
        try:
            with torch.no_grad():
                full = model(**inputs).last_hidden_state
                halves = self.run_upper(self.run_lower(inputs), inputs).last_hidden_state
            agree = full.shape == halves.shape and torch.allclose(full, halves, atol=1e-4)
        except Exception as error:
            raise self._uncut(model, str(error)) from error
        if not agree:
            raise self._uncut(model, "the two halves give something else than the whole")

    def run_lower(self, inputs: Mapping[str, Any]) -> Tensor:
        """(N, L, D) states below the cut."""
        if not self.n_upper:
            return self.lower(**inputs).last_hidden_state
        try:
            self.lower(**inputs)
        except _Reached as reached:
            return reached.states
        raise BodyError(f"{type(self.lower).__name__} ran past layer {self.cut}: n_trained_layers must be 0 for it.")

    def run_upper(self, states: Tensor, inputs: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None) -> Any:
        """The model's own output, its layers begun from (N, L, D) states.

        Args:
            states: of the layers below the cut.
            inputs: as for `run_lower`.
            weights: parameters by name in place of the model's own.
        """
        token = _STATES.set(states)
        try:
            if not weights:
                return self.upper(**inputs)
            return call_with(_Keywords(self.upper, inputs), {f"model.{name}": w for name, w in weights.items()})
        finally:
            _STATES.reset(token)

    @staticmethod
    def _uncut(model: nn.Module, reason: str) -> BodyError:
        return BodyError(
            f"{type(model).__name__} cannot be run in two halves ({reason[:200]}): expected n_trained_layers to be 0."
        )


def find_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and list of the transformer's layers.

    Raises:
        BodyError: there is no list of as many layers as the configuration says.
    """
    n_layers = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return name, module
    raise BodyError(
        f"{type(model).__name__} has no list of {n_layers} layers: expected n_trained_layers to be 0 for such a model."
    )


class _Keywords(nn.Module):
    """A model and the keywords of one call, for `call_with`."""

    def __init__(self, model: nn.Module, inputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self) -> Any:
        return self.model(**self.inputs)


class _Reached(Exception):  # not an error: how the lower half ends
    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class _Other(nn.Module):
    """Stands where a layer stood; whatever the model reads of that layer is still there."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_layer", layer)  # not a submodule: it is that of another half

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_layer"], name)


class _Stop(_Other):
    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        raise _Reached(hidden_states)


class _Resume(_Other):
    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _STATES.get()


def _with_layers(model: nn.Module, path: str, layers: list[nn.Module]) -> nn.Module:
    """A shallow copy with other layers; all else is shared."""
    name, _, rest = path.partition(".")
    shallow = copy.copy(model)
    changed = _with_layers(model.get_submodule(name), rest, layers) if rest else nn.ModuleList(layers)
    shallow._modules = {**model._modules, name: changed}
    return shallow
