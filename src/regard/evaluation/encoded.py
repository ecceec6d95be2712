"""Items encoded once, and episodes gathered from the vectors instead of from the items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from regard.episode import Support, map_items
from regard.evaluation.processes import map_in_order
from regard.learners.base import EncodingLearner
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows

_CHUNK = 64
"""Items per call of the encoder: feature maps of more leave the cache of a CPU."""


@dataclass(frozen=True)
class EncodedItems:
    """The items that some episodes are made of, encoded.

    Args:
        z: (M, D) or (M, P, D).
        index: (N,) the position in `z` of each row of the data set.
    """

    z: Tensor
    index: Tensor

    def episode(self, rows: EpisodeRows) -> tuple[Support, Tensor]:
        """The support (B, S, D) and the queries (B, Q, D) of these episodes; padding holds the first item."""
        indices = (self.index[row.clamp_min(0)].to(self.z.device) for row in (rows.support, rows.query))
        support, query = (self.z.index_select(0, index.flatten()).unflatten(0, tuple(index.shape)) for index in indices)
        # The sampler's dtype, so that cached and fresh predictions are the same sums.
        weight = (rows.support >= 0).to(self.z.device, torch.get_default_dtype())
        return Support(support, rows.support_y.to(self.z.device), weight, rows.n_classes), query


def encode_items(
    learner: EncodingLearner,
    dataset: Dataset,
    rows: EpisodeRows,
    device: torch.device,
    chunk: int = _CHUNK,
    processes: int = 1,
) -> EncodedItems:
    """Encode every item that occurs in `rows` once, `chunk` at a time, chunks shared among the processes."""
    # Row 0 is always there: padding points to it.
    used = torch.cat([rows.support.flatten(), rows.query.flatten(), torch.zeros(1, dtype=torch.int64)])
    used = torch.unique(used.clamp_min(0))
    index = torch.zeros(len(dataset), dtype=torch.int64)
    index[used] = torch.arange(len(used))
    z = map_in_order(partial(_encode, learner, dataset, device), used.split(chunk), processes)
    return EncodedItems(torch.cat(list(z)), index)


def _encode(learner: EncodingLearner, dataset: Dataset, device: torch.device, row: Tensor) -> Tensor:
    with torch.inference_mode():
        return learner.encode(map_items(lambda t: t.to(device), dataset.rows(row)))
