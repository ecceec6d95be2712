"""What a learner promises, and the capabilities a learner can have, each of them a type.

    state  = learner.adapt(support)           a frozen dataclass of tensors with leading axis B; no state on the module
    output = learner.predict(state, query_x)  (B, Q, C) logits, or a torch Distribution over (B, Q, T)
    output = learner(episode)                 the two in one: what training and DDP call

A class here is abstract or, as every learner in its own file, final.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from regard.episode import Episode, Items, Support, first_tensor, flatten_tasks, unflatten_tasks
from regard.errors import ConfigError, EpisodeError
from regard.nn.encoder import Encoder

Output = Tensor | Distribution


class Learner(nn.Module, ABC):
    """Adapts on a support set and predicts queries.

    The attributes are claims; `regard.testing.check_learner` holds each learner to those it makes. They stand on the
    class; where a claim depends on the settings, as with the full context of `Matching`, `__init__` sets it again.

    Attributes:
        ignores_order: the order of support rows does not matter.
        counts_weight: a row of weight 2 is the row twice. (Weight 0 is absence for every learner.)
        relabels: renaming the classes renames the prediction.
        regresses: accepts targets (B, S, T) as well as classes.
        classifies: accepts class indices.
        translates: accepts sequences of tokens (B, S, L), and predicts a distribution over sequences.
        keeps_units: knows the unit and usual values of the training targets, so that these are not centred for it.
        domain: of items that only this learner reads, such as "tables"; see `regard.domains`.
        differentiates_twice: second derivatives are right, so the learner can stand inside MAML.
        solves_separable: tells apart items it has just seen after a few hundred steps of training at most.
        reads_zero: 0 means something among its targets, such as that they are all positive: an estimator must not shift
            them.
        vmaps: `torch.func.vmap` over its parameters gives what a loop gives.
    """

    ignores_order: bool = True
    counts_weight: bool = True
    relabels: bool = True
    regresses: bool = False
    classifies: bool = True
    translates: bool = False
    keeps_units: bool = False
    domain: str = "arrays"
    differentiates_twice: bool = True
    solves_separable: bool = True
    reads_zero: bool = False
    vmaps: bool = True

    @abstractmethod
    def adapt(self, support: Support) -> Any:
        """Support to state: a frozen dataclass of tensors with leading axis B."""

    @abstractmethod
    def predict(self, state: Any, query_x: Items) -> Output:
        """(B, Q, *item) to (B, Q, C) logits, minus infinity for classes absent from a task, or a distribution."""

    def forward(self, episode: Episode) -> Output:
        """`predict(adapt(support), query_x)`."""
        return self.predict(self.adapt(episode.support), episode.query_x)

    def loss(self, episode: Episode) -> Tensor:
        """(B,) what training lowers; the negative log-likelihood of the queries unless the method has its own way."""
        return query_loss(self(episode), episode)

    @property
    def transductive(self) -> bool:
        """Whether the answer to one query depends on the other queries."""
        # The heads of learners hold norms too, so encoders alone are not enough; an encoder may also say so itself.
        return any(
            getattr(module, "mixes_items", False) or (isinstance(module, Encoder) and module.transductive)
            for module in self.modules()
        )

    def _require(self, support: Support) -> None:
        """Say so where the targets are of a kind this method was not made for, or there is nothing to adapt to."""
        if support.n_rows == 0:
            raise EpisodeError(
                f"the support has no rows (y is {tuple(support.y.shape)}): expected at least one; a task without "
                "examples in a batch that has some is given rows of weight 0."
            )
        if support.is_sequence != self.translates:
            does, expected = (
                ("translates", "the tokens of sequences (tasks, rows, tokens), int64")
                if self.translates
                else ("predicts no sequences", "classes or numbers")
            )
            raise EpisodeError(
                f"{type(self).__name__} {does}, and the support's y is {support.y.dtype} {tuple(support.y.shape)}: "
                f"expected {expected}."
            )
        if self.translates:
            return
        if support.is_regression and not self.regresses:
            raise EpisodeError(
                f"{type(self).__name__} classifies, and the support has {support.y.dtype} targets: expected int64 "
                "class indices; for regression choose a learner whose row in `regard learners` says so."
            )
        if not support.is_regression and not self.classifies:
            raise EpisodeError(
                f"{type(self).__name__} is for regression: expected float targets (tasks, rows, targets)."
            )


class PlanningLearner(Learner):
    """A learner that goes about its loss in another way where many steps are ahead, such as by compiling it."""

    @abstractmethod
    def loss(self, episode: Episode, n_steps_ahead: int = 1) -> Tensor:
        """As of every learner.

        Args:
            episode: B tasks.
            n_steps_ahead: how many calls like this one there will be.
        """


class AttendingLearner(Learner):
    """A learner that can say how much of its answer each support row carried.

    Attributes:
        rebuilds: summing `attend` over the rows of a class gives the predicted probability of that class exactly
            (and, in regression, the weighted mean of the targets is the predicted mean).
        attends_by_query: what is attended to depends on the query; False where every query has the same weights.
    """

    rebuilds: bool = True
    attends_by_query: bool = True

    @abstractmethod
    def attend(self, state: Any, query_x: Items) -> Tensor:
        """(B, Q, S): a distribution over the support rows for every query."""


class EncodingLearner(Learner):
    """A learner that keeps its encoder fixed during adaptation, so that each item need be encoded only once.

    Subclasses say what happens on vectors, in `adapt_encoded` and `predict_encoded`.
    """

    encoder: Encoder

    def encode(self, x: Items) -> Tensor:
        """(N, *item) to (N, D) or (N, P, D)."""
        return self.encoder(x)

    @abstractmethod
    def adapt_encoded(self, support: Support) -> Any:
        """As `adapt`, on a support whose x is (B, S, D) or (B, S, P, D)."""

    @abstractmethod
    def predict_encoded(self, state: Any, query_z: Tensor) -> Output:
        """As `predict`, on (B, Q, D) or (B, Q, P, D)."""

    def adapt(self, support: Support) -> Any:
        self._require(support)
        # Copies: an encoder may return its input, and a state must not change with the caller's tensors.
        return self.adapt_encoded(_with_items(support, self._encode_tasks(support.x)).map(torch.clone))

    def predict(self, state: Any, query_x: Items) -> Output:
        return self.predict_encoded(state, self._encode_tasks(query_x))

    def forward(self, episode: Episode) -> Output:
        support, query_z = self.encode_episode(episode)
        return self.predict_encoded(self.adapt_encoded(support), query_z)

    def encode_episode(self, episode: Episode) -> tuple[Support, Tensor]:
        """Encode support and query in one pass: fewer, larger convolutions, and one set of batch statistics."""
        support = episode.support
        self._require(support)
        a, b = support.x, episode.query_x
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            x: Items = {key: _join(a[key], b[key], key) for key in a}
        elif isinstance(a, Tensor) and isinstance(b, Tensor):
            x = _join(a, b, "x")
        else:
            kinds = [f"a dict of {sorted(x)}" if isinstance(x, dict) else "a tensor" for x in (a, b)]
            raise EpisodeError(
                f"support items are {kinds[0]} and query items {kinds[1]}: expected the same kind of items."
            )
        z = self._encode_tasks(x)
        return _with_items(support, z[:, : support.n_rows]), z[:, support.n_rows :]

    def _encode_tasks(self, x: Items) -> Tensor:
        n_tasks = first_tensor(x).shape[0]
        return unflatten_tasks(self.encode(flatten_tasks(x)), n_tasks)


class EncodingAttendingLearner(EncodingLearner, AttendingLearner):
    """Both: attention, too, can be had from items encoded before."""

    @abstractmethod
    def attend_encoded(self, state: Any, query_z: Tensor) -> Tensor:
        """As `attend`, on encoded queries."""

    def attend(self, state: Any, query_x: Items) -> Tensor:
        return self.attend_encoded(state, self._encode_tasks(query_x))


class TokenAttendingLearner(EncodingAttendingLearner):
    """A learner that can also say where, on each support item, each part of a query looked."""

    @abstractmethod
    def attend_tokens(self, state: Any, query_x: Items) -> Tensor:
        """(B, Q, P, S, P): for each query part a distribution over the parts of the support rows of each class."""


def query_loss(output: Output, episode: Episode) -> Tensor:
    """(B,) mean negative log-likelihood over the queries of each task, padding left out."""
    weight = episode.query_weight
    if isinstance(output, Distribution):
        loss = -output.log_prob(episode.query_y)
        loss = loss.sum(-1) if loss.ndim == 3 else loss
    else:
        # bf16 logits are widened; float64 ones stay, or the laws would be checked in float32.
        logits = output.to(torch.promote_types(output.dtype, torch.float32))
        loss = F.cross_entropy(logits.flatten(0, 1), episode.query_y.flatten(), reduction="none")
        loss = loss.view_as(weight)
    return task_mean(loss, weight)


def task_mean(value: Float[Tensor, "B ..."], weight: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    """(B,) weighted mean of each task; 0 where a task has no weight.

    Args:
        value: (B, ...), may be infinite or NaN where the weight is 0: a padded query has label 0 by convention, which
            may be absent from its task, and its infinite loss must not become 0 * inf.
        weight: broadcastable to `value`.
    """
    value, weight = torch.broadcast_tensors(value, weight)
    total = weight.flatten(1).sum(1)
    return (torch.where(weight > 0, value, 0.0) * weight).flatten(1).sum(1) / torch.where(total > 0, total, 1.0)


def hide_absent(logits: Float[Tensor, "B Q C"], support_mass: Float[Tensor, "B C"]) -> Float[Tensor, "B Q C"]:
    """Minus infinity for classes without support weight in their task; evenly 0 where a task has none at all.

    Args:
        logits: (B, Q, C).
        support_mass: (B, C) summed weight of each class.
    """
    absent = (support_mass <= 0) & (support_mass > 0).any(-1, keepdim=True)
    nothing = (support_mass <= 0).all(-1, keepdim=True)
    logits = torch.where(nothing[:, None, :], torch.zeros_like(logits), logits)
    return logits.masked_fill(absent[:, None, :], -torch.inf)


def require_vectors(encoder: nn.Module, learner: str) -> None:
    """Say so, where a learner that compares vectors is given an encoder of parts.

    Raises:
        ConfigError: the encoder gives (N, P, D).
    """
    if getattr(encoder, "parts", False):
        raise ConfigError(
            f"{learner} compares vectors, and {type(encoder).__name__} gives parts (N, P, D): expected an encoder to "
            "(N, D); build it with parts=False."
        )


def block_sizes(encoder: nn.Module, blocks: Sequence[int] | None) -> tuple[int, ...] | None:
    """Sizes of the blocks of encoded features: as given, those of the encoder, or None, one block.

    Raises:
        ConfigError: they do not sum to the encoder's features.
    """
    sizes = getattr(encoder, "blocks", None) if blocks is None else blocks
    found = None if sizes is None else tuple(int(size) for size in sizes)
    n_features = getattr(encoder, "n_features", None)
    if found is not None and n_features is not None and sum(found) != n_features:
        raise ConfigError(f"blocks are {found}: expected them to sum to the encoder's {n_features}.")
    return found


def or_one(x: Tensor) -> Tensor:
    """x where it is above 0, else 1: what a sum may be divided by."""
    return torch.where(x > 0, x, 1.0)


def _join(a: Tensor, b: Tensor, name: str) -> Tensor:
    if a.shape[2:] != b.shape[2:] or a.shape[0] != b.shape[0]:
        raise EpisodeError(
            f"support {name} is {tuple(a.shape)} and query {name} {tuple(b.shape)}: expected as many tasks, and items "
            "of one shape; resize images, or pad texts to one length."
        )
    return torch.cat([a, b], 1)


def _with_items(support: Support, z: Tensor) -> Support:
    return Support(z, support.y, support.weight, support.n_classes)
