"""Components of a recipe: names to the learners and encoders they stand for, every option checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from regard.domains.registry import all_domains
from regard.errors import ConfigError, RegardError, did_you_mean
from regard.learners import find_learner
from regard.learners.base import Learner
from regard.limits import NETWORK_OF_RECIPE, TENSORS_OF_RECIPE
from regard.nn.encoder import Encoder
from regard.nn.headed import Headed
from regard.signatures import call_checked
from regard.training.sealed import AllocationError, BoundedAllocation

T = TypeVar("T")

_ENCODERS = {
    "Conv4": "regard.nn.conv4",
    "ResNet12": "regard.nn.resnet12",
    "ResidualMaps": "regard.nn.residual_maps",
    "MLP": "regard.nn.mlp",
    "TokenLSTM": "regard.nn.sequence",
    "TokenTransformer": "regard.nn.sequence",
    "GIN": "regard.nn.graph_encoders",
    "GraphAttention": "regard.nn.graph_encoders",
    "Flat": "regard.nn.flat",
    "Fourier": "regard.nn.fourier",
}


NETWORKS = ("encoder", "set_encoder", "model")
"""Options of a learner that are networks themselves: what it encodes items or sets with, or what it adapts."""


def build_learner(spec: Mapping[str, Any]) -> Learner:
    """A learner from {"name": ..., option: value, ..., "encoder": {"name": ..., option: value}}, or with a "model".

    Raises:
        ConfigError: an unknown name or option, or a network beyond the limits of `regard.limits`.
    """
    options = {key: value for key, value in spec.items() if key != "name"}
    name = str(spec.get("name", ""))
    try:
        with BoundedAllocation(NETWORK_OF_RECIPE, TENSORS_OF_RECIPE):
            for key in NETWORKS:
                if isinstance(options.get(key), Mapping):
                    options[key] = build_model(options[key])
            return _build(find_learner(name).load(), options, f"learner {name}")
    except AllocationError as error:
        raise ConfigError(
            f"learner {name} is too large a network ({error}): expected at most {NETWORK_OF_RECIPE:,} numbers in "
            f"{TENSORS_OF_RECIPE:,} tensors; use fewer filters, features or layers, or raise the limits in "
            "regard.limits."
        ) from error


def build_model(spec: Mapping[str, Any]) -> nn.Module:
    """The model of a gradient learner: {"encoder": {...}, "n_outputs": C} with a linear head, or an encoder as it is.

    Raises:
        ConfigError: an unknown name or option.
    """
    if "encoder" not in spec:
        return build_encoder(spec)
    encoder = spec["encoder"]
    if not isinstance(encoder, Mapping):
        raise ConfigError(f"model: encoder is {encoder!r:.100}, expected a name with options.")
    return _build(Headed, {**spec, "encoder": build_encoder(encoder)}, "model")


def build_encoder(spec: Mapping[str, Any]) -> Encoder:
    """An encoder from {"name": ..., option: value}.

    Raises:
        ConfigError: an unknown name or option.
    """
    name = str(spec.get("name", ""))
    options = {key: value for key, value in spec.items() if key != "name"}
    return _build(encoder_class(name), options, f"encoder {name}")


def _build(function: Callable[..., T], options: Mapping[str, Any], what: str) -> T:
    """As `call_checked`; a network that these options cannot make is a setting that cannot be."""
    try:
        return call_checked(function, options, what)
    except RegardError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AssertionError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        plain = {key: value for key, value in options.items() if not isinstance(value, nn.Module)}
        raise ConfigError(f"{what} cannot be built with {repr(plain)[:200]}: {reason[:200]}.") from error


def encoder_class(name: str) -> type[Encoder]:
    """The class behind an encoder's name.

    Raises:
        ConfigError: no encoder has that name.
    """
    if name in _ENCODERS:
        return getattr(import_module(_ENCODERS[name]), name)
    # Names only, never a module by the word of a recipe or of a checkpoint: reading one must not run code.
    others = {key: home for domain in all_domains() for key, home in domain.own_encoders.items()}
    if name not in others:
        raise ConfigError(f"no encoder is called {name!r}: {did_you_mean(name, [*_ENCODERS, *others])}")
    module, _, attribute = others[name].partition(":")
    return getattr(import_module(module), attribute)
