"""One LSTM step, written out: torch's own LSTM can be neither vmapped nor, on a GPU, differentiated twice.

    i, f, o = sigmoid(.), g = tanh(.) of  W [x, r] + b        c = f c + i g        h = o tanh(c)

r is what recurs: the state h, alone or with something read from a memory. Hochreiter and Schmidhuber 1997.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTMStep(nn.Module):
    """Input and recurrent input to the next state and cell.

    Args:
        d_input, d_recurrent: widths of x and of r.
        d_cell: width of h and c.
    """

    def __init__(self, d_input: int, d_recurrent: int, d_cell: int) -> None:
        super().__init__()
        self.gates = nn.Linear(d_input + d_recurrent, 4 * d_cell)

    def forward(self, x: Tensor, recurrent: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """(..., d_input), (..., d_recurrent), (..., d_cell) to state and cell (..., d_cell)."""
        keep, write, show, content = self.gates(torch.cat([x, recurrent], -1)).chunk(4, -1)
        cell = keep.sigmoid() * cell + write.sigmoid() * content.tanh()
        return show.sigmoid() * cell.tanh(), cell
