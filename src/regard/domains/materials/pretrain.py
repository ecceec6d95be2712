"""An encoder of compositions trained on many properties at once, each a linear map of the same learned features.

    loss = sum over known targets of n_p^(-1/2) (h_p(z(x)) - y)^2 / sum of the n_p^(-1/2),   n_p: targets of property p

so that small properties are not drowned by large ones, and large ones still count more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.domains.materials.attention import ElementAttention
from regard.domains.materials.data import TrainingTable
from regard.domains.materials.encoder import CompositionEncoder


def train_side_by_side(
    encoder: CompositionEncoder | ElementAttention,
    table: TrainingTable,
    *,
    epochs: int = 12,
    batch: int = 256,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.02,
    seed: int = 0,
) -> list[float]:
    """Train in place, and leave the encoder in eval mode.

    Args:
        encoder: with one head per property of the table.
        table: compositions and targets.
        epochs, batch, learning_rate, weight_decay: of AdamW with a one-cycle schedule.
        seed: of the order of compositions and of dropout.

    Returns:
        The mean loss of each epoch.
    """
    fractions = torch.from_numpy(table.fractions)
    encoder.fit_scale(fractions)
    with torch.no_grad():
        x = encoder.statistics(fractions)
    target = torch.from_numpy(table.target).to(x.dtype)
    known = ~target.isnan()
    weight = known * known.sum(0).clamp_min(1).to(x.dtype).rsqrt()
    weight = weight / weight.sum() * len(x)
    target = target.nan_to_num()
    steps = -(-len(x) // batch)
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    encoder.train()
    history = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator)
            total = 0.0
            for rows in order.split(batch):
                _, predicted = encoder.learned(x[rows])
                loss: Tensor = (weight[rows] * (predicted - target[rows]).square()).sum() / len(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(rows)
            history.append(total / len(x))
    encoder.eval()
    return history
