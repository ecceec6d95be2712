"""The attention learners as Keras models, on TensorFlow, JAX or PyTorch, with weights from checkpoints of Regard.

    import regard.keras as rk
    model = rk.from_checkpoint("characters")            # the same answers as in PyTorch
    logits = model((support, membership), query)        # (B, Q, C)

Everything is written in `keras.ops`, so the backend is what Keras is set to, by KERAS_BACKEND or ~/.keras/keras.json.
PyTorch is not imported under the other backends, except by what takes episodes of a sampler (`EpisodeDataset`) and by
`as_learner`. Names are imported when first used. Needs the extra `keras`; the backend is yours to install.

Left out: gradient learners (nested gradients have no form in `keras.ops`), regression, and "gumbel" attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.keras.attention_meta import AttentionMetaModel
    from regard.keras.checkpoint import from_checkpoint, load_model
    from regard.keras.cross_transformer import CrossTransformerModel
    from regard.keras.data import EpisodeDataset, episode_arrays, membership, tf_dataset
    from regard.keras.images import Conv4Layer, ResidualMapsLayer
    from regard.keras.learner import as_learner
    from regard.keras.matching import MatchingModel
    from regard.keras.prototypical import PrototypicalModel
    from regard.keras.threads import set_threads
    from regard.keras.tokens import TokenLSTMLayer
    from regard.keras.vectors import FlatLayer, MLPLayer

_HOME = {
    "AttentionMetaModel": ".attention_meta",
    "Conv4Layer": ".images",
    "CrossTransformerModel": ".cross_transformer",
    "EpisodeDataset": ".data",
    "FlatLayer": ".vectors",
    "MLPLayer": ".vectors",
    "MatchingModel": ".matching",
    "PrototypicalModel": ".prototypical",
    "ResidualMapsLayer": ".images",
    "TokenLSTMLayer": ".tokens",
    "as_learner": ".learner",
    "episode_arrays": ".data",
    "from_checkpoint": ".checkpoint",
    "load_model": ".checkpoint",
    "membership": ".data",
    "set_threads": ".threads",
    "tf_dataset": ".data",
}

__all__ = [
    "AttentionMetaModel",
    "Conv4Layer",
    "CrossTransformerModel",
    "EpisodeDataset",
    "FlatLayer",
    "MLPLayer",
    "MatchingModel",
    "PrototypicalModel",
    "ResidualMapsLayer",
    "TokenLSTMLayer",
    "as_learner",
    "episode_arrays",
    "from_checkpoint",
    "load_model",
    "membership",
    "set_threads",
    "tf_dataset",
]

__getattr__ = lazy(__name__, _HOME)
