"""A Keras model as a `Learner`: `evaluate`, `compare`, the doctor and `check_learner` take it, on every backend.

On PyTorch the model itself is a module. On TensorFlow and JAX tensors go there and back as arrays, and so do gradients:
the backend's own automatic differentiation is the backward pass of one autograd function, by weights and by items. So
our loop trains such a model as well, although `fit` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from regard.episode import Episode, Items, Support
from regard.errors import ConfigError
from regard.extras import import_extra
from regard.keras.base import EpisodeModel
from regard.keras.functions import CallOptions, ModelFunction, model_function
from regard.learners.base import AttendingLearner, Learner, hide_absent

keras = import_extra("keras", "keras")


def as_learner(model: Any, *, domain: str = "arrays") -> Learner:
    """A built model as a learner, which shares its weights under PyTorch and has copies of them elsewhere.

    Args:
        model: one of the models of `regard.keras`, or an `EpisodeModel` of your own.
        domain: of its items, such as "images"; see `regard.domains`.

    Raises:
        ConfigError: not such a model, or one without weights yet.
    """
    if not isinstance(model, EpisodeModel):
        raise ConfigError(
            f"model is a {type(model).__name__}: expected one of regard.keras, such as PrototypicalModel."
        )
    if not model.built:
        raise ConfigError("the model has no weights yet: call it once, or fit it.")
    attends = type(model).row_attention is not EpisodeModel.row_attention
    learner = AttendingKerasLearner(model) if attends else KerasLearner(model)
    learner.domain = domain
    return learner


@dataclass(frozen=True)
class KeptSupport:
    """A Keras model adapts by being given the support again with each query."""

    support: Support


class KerasLearner(Learner):
    """A Keras model behind a learner's interface.

    Args:
        model: built.
    """

    vmaps = False
    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        # Not a submodule: under PyTorch its tensors have names that Keras counts up, and no two models have the same.
        object.__setattr__(self, "model", model)
        self.ignores_order = self.counts_weight = not getattr(model, "n_reads", 0)
        self.run = None if keras.backend.backend() == "torch" else model_function(model)
        self.differentiates_twice = self.run is None
        if self.run is None:
            weights = [v.value for v in model.weights]
        else:
            arrays = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
            weights = [nn.Parameter(torch.from_numpy(array.copy())) for array in arrays]
        self.weights = nn.ParameterList(weights)

    @property
    def transductive(self) -> bool:
        return getattr(self.model.encoder, "norm", None) == "transductive"

    def adapt(self, support: Support) -> KeptSupport:
        self._require(support)
        return KeptSupport(support.map(torch.clone))

    def predict(self, state: KeptSupport, query_x: Items) -> Tensor:
        member = state.support.membership()
        return hide_absent(self.call_model(state.support, member, query_x, False), member.sum(1))

    def forward(self, episode: Episode) -> Tensor:
        self._require(episode.support)
        return self.predict(KeptSupport(episode.support), episode.query_x)

    def call_model(self, support: Support, member: Tensor, query_x: Items, attending: bool) -> Tensor:
        """(B, Q, C) logits or (B, Q, S) attention, in the dtype of `member`."""
        if self.run is None:
            output = self.model((support.x, member), query_x, training=self.training, attending=attending)
            return output.to(member.dtype)
        x, query = (t if isinstance(t, dict) else {"": t} for t in (support.x, query_x))
        options = CallOptions(len(self.weights), tuple(x), self.training, attending)
        output = _Foreign.apply(self.run, options, *self.weights, member, *x.values(), *(query[key] for key in x))
        return cast(Tensor, output).to(member.dtype)


class AttendingKerasLearner(KerasLearner, AttendingLearner):
    """A Keras model that attends to support rows."""

    def attend(self, state: KeptSupport, query_x: Items) -> Tensor:
        return self.call_model(state.support, state.support.membership(), query_x, True)


class _Foreign(Function):
    @staticmethod
    def forward(ctx: Any, run: ModelFunction, options: CallOptions, *tensors: Tensor) -> Tensor:
        ctx.run, ctx.options = run, options
        ctx.save_for_backward(*tensors)
        return torch.from_numpy(run.output(options, [t.numpy(force=True) for t in tensors]).copy())

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [t.numpy(force=True) for t in ctx.saved_tensors]
        found = ctx.run.gradients(ctx.options, arrays, slopes[0].numpy(force=True))
        return (
            None,
            None,
            *(
                None if g is None else torch.from_numpy(g.copy()).to(t.dtype)
                for g, t in zip(found, ctx.saved_tensors, strict=True)
            ),
        )
