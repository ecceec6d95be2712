"""What the learners share that answer column by column: one column a target, or one a class.

    column_t(s) = y_st                       targets:  N( mean_t(x), sigma_t(x) )
    column_k(s) = +1 if y_s = k, else -1     classes:  p_k = N(1) / ( N(1) + N(-1) ), normalised over k

One network reads every column, and no column is different from another. So one checkpoint serves any number of classes
or targets, and classes named otherwise are predicted under their other names. The price is that the items are read
once for each column, and that targets do not inform each other.

With `n_targets`, all T targets of a row are one token, as the coordinates of an action should be: the items are read
once, each target knows which it is and what the others of its row are, and the learner serves T targets alone.

    token(s) = [ x_s, y_s1 ... y_sT, known ]        T normal distributions, one for each target
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from regard.episode import Support
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import hide_absent


@dataclass(frozen=True)
class RowTokens:
    """How rows with targets or classes become tokens, and outputs predictions: by column, or all targets at once.

    Args:
        n_targets: T, the targets of one token; 0 reads column by column.

    Raises:
        ConfigError: a negative number.
    """

    n_targets: int = 0

    def __post_init__(self) -> None:
        if self.n_targets < 0:
            raise ConfigError(f"n_targets is {self.n_targets}: expected the number of targets, or 0 for columns.")

    @property
    def n_extra(self) -> int:
        """Numbers that a token has beside the vector of its item."""
        return 1 + (self.n_targets or 1)

    @property
    def n_outputs(self) -> int:
        """Numbers that a network predicts for each token: a mean and a deviation for each target of it."""
        return 2 * (self.n_targets or 1)

    def support(self, z: Float[Tensor, "B S D"], support: Support) -> Float[Tensor, "B C S E"]:
        """(B, C, S, D + n_extra) tokens of the support rows whose items are z; C is 1 for joint targets.

        Raises:
            EpisodeError: another number of targets than this network was made for.
        """
        if not self.n_targets:
            return beside(z, columns(support, z.dtype))
        if support.y.shape[-1] != self.n_targets:
            raise EpisodeError(
                f"the support has {support.y.shape[-1]} targets (y is {tuple(support.y.shape)}): expected "
                f"{self.n_targets}, which this learner's n_targets says."
            )
        known = torch.ones_like(z[..., :1])
        return torch.cat([z, support.y.to(z.dtype), known], -1)[:, None]

    def queries(self, z: Float[Tensor, "B Q D"], n_columns: int) -> Float[Tensor, "B C Q E"]:
        """As `support`, for queries, whose targets are not known."""
        if not self.n_targets:
            return unknown(z, n_columns)
        return torch.cat([z, z.new_zeros(*z.shape[:2], self.n_extra)], -1)[:, None]

    def predictions(
        self, output: Float[Tensor, "B C Q O"], mass: Float[Tensor, "B C2"], min_sigma: float
    ) -> Float[Tensor, "B Q K"] | Normal:
        """(B, C, Q, n_outputs) to logits, or to a normal distribution over (B, Q, T)."""
        if self.n_targets:
            output = output.squeeze(1).unflatten(-1, (2, self.n_targets)).permute(0, 3, 1, 2)
        return column_predictions(output, mass, min_sigma)


def columns(support: Support, dtype: torch.dtype) -> Float[Tensor, "B C S"]:
    """The targets, or a sign for each class."""
    y = support.y if support.is_regression else 2 * support.one_hot() - 1
    return y.to(dtype).mT


def class_mass(support: Support) -> Float[Tensor, "B C"]:
    """(B, C) summed weight of each class; (B, 0) marks a state of regression."""
    if support.is_regression:
        return support.weight.new_zeros(support.n_tasks, 0)
    return support.membership().sum(1)


def beside(
    z: Float[Tensor, "B S D"], column: Float[Tensor, "B C S"], *, known: bool = True
) -> Float[Tensor, "B C S E"]:
    """Each vector with a column's number beside it, and 1 where the number is known (of support rows) or 0."""
    number = torch.stack([column, torch.full_like(column, float(known))], -1)
    return torch.cat([z[:, None].expand(*column.shape, -1), number], -1)


def unknown(z: Float[Tensor, "B Q D"], n_columns: int) -> Float[Tensor, "B C Q E"]:
    """As `beside`, for queries, whose number is not known."""
    return beside(z, z.new_zeros(z.shape[0], n_columns, z.shape[1]), known=False)


def column_predictions(
    output: Float[Tensor, "B C Q 2"], mass: Float[Tensor, "B C2"], min_sigma: float
) -> Float[Tensor, "B Q C"] | Normal:
    """Logits, or a normal distribution with sigma = m + (1 - m) softplus(.), m the smallest, as in the papers."""
    mean, raw = output.to(torch.promote_types(output.dtype, mass.dtype)).transpose(1, 2).unbind(-1)
    sigma = min_sigma + (1 - min_sigma) * F.softplus(raw)
    if mass.shape[-1]:
        return hide_absent(sign_logits(mean, sigma.square()), mass)
    # Arguments are not validated: that looks at values, which vmap forbids.
    return Normal(mean, sigma, validate_args=False)


def sign_logits(mean: Float[Tensor, "*B Q C"], variance: Float[Tensor, "*B Q #C"]) -> Float[Tensor, "*B Q C"]:
    """Of each column the log-probability of +1 and not -1, where it is normal: log sigmoid of 2 mean / variance."""
    return F.logsigmoid(2 * mean / variance)
