"""Memory-augmented network: a recurrent controller writes the support into an outer memory, and queries read from it.

    h, c   = LSTM( [f(x_s), y_s, r], h, c )        k = tanh(K h)
    write  = a read + (1 - a) least used           the least used slot is emptied first       M = M + w_s write k^T
    read   = softmax over slots of  scale cos(k, M)         r = read^T M
    usage  = decay usage + read + write
    N( mean, sigma ) = head( [h, r] ) of one more step, with the query for x and no y, that writes nothing

Santoro, Bartunov, Botvinick, Wierstra, Lillicrap 2016, "One-shot Learning with Memory-Augmented Neural Networks",
arXiv:1605.06065.

The support is read in order, and order matters. A row of weight 0 is passed over, all state carried across it; other
weights scale what is written.

Differs from the paper: there, a label comes one step after its item and every step is a question; here the support
comes with its labels and questions leave no trace. One head reads and writes, the paper has four. Cosines are
multiplied by a learned scale, as a softmax of bare cosines over many slots is nearly even. Of slots that were never
used the first is taken. Classes and targets are read column by column (see `columns`), where the paper has labels of a
fixed length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from regard.episode import Support, Value
from regard.learners.base import EncodingLearner, require_vectors
from regard.learners.columns import RowTokens, class_mass
from regard.nn.attention import attention_weights, scores
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.nn.lstm_step import LSTMStep


@dataclass(frozen=True)
class Memory(Value):
    """hidden, cell: (B, C, D); slots: (B, C, N, M); read, usage: (B, C, N); content: (B, C, M), what was read."""

    hidden: Tensor
    cell: Tensor
    slots: Tensor
    read: Tensor
    usage: Tensor
    content: Tensor


@dataclass(frozen=True)
class Written(Value):
    """memory: after the last row; mass: (B, C) or (B, 0)."""

    memory: Memory
    mass: Tensor


@final
class MANN(EncodingLearner):
    """An LSTM with an outer memory.

    Args:
        encoder: items to vectors (N, D); None takes items as they are.
        n_inputs: D, where there is no encoder.
        n_slots, d_slot: the memory; the paper's.
        d_hidden: of the controller; the paper's.
        decay: of usage, from row to row.
        scale: where the learned factor of the cosines starts.
        n_targets: T, where all targets of a row are one token (see `columns`), for regression on T targets alone; 0, as
            in all published results, reads them column by column.
        min_sigma: the smallest standard deviation of a predicted target.

    Raises:
        ConfigError: an encoder that gives parts.
    """

    regresses = True
    # How to use a support is learned from thousands of episodes.
    solves_separable = False
    ignores_order = False
    counts_weight = False  # a row read twice is two steps of the controller

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        n_inputs: int = 1,
        n_slots: int = 128,
        d_slot: int = 40,
        d_hidden: int = 200,
        decay: float = 0.95,
        scale: float = 10.0,
        n_targets: int = 0,
        min_sigma: float = 0.01,
    ) -> None:
        super().__init__()
        self.encoder = Flat() if encoder is None else encoder
        require_vectors(self.encoder, "MANN")
        n_features = n_inputs if encoder is None else encoder.n_features
        self.n_slots, self.d_slot, self.d_hidden = n_slots, d_slot, d_hidden
        self.decay, self.min_sigma = decay, min_sigma
        self.rows, self.classifies = RowTokens(n_targets), not n_targets
        self.controller = LSTMStep(n_features + self.rows.n_extra, d_hidden + d_slot, d_hidden)
        self.key = nn.Linear(d_hidden, d_slot)
        self.gate = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.head = nn.Linear(d_hidden + d_slot, self.rows.n_outputs)

    def adapt_encoded(self, support: Support) -> Written:
        z: Tensor = support.x
        row = self.rows.support(z, support)
        memory = self._empty(row)
        for s in range(support.n_rows):
            weight = support.weight[:, s, None, None].to(z.dtype)
            seen = torch.cat([memory.hidden, memory.content], -1)
            hidden, cell = self.controller(row[:, :, s], seen, memory.cell)
            key = self.key(hidden).tanh()
            slot = torch.arange(self.n_slots, device=memory.usage.device)
            least = (slot == memory.usage.argmin(-1)[..., None]).to(memory.usage.dtype)
            gate = self.gate.sigmoid()
            write = gate * memory.read + (1 - gate) * least
            slots = memory.slots * (1 - least)[..., None] + weight[..., None] * write[..., None] * key[..., None, :]
            read = self._look(key[..., None, :], slots).squeeze(-2)
            content = (read[..., None, :] @ slots).squeeze(-2)
            usage = self.decay * memory.usage + read + write
            # A row of weight 0 leaves the memory as it was.
            memory = _where(weight[..., 0] > 0, Memory(hidden, cell, slots, read, usage, content), memory)
        return Written(memory, class_mass(support))

    def predict_encoded(self, state: Written, query_z: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q C"] | Distribution:
        memory, n_query = state.memory, query_z.shape[1]
        question = self.rows.queries(query_z, memory.hidden.shape[1])
        seen = torch.cat([memory.hidden, memory.content], -1)[:, :, None].expand(-1, -1, n_query, -1)
        hidden, _ = self.controller(question, seen, memory.cell[:, :, None].expand(-1, -1, n_query, -1))
        content = self._look(self.key(hidden).tanh(), memory.slots) @ memory.slots
        return self.rows.predictions(self.head(torch.cat([hidden, content], -1)), state.mass, self.min_sigma)

    def _look(self, key: Float[Tensor, "B C Q M"], slots: Float[Tensor, "B C N M"]) -> Float[Tensor, "B C Q N"]:
        return attention_weights(self.log_scale.exp() * scores(key, slots, "cosine"))

    def _empty(self, row: Tensor) -> Memory:
        def zeros(*shape: int) -> Tensor:
            return row.new_zeros(*row.shape[:2], *shape)

        # Slots never used are told apart by a trace of usage, so that the first comes first on every machine.
        order = torch.linspace(0, 1e-3, self.n_slots, dtype=row.dtype, device=row.device)
        usage = order.expand(*row.shape[:2], -1)
        hidden, slots = zeros(self.d_hidden), zeros(self.n_slots, self.d_slot)
        return Memory(hidden, zeros(self.d_hidden), slots, zeros(self.n_slots), usage, zeros(self.d_slot))


def _where(present: Tensor, new: Memory, old: Memory) -> Memory:
    def choose(name: str) -> Tensor:
        a, b = getattr(new, name), getattr(old, name)
        return torch.where(present.view(*present.shape, *[1] * (a.ndim - present.ndim)), a, b)

    return Memory(**{field.name: choose(field.name) for field in fields(Memory)})
