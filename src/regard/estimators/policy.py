"""A policy from demonstrations: adapt a trained learner to what was shown, then act.

policy = FewShotPolicy("runs/reacher").fit(demonstrations)
action = policy.act(observation)            (A,), or (B, A) for observations (B, D)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.domains.acting.demonstrations import Demonstrations
from regard.domains.acting.steps import StepReader
from regard.errors import ConfigError, DataError
from regard.learners.base import AttendingLearner, Learner
from regard.learners.fine_tuned import FineTuned
from regard.recipes.trained import TrainedLearner


class FewShotPolicy:
    """Acts as it was shown.

    Args:
        learner: a checkpoint, the folder of a run of the domain "robots", or a learner in hand.
        reader: steps to rows; that of the checkpoint by default.
        settings: as of `TrainedLearner.load`, such as "fine_tune.n_steps=80".

    Raises:
        ConfigError: a learner of another domain, or one that classifies.

    Attributes:
        demonstrations_: what it was shown.
    """

    def __init__(
        self, learner: Learner | str | Path, *, reader: StepReader | None = None, settings: tuple[str, ...] = ()
    ) -> None:
        trained = TrainedLearner.load(learner, settings)
        found = reader or (trained.reader() if trained.domain.acts else StepReader())
        if not isinstance(found, StepReader) or not trained.learner.regresses:
            raise ConfigError(
                f"{trained.name} predicts no actions: expected a learner that was trained on demonstrations."
            )
        self._learner, self._reader = trained.learner, found
        self._state: Any = None

    def fit(self, demonstrations: Demonstrations, trust: ArrayLike | None = None) -> Self:
        """Adapt to demonstrations of one task.

        Args:
            demonstrations: one or more, all of the same task; task numbers are not looked at.
            trust: (N,) a weight for each; ones by default.

        Raises:
            DataError: sizes that are not those of training, or weights of another number.
        """
        weights = None if trust is None else [trust]
        support = self._reader.support([demonstrations], weights)
        learner = self._learner
        with torch.no_grad():
            try:
                if isinstance(learner, FineTuned):
                    self._state = learner.adapt(support, self._reader.questions([demonstrations], weights))
                else:
                    self._state = learner.adapt(support)
            except RuntimeError as error:
                sizes = demonstrations.observations.shape[1], demonstrations.actions.shape[1]
                raise DataError(
                    f"demonstrations have {sizes[0]} features and {sizes[1]} actions, not those "
                    f"of training ({str(error).splitlines()[0][:100]}): expected the same sizes."
                ) from error
        self.demonstrations_ = demonstrations
        return self

    def act(self, observation: ArrayLike) -> NDArray[np.float64]:
        """The action for one observation (D,), or for each of several (B, D).

        Raises:
            ConfigError: `fit` was not called.
            DataError: another number of features, or numbers that are not finite.
        """
        x = self._queries(observation)
        with torch.inference_mode():
            output = self._learner.predict(self._state, x[None])
        if not isinstance(output, Distribution):
            raise ConfigError("the learner answered with classes: expected one of numbers.")
        action: NDArray[np.float64] = output.mean[0].double().numpy()
        return action[0] if np.ndim(observation) == 1 else action

    def module(self) -> ActingModule:
        """What `act` does as a module of PyTorch, observations (B, D) to actions (B, A), for `torch.export`.

        Raises:
            ConfigError: `fit` was not called.
        """
        if self._state is None:
            raise ConfigError("the policy has seen no demonstration: call fit(demonstrations) first.")
        return ActingModule(self._learner, self._state, self._reader).eval()

    def attention(self, observation: ArrayLike) -> list[NDArray[np.float64]]:
        """How much each shown step counted: for each demonstration (B, n) shares, n its rows; all add up to 1.

        Raises:
            ConfigError: `fit` was not called, or the learner does not attend.
        """
        if not isinstance(self._learner, AttendingLearner):
            raise ConfigError(f"{type(self._learner).__name__} does not attend: see `regard learners`.")
        x = self._queries(observation)
        with torch.inference_mode():
            p = self._learner.attend(self._state, x[None])[0].double().numpy()
        n_rows, lengths = self._reader.n_rows, self.demonstrations_.lengths
        return [p[:, i * n_rows :][:, : min(int(n), n_rows)] for i, n in enumerate(lengths)]

    def _queries(self, observation: ArrayLike) -> torch.Tensor:
        if self._state is None:
            raise ConfigError("the policy has seen no demonstration: call fit(demonstrations) first.")
        x = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        width = self.demonstrations_.observations.shape[1]
        if x.ndim != 2 or x.shape[1] != width:
            raise DataError(f"the observation has shape {np.shape(observation)}: expected ({width},) or (B, {width}).")
        return self._reader(x)


@final
class ActingModule(nn.Module):
    """An adapted policy: the learner with the state that it read, and the scale of the features."""

    def __init__(self, learner: Learner, state: Any, reader: StepReader) -> None:
        super().__init__()
        self.learner, self.state = learner, state
        dtype = torch.get_default_dtype()
        self.centre = nn.Buffer(torch.tensor(reader.centre or [0.0], dtype=dtype))
        self.scale = nn.Buffer(torch.tensor(reader.scale or [1.0], dtype=dtype))

    def forward(self, observation: Float[Tensor, "B D"]) -> Float[Tensor, "B A"]:
        """The actions."""
        x = (observation - self.centre) / self.scale
        # Of a query neither progress nor a mark that it was shown is known.
        predicted = self.learner.predict(self.state, torch.cat([x, x.new_zeros(x.shape[0], 2)], 1)[None])
        assert isinstance(predicted, Distribution)  # a policy is a regression learner
        return predicted.mean[0]
