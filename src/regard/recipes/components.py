"""Names in a recipe to the functions and classes they stand for, with every option checked against its signature.

So a default is written once, where the class is, and a misspelt option is an error with a suggestion, not silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from regard.errors import ConfigError, did_you_mean
from regard.learners import find_learner
from regard.learners.base import Learner
from regard.nn.encoder import Encoder
from regard.nn.headed import Headed

_ENCODERS = {
    "Conv4": "regard.nn.conv4",
    "ResNet12": "regard.nn.resnet12",
    "ResidualMaps": "regard.nn.residual_maps",
    "MLP": "regard.nn.mlp",
    "TokenLSTM": "regard.nn.sequence",
    "TokenTransformer": "regard.nn.sequence",
    "Flat": "regard.nn.flat",
    "Fourier": "regard.nn.fourier",
}


NETWORKS = ("encoder", "set_encoder", "model")
"""Options of a learner that are networks themselves: what it encodes items or sets with, or what it adapts."""


def build_learner(spec: Mapping[str, Any]) -> Learner:
    """A learner from {"name": ..., option: value, ..., "encoder": {"name": ..., option: value}}, or with a "model".

    Raises:
        ConfigError: an unknown name or option.
    """
    options = {key: value for key, value in spec.items() if key != "name"}
    for place in NETWORKS:
        if isinstance(options.get(place), Mapping):
            options[place] = build_model(options[place])
    name = str(spec.get("name", ""))
    return call_checked(find_learner(name).load(), options, f"learner {name}")  # type: ignore[no-any-return]


def build_model(spec: Mapping[str, Any]) -> nn.Module:
    """The model of a gradient learner: {"encoder": {...}, "n_outputs": C} with a linear head, or an encoder as it is.

    Raises:
        ConfigError: an unknown name or option.
    """
    if "encoder" not in spec:
        return build_encoder(spec)
    return call_checked(Headed, {**spec, "encoder": build_encoder(spec["encoder"])}, "model")  # type: ignore[no-any-return]


def build_encoder(spec: Mapping[str, Any]) -> Encoder:
    """An encoder from {"name": ..., option: value}.

    Raises:
        ConfigError: an unknown name or option.
    """
    name = str(spec.get("name", ""))
    options = {key: value for key, value in spec.items() if key != "name"}
    return call_checked(encoder_class(name), options, f"encoder {name}")  # type: ignore[no-any-return]


def encoder_class(name: str) -> type[Encoder]:
    """The class behind an encoder's name.

    Raises:
        ConfigError: no encoder has that name.
    """
    if name not in _ENCODERS:
        raise ConfigError(f"no encoder is called {name!r}: {did_you_mean(name, _ENCODERS)}")
    return getattr(import_module(_ENCODERS[name]), name)  # type: ignore[no-any-return]


def call_checked(function: Callable[..., Any], options: Mapping[str, Any], what: str) -> Any:
    """`function(**options)`, after a look at its signature.

    Raises:
        ConfigError: an option that it does not have, or one that it needs and did not get.
    """
    parameters = inspect.signature(function).parameters
    # A module without an __init__ of its own shows that of nn.Module: *args and **kwargs, which nobody has to give.
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    for option in options:
        if option not in named:
            raise ConfigError(f"{what} has no option {option!r}: {did_you_mean(option, named)}")
    required = [n for n, p in named.items() if p.default is p.empty and n not in options]
    if required:
        raise ConfigError(f"{what} needs {', '.join(map(repr, required))}: add it to the recipe or by --set.")
    # YAML has lists where Python's signatures say tuples.
    return function(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()})
