"""Leave-one-out fine-tuning: a learner that answers in context takes a few gradient steps on the support first.

    phi_0 = theta,  and for t = 0 ... n_steps - 1, with g the (t mod G)-th of the G groups of the support:
    L_t(phi) = mean over the rows s of g of   - log p_phi( y_s | x_s, support without g )
    phi_{t+1} = Adam( phi_t, gradient of L_t )

So the support is at once what is learned from and what is asked about, and no row answers for itself. A group is one
row, or several that belong together, such as the steps of one demonstration. Where leaving a group out would leave
nothing to learn from (a single demonstration, the only example of a class), it stays in.

Where the task has more labelled rows than the context holds (all steps of a demonstration, of which the context has
twelve), the loss may be of those, each with its group: `adapt(support, further)`. A single demonstration, whose rows
stay in the context, would else be asked only what the context answers word for word.

It is off unless asked for: training knows nothing of it, n_steps=0 is the learner as it is. Whether a task needs it may
be left to a rule: with `threshold`, a task whose loss above, before any step and averaged over its groups, is at most
this stays in context. `calibrated` takes the threshold from tasks of the kind that was trained on.

Adam: Kingma and Ba 2015, arXiv:1412.6980. Fine-tuning all weights of a learner trained over episodes on the support of
a new task: Triantafillou et al. 2020 (arXiv:1903.03096) and Mandi et al. 2022 (arXiv:2206.03271), whose finding, that
new tasks need it and variations of trained ones do not, is ours too.

Each task has weights of its own, and the steps of all are done at once by vmap. Gradients do not go through the steps:
a prediction's derivative by support weights is that of reading the context, with the weights held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.func import grad, vmap

from regard.episode import Episode, Items, Support, Value, map_items
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import Learner, Output, query_loss
from regard.learners.inner.locks import lock_of, outside_inference_mode
from regard.learners.inner.loop import GradientLearner
from regard.nn.transforms import call_with

Tensors = dict[str, Tensor]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class TunedState(Value):
    """weights: of each task, by name, (B, ...), empty where no step is taken; context: of the learner, (B, ...)."""

    weights: Tensors
    context: Value


@final
class FineTuned(Learner):
    """A learner whose weights move with each support set.

    Args:
        learner: in context, such as TNPD; it is not copied, and what is frozen in it now stays as it is.
        n_steps: gradient steps per task; 0 takes none.
        learning_rate: of Adam.
        rows_per_group: support rows that are left out together, neighbours: 1, or the rows of a demonstration.
        threshold: the rule: tasks whose leave-one-out loss is at most this take no step; None fine-tunes all.
        tasks_at_once: bounds the memory, which holds four copies of the weights for each.

    Raises:
        ConfigError: numbers out of range, a learner that cannot be vmapped, or one that adapts by gradient already.
    """

    # Groups are taken in turn, and a row twice over is two rows that stand in for each other.
    ignores_order = False
    counts_weight = False

    def __init__(
        self,
        learner: Learner,
        n_steps: int = 80,
        *,
        learning_rate: float = 3e-4,
        rows_per_group: int = 1,
        threshold: float | None = None,
        tasks_at_once: int = 10,
    ) -> None:
        super().__init__()
        if n_steps < 0 or not learning_rate > 0 or rows_per_group < 1 or tasks_at_once < 1:
            raise ConfigError(
                f"n_steps is {n_steps}, learning_rate {learning_rate}, rows_per_group {rows_per_group} and "
                f"tasks_at_once {tasks_at_once}: expected steps of at least 0, a positive rate, and at least "
                "one row and one task."
            )
        if isinstance(learner, GradientLearner | FineTuned) or not learner.vmaps or learner.transductive:
            raise ConfigError(
                f"{type(learner).__name__} cannot be fine-tuned on the support: expected a learner that answers in "
                "context, can be vmapped and is not transductive, such as TNPD or Prototypical."
            )
        self.learner = learner
        self.n_steps, self.learning_rate, self.rows_per_group = n_steps, learning_rate, rows_per_group
        self.threshold, self.tasks_at_once = threshold, tasks_at_once
        self.regresses, self.classifies, self.relabels = learner.regresses, learner.classifies, learner.relabels
        self.differentiates_twice, self.solves_separable = learner.differentiates_twice, learner.solves_separable
        self.domain = learner.domain
        # Now, as inside a transform of torch.func no parameter says that it is trained.
        self.moving = [name for name, p in learner.named_parameters() if p.requires_grad]

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """That of the learner in context: fine-tuning is for after training."""
        return self.learner.loss(episode)

    def adapt(self, support: Support, further: Support | None = None) -> TunedState:
        """Take the steps, then read the support.

        Args:
            support: the context.
            further: rows of the same tasks whose loss is descended on, in place of that of the support's own. Its rows
                fall into as many groups of neighbours, all of one size, as those of the support.

        Raises:
            EpisodeError: further rows of another number of tasks, or that cannot be cut into the groups.
        """
        self.learner._require(support)
        if not self.n_steps:
            return TunedState({}, self.learner.adapt(support))
        with lock_of(self.learner), outside_inference_mode():
            # Copies: those of inference mode cannot be differentiated through, and a state is its own.
            support = support.map(torch.clone)
            asked = support if further is None else further.map(torch.clone)
            pieces = [slice(i, i + self.tasks_at_once) for i in range(0, support.n_tasks, self.tasks_at_once)]
            weights = [self._tuned(support.tasks(piece).detach(), asked.tasks(piece).detach()) for piece in pieces]
            joined = {name: torch.cat([w[name] for w in weights]) for name in weights[0]}
            return TunedState(joined, self._context(joined, support))

    def predict(self, state: TunedState, query_x: Items) -> Output:
        if not state.weights:
            return self.learner.predict(state.context, query_x)
        is_distribution: list[bool] = []

        def one(weights: Tensors, context: list[Tensor], x: Any) -> Tensor:
            task = _rebuilt(state.context, [t[None] for t in context])
            output = self._with(weights, lambda: self.learner.predict(task, map_items(lambda t: t[None], x)))
            is_distribution.append(isinstance(output, Distribution))
            if isinstance(output, Distribution):
                return torch.stack([output.mean[0], output.stddev[0]])
            return output[0]

        with lock_of(self.learner):
            output = vmap(one, randomness="different")(state.weights, _tensors(state.context), query_x)
        if is_distribution[-1]:
            return Normal(output[:, 0], output[:, 1], validate_args=False)
        return output

    def calibrated(self, episodes: Iterable[Episode], level: float = 0.95) -> FineTuned:
        """The same with the rule's threshold: so many of these tasks, of the kind that was trained on, stay in context.

        Args:
            episodes: such as the first few of validation.
            level: share of their tasks below the threshold.
        """
        losses = torch.cat([self.leave_one_out_loss(episode.support) for episode in episodes])
        changed = copy(self)
        changed.threshold = float(losses.quantile(level))
        return changed

    @torch.no_grad()
    def leave_one_out_loss(self, support: Support, further: Support | None = None) -> Float[Tensor, " B"]:
        """(B,) the mean over the groups of what each loses when the others answer for it, before any step."""
        asked = support if further is None else further
        group, asked_group, n_groups = self._groups(support, asked)
        weights = self._start(support.n_tasks)
        losses = torch.stack(
            [
                self._losses(weights, support, group == step, asked, asked_group == step)
                for step in range(int(n_groups.max()))
            ],
            1,
        )
        counted = torch.arange(losses.shape[1], device=losses.device) < n_groups[:, None]
        return (losses * counted).sum(1) / n_groups.clamp_min(1)

    # ---- the steps ---------------------------------------------------------------------------------------------------

    def _tuned(self, support: Support, asked: Support) -> Tensors:
        """The weights of each task after the steps: those of the learner plus a constant, to whoever differentiates."""
        group, asked_group, n_groups = self._groups(support, asked)
        start = {name: w.detach() for name, w in self._start(support.n_tasks).items()}
        weights = start
        mean, square = ({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))
        for step in range(self.n_steps):
            turn = (step % n_groups.clamp_min(1))[:, None]
            masks = (group == turn, asked_group == turn)
            gradient = grad(lambda w, m=masks: self._losses(w, support, m[0], asked, m[1]).sum())(weights)
            mean = {k: _BETAS[0] * m + (1 - _BETAS[0]) * gradient[k] for k, m in mean.items()}
            square = {k: _BETAS[1] * v + (1 - _BETAS[1]) * gradient[k].square() for k, v in square.items()}
            scale = [1 - beta ** (step + 1) for beta in _BETAS]
            weights = {
                k: w - self.learning_rate * mean[k] / scale[0] / ((square[k] / scale[1]).sqrt() + _EPSILON)
                for k, w in weights.items()
            }
        moved = n_groups > 0
        if self.threshold is not None:
            moved = moved & (self.leave_one_out_loss(support, asked) > self.threshold)
        own = self._start(support.n_tasks)
        return {
            name: own[name] + ((w - start[name]) * moved.view(-1, *[1] * (w.ndim - 1))).detach()
            for name, w in weights.items()
        }

    def _losses(
        self, weights: Tensors, support: Support, left_out: Tensor, asked: Support, is_asked: Tensor
    ) -> Float[Tensor, " B"]:
        """(B,) of the rows that are asked about, answered from the support without those left out."""
        n_classes = support.n_classes

        def one(
            weights: Tensors,
            x: Any,
            y: Tensor,
            weight: Tensor,
            out: Tensor,
            query_x: Any,
            query_y: Tensor,
            mass: Tensor,
        ) -> Tensor:
            kept = weight * ~out
            if support.is_regression:
                # Where nothing is left, what was left out stays in.
                kept = torch.where(kept.sum() > 0, kept, weight)
            else:
                of_class = torch.zeros(n_classes, dtype=kept.dtype, device=kept.device).index_add(0, y, kept)
                kept = torch.where(of_class[y] > 0, kept, weight)
            rows = Support(map_items(lambda t: t[None], x), y[None], kept[None], n_classes)
            query_x = map_items(lambda t: t[None], query_x)
            episode = Episode(rows, query_x, query_y[None], mass[None], n_classes)
            return self._with(weights, lambda: query_loss(self.learner(episode), episode))[0]

        asked_weight = asked.weight * is_asked
        return vmap(one, randomness="different")(
            weights, support.x, support.y, support.weight, left_out, asked.x, asked.y, asked_weight
        )

    def _groups(
        self, support: Support, asked: Support
    ) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B F"], Int[Tensor, " B"]]:
        """The number of each row's group among those with weight, -1 for rows without; and how many there are."""
        n_blocks = -(-support.n_rows // self.rows_per_group)
        size = self.rows_per_group if asked is support else asked.n_rows // n_blocks
        if asked.n_tasks != support.n_tasks or (asked is not support and asked.n_rows != n_blocks * size):
            raise EpisodeError(
                f"the further rows are {asked.n_tasks} tasks of {asked.n_rows}, and the support has "
                f"{support.n_tasks} of {n_blocks} groups: expected as many tasks, and equally many rows for each group."
            )
        present, device = support.weight > 0, support.weight.device
        block = torch.arange(support.n_rows, device=device) // self.rows_per_group
        counted = torch.zeros(support.n_tasks, n_blocks, dtype=torch.int64, device=device)
        counted = (counted.index_add(1, block, present.to(torch.int64)) > 0).to(torch.int64)
        rank = torch.where(counted > 0, counted.cumsum(1) - 1, -1)
        asked_block = torch.arange(asked.n_rows, device=device) // size
        return torch.where(present, rank[:, block], -1), rank[:, asked_block], counted.sum(1)

    def _context(self, weights: Tensors, support: Support) -> Value:
        template: list[Value] = []

        def one(weights: Tensors, x: Any, y: Tensor, weight: Tensor) -> list[Tensor]:
            rows = Support(map_items(lambda t: t[None], x), y[None], weight[None], support.n_classes)
            template.append(self._with(weights, lambda: self.learner.adapt(rows)))
            return [t[0] for t in _tensors(template[-1])]

        tensors = vmap(one, randomness="different")(weights, support.x, support.y, support.weight)
        return _rebuilt(template[-1], tensors)

    def _start(self, n_tasks: int) -> Tensors:
        """The learner's weights, once for each task: (B, ...)."""
        parameters = dict(self.learner.named_parameters())
        return {name: parameters[name].expand(n_tasks, *parameters[name].shape) for name in self.moving}

    def _with(self, weights: Tensors, function: Callable[[], Any]) -> Any:
        """What the function gives while the learner has these weights."""
        call = _Call(self.learner, function)
        return call_with(call, {f"learner.{name}": w for name, w in weights.items()})


class _Call(nn.Module):
    """A function of a learner, for `call_with`."""

    def __init__(self, learner: Learner, function: Callable[[], Any]) -> None:
        super().__init__()
        self.learner, self.function = learner, function

    def forward(self) -> Any:
        return self.function()


def _tensors(value: Value) -> list[Tensor]:
    """Of a state, in order."""
    found: list[Tensor] = []

    def note(t: Tensor) -> Tensor:
        found.append(t)
        return t

    value.map(note)
    return found


def _rebuilt(value: Value, tensors: list[Tensor]) -> Any:
    """A state with other tensors in the same order."""
    remaining = iter(tensors)
    return value.map(lambda _: next(remaining))
