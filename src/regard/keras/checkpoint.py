"""From a checkpoint of Regard to a Keras model with its weights, and models from `.keras` files; PyTorch is not needed.

Each twin says which tensors of PyTorch its weights are (`weight_sources`); whatever is missing, left over or of another
shape is an error. Options have the defaults of the PyTorch class, so a checkpoint's settings build the same network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from regard.errors import CheckpointError, ConfigError, did_you_mean
from regard.extras import import_extra
from regard.keras.attention_meta import AttentionMetaModel
from regard.keras.base import EpisodeModel
from regard.keras.cross_transformer import CrossTransformerModel
from regard.keras.images import Conv4Layer, ResidualMapsLayer
from regard.keras.matching import MatchingModel
from regard.keras.prototypical import PrototypicalModel
from regard.keras.tokens import TokenLSTMLayer
from regard.keras.vectors import FlatLayer, MLPLayer
from regard.recipes.locations import checkpoint_file
from regard.training.file_format import read_checkpoint_file

keras = import_extra("keras", "keras")

MODELS: dict[str, type[EpisodeModel]] = {
    "AttentionMetaLearner": AttentionMetaModel,
    "CrossTransformer": CrossTransformerModel,
    "Matching": MatchingModel,
    "Prototypical": PrototypicalModel,
}
ENCODERS: dict[str, Any] = {
    "Conv4": Conv4Layer,
    "Flat": FlatLayer,
    "MLP": MLPLayer,
    "ResidualMaps": ResidualMapsLayer,
    "TokenLSTM": TokenLSTMLayer,
}
"""By the names that they have in a recipe."""

_TORCH_ONLY = ("noise",)
"""Options of a learner that mean nothing here: the noise of predicted numbers."""
_UNUSED = ("num_batches_tracked",)


def from_checkpoint(source: str | Path, **options: Any) -> Any:
    """A Keras model with the weights of a trained learner: it gives the same answers, to rounding.

    Args:
        source: the name of a model that ships, such as "characters", a checkpoint file, or the folder of a run.
        options: of `keras.Model`, such as `name`.

    Raises:
        ConfigError: nothing there, or a learner or encoder that has no form in Keras.
        CheckpointError: not a checkpoint, damaged, or one that does not fit.
    """
    path = checkpoint_file(source)
    header, content = read_checkpoint_file(path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): take another copy, or make it again.") from error
    spec = header["spec"].get("learner")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("encoder"), Mapping):
        raise CheckpointError(f"{path} holds no learner with an encoder: expected a checkpoint of `regard train`.")
    encoder = _component(ENCODERS, "encoder", spec["encoder"], {})
    own = {key: value for key, value in spec.items() if key not in ("encoder", *_TORCH_ONLY)}
    model = _component(MODELS, "learner", own, {"encoder": encoder, **options})
    model.make_weights(encoder.blank_items())
    prefix = "learner/"
    given = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    assign_weights(model, given, str(path))
    return model


def assign_weights(model: Any, tensors: Mapping[str, NDArray[Any]], what: str) -> None:
    """Give a model the weights of a PyTorch learner.

    Args:
        model: one of the models here on one of the encoders here, built.
        tensors: the learner's state dict in NumPy.
        what: where they come from, for messages.

    Raises:
        CheckpointError: all missing and unexpected tensors and wrong shapes at once; nothing is changed.
    """
    sources = [*model.weight_sources()]
    sources += [s._replace(name=f"encoder.{s.name}") for s in model.encoder.weight_sources()]
    used = {source.name for source in sources}
    mistakes = [f"no tensor {name!r}" for name in sorted(used - set(tensors))]
    left = sorted(name for name in set(tensors) - used if not name.endswith(_UNUSED))
    mistakes += [f"an unexpected tensor {name!r}" for name in left]
    values = []
    for source in sources:
        if source.name not in tensors:
            continue
        tensor, expected = tensors[source.name], tuple(source.variable.shape)
        value = tensor if source.convert is None else source.convert(tensor)
        if tuple(value.shape) != expected:
            mistakes.append(f"{source.name!r} of shape {tuple(value.shape)} where the model has {expected}")
        values.append(np.array(value))
    if mistakes:
        shown = "; ".join(mistakes[:5]) + (f"; and {len(mistakes) - 5} more" if len(mistakes) > 5 else "")
        raise CheckpointError(f"{what} does not fit {type(model).__name__}: it has {shown}.")
    for source, value in zip(sources, values, strict=True):
        source.variable.assign(value)


def load_model(path: str | Path, **options: Any) -> Any:
    """A model from a `.keras` file, whichever backend wrote it: `keras.saving.load_model`, with the classes here known.

    Args:
        path: of the file.
        options: of `keras.saving.load_model`.
    """
    return keras.saving.load_model(path, **options)


def _component(known: Mapping[str, Any], kind: str, spec: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    name = str(spec.get("name", ""))
    if name not in known:
        raise ConfigError(f"the {kind} is {name!r}, which has no form in Keras: {did_you_mean(name, known)}")
    return known[name](**{key: value for key, value in spec.items() if key != "name"}, **extra)
