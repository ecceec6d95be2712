"""A Gaussian process on structure and on learned features, each trusted as far as the support bears it out.

    K_m(a, b) = amplitude ( m S(a, b) + (1 - m) L(a, b) ) + constant                         m = 0, 1/4, 1/2, 3/4, 1
    S(a, b)   = (1 - p) T(a, b) + p T(a > 0, b > 0)
    T(a, b)   = sum_j min(a_j, b_j) / sum_j max(a_j, b_j)            Tanimoto similarity of counts of substructures
    L(a, b)   = (1 - q) exp( - |f(a) - f(b)|^2 / 2 D length^2 ) + q f(a) . f(b) / D                 f: (D,) learned
    p(m | y)  ~ prior_m  p(y | K_m)^beta                             evidence: the marginal likelihood of the support
    answer    = sum_m p(m | y) answer of the process with K_m

p, q, prior, beta, length, amplitude, constant and noise are learned across tasks, by the likelihood of queries: 16
values alone cannot tell a noise from a length. What a task decides for itself is m, and it decides by evidence, softly.
So learned features that say nothing of a new assay are set aside for structure, and the other way round. In regression
the process starts from the mean of the training tasks, from which `constant` lets a task depart, unless the values are
plainly of another unit.

An encoder that predicts the training tasks side by side (`label_loss`) is trained by their labels, and the numbers of
the kernel by episodes of tasks and items that it was not trained on: on its own tasks its features look better than
they are, and would be trusted too much. The sampler appends the rows with labels to an episode, as queries of weight 0.
Any other encoder is trained by the likelihood of queries, too.

Chen, Tripp, Hernandez-Lobato 2023, "Meta-learning Adaptive Deep Kernel Gaussian Processes for Molecular Property
Prediction", arXiv:2205.02708 (ADKF-IFT); the Tanimoto kernel, Ralaivola et al. 2005 (doi:10.1016/j.neunet.2005.07.009).

Differs from the paper: ADKF adapts the lengths of one kernel of learned features to each task by gradient, with the
implicit function theorem for what crosses tasks. Here the choice of each task is among a few mixtures, in closed form,
so the derivative is exact and `adapt` is five small linear systems. Counts above `n_levels` count as that many, which
makes the similarity a matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from regard.episode import Episode, Support, Value, flatten_tasks, map_items, unflatten_tasks
from regard.errors import ConfigError
from regard.learners.base import EncodingLearner, hide_absent, query_loss, require_vectors
from regard.learners.columns import class_mass, columns, sign_logits
from regard.nn.attention import scores
from regard.nn.encoder import Encoder
from regard.nn.inference import eval_mode
from regard.nn.tanimoto import tanimoto

_MIN_NOISE = 1e-3
_SPEED = 10.0
"""How much faster than the encoder's weights the kernel's few numbers are learned."""
_FAR = 2.0
"""Deviations of the training tasks beyond which values are taken to be of another unit."""
_MIN_VARIANCE = 1e-12


@dataclass(frozen=True)
class Mixture(Value):
    """z: (B, S, D); alpha: (B, M, C, S); precision: (B, M, S, S), (I + W K / noise)^-1 W / noise; share: (B, M),
    p(m | y); mean, deviation: (B, C) of the columns; mass: (B, C) or (B, 0).
    """

    z: Tensor
    alpha: Tensor
    precision: Tensor
    share: Tensor
    mean: Tensor
    deviation: Tensor
    mass: Tensor


@final
class TanimotoKernel(EncodingLearner):
    """A mixture of structure and learned features, by evidence.

    Args:
        encoder: items to vectors whose first `n_fixed_features` are counts, such as FingerprintNetwork with
            keep_counts, or AssayNetwork; without any, all features are taken for both.
        n_mixtures: M, values of m from 0 to 1.
        length, amplitude, constant, noise, evidence, presence, linear: initial values; evidence is beta (1 is Bayes'
            rule, 0 the prior alone), presence is p, linear is q.
        mean, deviation: of the values of the training tasks, in regression.
        deviation_rows: rows that `deviation` counts for beside a task's own.
        n_levels: how far counts are told apart.

    Raises:
        ConfigError: an encoder that gives parts, or fewer than two mixtures.
    """

    regresses = True
    keeps_units = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_mixtures: int = 5,
        length: float = 1.0,
        amplitude: float = 1.2,
        constant: float = 0.1,
        noise: float = 0.15,
        evidence: float = 0.5,
        presence: float = 0.5,
        linear: float = 0.5,
        mean: float = 0.0,
        deviation: float = 1.0,
        deviation_rows: float = 3.0,
        n_levels: int = 3,
    ) -> None:
        super().__init__()
        require_vectors(encoder, "TanimotoKernel")
        if n_mixtures < 2:
            raise ConfigError(f"n_mixtures is {n_mixtures}: expected at least 2, structure and learned features.")
        self.encoder, self.n_levels = encoder, n_levels
        self.n_counts = int(encoder.n_fixed_features)
        starts = {"length": length, "amplitude": amplitude, "constant": constant, "noise": noise, "evidence": evidence}
        odds = {"presence": presence / (1 - presence), "linear": linear / (1 - linear)}
        self.log = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(math.log(start) / _SPEED)) for name, start in (starts | odds).items()}
        )
        self.log_prior = nn.Parameter(torch.zeros(n_mixtures))
        self.shift = nn.Parameter(torch.zeros(()))
        self.mean, self.deviation, self.deviation_rows = float(mean), float(deviation), float(deviation_rows)
        self.register_buffer("mixture", torch.linspace(0, 1, n_mixtures))

    mixture: Tensor

    def adapt_encoded(self, support: Support) -> Mixture:
        with torch.autocast(support.weight.device.type, enabled=False):
            rows = support.to(dtype=torch.float64)
            z: Tensor = rows.x
            mean, deviation = self.unit(rows)
            residual = (columns(rows, z.dtype) - mean[..., None]) / deviation[..., None]
            ratio = (rows.weight / self.noise)[:, None]  # (B, 1, S)
            system = torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + ratio[..., None] * self.covariance(z, z)
            precision = torch.linalg.solve(system, ratio.diag_embed())
            alpha = residual[:, None] @ precision.mT
            share = self.share(residual, alpha, system, rows.weight, class_mass(rows))
            return Mixture(z, alpha, precision, share, mean, deviation, class_mass(support))

    def predict_encoded(self, state: Mixture, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        with torch.autocast(query_z.device.type, enabled=False):
            z = query_z.to(state.z.dtype)
            k = self.covariance(z, state.z)
            mean = k @ state.alpha.mT  # (B, M, Q, C)
            explained = ((k @ state.precision) * k).sum(-1, keepdim=True)
            # Rounding may explain more than there is.
            variance = (self.variance(z)[..., None] - explained).clamp_min(0) + self.noise
            share = state.share[..., None, None]
            if state.mass.shape[-1]:
                logits = (share * sign_logits(mean + state.mean[:, None, None], variance)).sum(1)
                return hide_absent(logits.to(state.mass.dtype), state.mass)
            centre = (share * mean).sum(1)
            spread = (share * (variance + mean.square())).sum(1) - centre.square()
            unit = state.deviation[:, None]
            answers = centre * unit + state.mean[:, None], spread.clamp_min(1e-12).sqrt() * unit
            return Normal(*(t.to(state.mass.dtype) for t in answers), validate_args=False)

    def loss(self, episode: Episode) -> Float[Tensor, " B"]:
        """(B,) of the queries, and of rows with labels where the encoder is trained by these."""
        label_loss = getattr(self.encoder, "label_loss", None)
        with_labels = (episode.query_weight == 0).all(0)
        if label_loss is None or not with_labels.any():
            return query_loss(self(episode), episode)
        labelled = map_items(lambda t: t[:, with_labels], episode.query_x)
        queries = replace(
            episode,
            query_x=map_items(lambda t: t[:, ~with_labels], episode.query_x),
            query_y=episode.query_y[:, ~with_labels],
            query_weight=episode.query_weight[:, ~with_labels],
        )
        with eval_mode(self.encoder), torch.no_grad():
            support, query_z = self.encode_episode(queries)
        output = self.predict_encoded(self.adapt_encoded(support), query_z)
        per_row = unflatten_tasks(label_loss(flatten_tasks(labelled)), episode.query_weight.shape[0])
        return query_loss(output, queries) + per_row.mean(1)

    def number(self, name: str) -> Float[Tensor, ""]:
        """One of the kernel's numbers; that of presence and linear is the odds of their share."""
        return (self.log[name] * _SPEED).exp()

    @property
    def noise(self) -> Float[Tensor, ""]:
        """The variance of a row of weight 1."""
        return self.number("noise") + _MIN_NOISE

    def unit(self, rows: Support) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
        """Where the process starts and the unit of each column: of classes 0 and 1, and in regression the training
        tasks' mean and the rows' deviation from it, shrunk towards the training tasks' unless the values are far from
        all of these: then their own. The learned shift of the mean is added to both.
        """
        y = columns(rows, rows.weight.dtype)
        if not rows.is_regression:
            return self.shift.to(y.dtype).expand(y.shape[:2]), torch.ones_like(y[..., 0])
        weight = rows.weight[:, None]
        total = weight.sum(-1)
        y = torch.where(weight > 0, y, 0.0)
        own = (weight * y).sum(-1) / torch.where(total > 0, total, 1.0)
        near = torch.exp(-((own - self.mean) / (_FAR * self.deviation)).square() / 2)
        prior = self.deviation_rows * near
        square = (weight * (y - own[..., None]).square()).sum(-1)
        variance = (square + prior * self.deviation**2) / (total + prior).clamp_min(1e-12)
        deviation = (variance + _MIN_VARIANCE * (1 + own.square())).sqrt()
        return near * (self.mean + self.shift * self.deviation) + (1 - near) * own, deviation

    def share(
        self,
        residual: Float[Tensor, "B C S"],
        alpha: Float[Tensor, "B M C S"],
        system: Float[Tensor, "B M S S"],
        weight: Float[Tensor, "B S"],
        mass: Float[Tensor, "B C2"],
    ) -> Float[Tensor, "B M"]:
        """p(m | y), by the mean over columns of the log marginal likelihood; absent classes say nothing."""
        fit = (residual[:, None] * alpha).sum(-1)
        # The noise is the same of all mixtures, and so drops out.
        log_p = -(fit + torch.linalg.slogdet(system).logabsdet[..., None]) / 2  # (B, M, C)
        present = (mass > 0).to(log_p.dtype) if mass.shape[-1] else torch.ones_like(residual[..., 0])
        n_present = present.sum(-1, keepdim=True)
        evidence = (log_p * present[:, None]).sum(-1) / torch.where(n_present > 0, n_present, 1.0)
        return torch.softmax(_SPEED * self.log_prior + self.number("evidence") * evidence, -1)

    def covariance(self, a: Float[Tensor, "B Q D"], b: Float[Tensor, "B S D"]) -> Float[Tensor, "B M Q S"]:
        """The kernel of every vector of a with every vector of b, by mixture."""
        counts_a, counts_b = a[..., : self.n_counts or None], b[..., : self.n_counts or None]
        presence = self.number("presence")
        structure = tanimoto(counts_a, counts_b, self.n_levels) + presence * tanimoto(counts_a, counts_b, 1)
        root = (a.shape[-1] - self.n_counts) ** 0.5
        f_a, f_b = a[..., self.n_counts :] / root, b[..., self.n_counts :] / root
        square = -scores(f_a, f_b, "distance")
        alike = torch.exp(-square.clamp_min(0) / (2 * self.number("length").square()))
        linear = self.number("linear")
        learned = (alike + linear * f_a @ f_b.mT) / (1 + linear)
        share = self.mixture[:, None, None]
        mixed = share * (structure / (1 + presence))[:, None] + (1 - share) * learned[:, None]
        return self.number("amplitude") * mixed + self.number("constant")

    def variance(self, a: Float[Tensor, "B Q D"]) -> Float[Tensor, "B M Q"]:
        """The diagonal of `covariance(a, a)`."""
        linear, share = self.number("linear"), self.mixture[:, None]
        square = a[..., self.n_counts :].square().mean(-1)
        learned = (1 + linear * square) / (1 + linear)
        return self.number("amplitude") * (share + (1 - share) * learned[:, None]) + self.number("constant")
