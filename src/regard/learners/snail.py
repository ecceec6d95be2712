"""SNAIL: causal convolutions bring rows of the past near, causal attention picks the one that matters.

    row s of the sequence   [ f(x_s), y_s ];      last: the query [ f(x), ? ]
    TC block, d = 1, 2, 4, ...   x = [ x, tanh(conv_d x) * sigmoid(conv_d x) ]    conv_d sees a row and the d-th before
    attention block              x = [ x, attention(q(x), k(x), v(x)) over this row and those before ]
    N( mean, sigma ) = linear( x at the query )

Mishra, Rohaninejad, Chen, Abbeel 2018, "A Simple Neural Attentive Meta-Learner", arXiv:1707.03141.

The support is a sequence, so its order matters. Each query is the end of the sequence by itself: what it needs of the
support (keys and values, and for each convolution the one row it reaches back to) is kept. Rows of weight 0 are taken
out and the others moved up; other weights count in the attention, and not in the convolutions.

Differs from the paper: it takes as many convolutions as the length of its sequences asks for, here they are a setting,
as attention reaches all rows and no number of shots is built in. Classes and targets are read column by column (see
`columns`), where the paper has one-hot labels of a fixed number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import RowTokens, class_mass
from regard.nn.attention import attention, attention_weights, scores
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.recorded import stable_argsort


@dataclass(frozen=True)
class Past(Value):
    """What the end of the sequence sees, by number of the layer.

    back: of convolutions, (B, C, E), the row they reach back to; key, value: of attention, (B, C, S, K) and (B, C, S,
    V); weight: (B, S), rows moved up; count: (B, C) zeros; mass: (B, C) or (B, 0).
    """

    back: dict[str, Tensor]
    key: dict[str, Tensor]
    value: dict[str, Tensor]
    weight: Tensor
    count: Tensor
    mass: Tensor


@final
class SNAIL(EncodingLearner):
    """Temporal convolutions and causal attention, interleaved.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        n_filters: what each convolution adds; the paper's.
        n_dilations: convolutions in a TC block, d = 1 ... 2^(n - 1); the paper's for sequences of up to 32 rows.
        widths: (K, V) of each attention block, a TC block between each two; the paper's for images.
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        min_sigma: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True
    ignores_order = False
    counts_weight = False  # to a convolution, a row twice is two rows of the sequence

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        n_filters: int = 128,
        n_dilations: int = 5,
        widths: tuple[tuple[int, int], ...] = ((64, 32), (256, 128), (512, 256)),
        n_targets: int = 0,
        min_sigma: float = 0.01,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "SNAIL")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.min_sigma, self.rows, self.classifies = min_sigma, RowTokens(n_targets), not n_targets
        width, layers = n_features + self.rows.n_extra, []
        for number, (d_key, d_value) in enumerate(widths):
            for power in range(n_dilations if number else 0):
                layers.append(_Convolution(width, n_filters, 2**power))
                width += n_filters
            layers.append(_Attention(width, d_key, d_value))
            width += d_value
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(width, self.rows.n_outputs)

    def adapt_encoded(self, support: Support) -> Past:
        # Rows of weight 0 in front, the others in their order behind.
        z: Tensor = support.x
        order = stable_argsort((support.weight > 0).to(torch.int64))
        x = self.rows.support(z, support)
        x, weight = x.gather(2, order[:, None, :, None].expand_as(x)), support.weight.gather(1, order).to(z.dtype)
        back: dict[str, Tensor] = {}
        key: dict[str, Tensor] = {}
        value: dict[str, Tensor] = {}
        there = (weight > 0)[:, None, :, None]
        for number, layer in enumerate(self.layers):
            x = torch.where(there, x, 0.0)
            if isinstance(layer, _Convolution):
                x, back[str(number)] = layer.rows(x)
            elif isinstance(layer, _Attention):
                x, key[str(number)], value[str(number)] = layer.rows(x, weight)
        return Past(back, key, value, weight, x.new_zeros(x.shape[:2]), class_mass(support))

    def predict_encoded(self, state: Past, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        x = self.rows.queries(query_z, state.count.shape[1])
        for number, layer in enumerate(self.layers):
            name = str(number)
            if isinstance(layer, _Convolution):
                x = layer.end(x, state.back[name])
            elif isinstance(layer, _Attention):
                x = layer.end(x, state.key[name], state.value[name], state.weight)
        return self.rows.predictions(self.head(x), state.mass, self.min_sigma)


class _Convolution(nn.Module):
    """A dense block: a causal convolution of two taps, `dilation` apart, beside its input."""

    def __init__(self, width: int, n_filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Linear(2 * width, 2 * n_filters)

    def rows(self, x_BCSE: Tensor) -> tuple[Tensor, Tensor]:
        """Over the support; and the row that the end of the sequence reaches back to, zeros before the beginning."""
        n_rows = x_BCSE.shape[2]
        delayed = F.pad(x_BCSE, (0, 0, self.dilation, 0))
        return self._join(x_BCSE, delayed[:, :, :n_rows]), delayed[:, :, n_rows]

    def end(self, x_BCQE: Tensor, back_BCE: Tensor) -> Tensor:
        """At queries, each the end of the sequence."""
        return self._join(x_BCQE, back_BCE[:, :, None].expand_as(x_BCQE))

    def _join(self, x: Tensor, delayed: Tensor) -> Tensor:
        content, gate = self.taps(torch.cat([x, delayed], -1)).chunk(2, -1)
        return torch.cat([x, content.tanh() * gate.sigmoid()], -1)


class _Attention(nn.Module):
    """One head of causal attention beside its input; a row sees itself too."""

    def __init__(self, width: int, d_key: int, d_value: int) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(width, d_key), nn.Linear(width, d_value)
        # A constant added to every key changes no softmax, so its gradient would be zero.
        self.key = nn.Linear(width, d_key, bias=False)

    def rows(self, x_BCSE: Tensor, weight_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Over the support; and the keys and values."""
        key, value = self.key(x_BCSE), self.value(x_BCSE)
        before = weight_BS.new_ones(weight_BS.shape[1], weight_BS.shape[1]).tril()
        read, _ = attention(self.query(x_BCSE), key, value, (before * weight_BS[:, None])[:, None])
        return torch.cat([x_BCSE, read], -1), key, value

    def end(self, x_BCQE: Tensor, key: Tensor, value: Tensor, weight_BS: Tensor) -> Tensor:
        """At queries, each of which sees the support and itself."""
        query, own_key, own_value = self.query(x_BCQE), self.key(x_BCQE), self.value(x_BCQE)
        own = (query * own_key).sum(-1, keepdim=True) / query.shape[-1] ** 0.5
        score = torch.cat([scores(query, key), own], -1)
        p = attention_weights(score, F.pad(weight_BS, (0, 1), value=1.0)[:, None, None])
        return torch.cat([x_BCQE, p[..., :-1] @ value + p[..., -1:] * own_value], -1)
