"""Items encoded once, and episodes gathered from the vectors instead of from the items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.episode import Items, Support
from regard.learners.base import EncodingLearner
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows

_CHUNK = 64
"""Items encoded at once: feature maps of more leave the cache of a CPU."""


@dataclass(frozen=True)
class EncodedItems:
    """z: (M, D) or (M, P, D), the items that are asked for; place: (N,) where each row of the data set stands in it."""

    z: Tensor
    place: Tensor

    def episode(self, rows: EpisodeRows) -> tuple[Support, Tensor]:
        """The support (B, S, D) and the queries (B, Q, D) of these episodes; padding holds the first item."""
        support, query = (self._gather(index) for index in (rows.support, rows.query))
        # The sampler's dtype, so that cached and fresh answers are the same sums.
        weight = (rows.support >= 0).to(self.z.device, torch.get_default_dtype())
        return Support(support, rows.support_y.to(self.z.device), weight, rows.n_classes), query

    def _gather(self, index: Tensor) -> Tensor:
        place = self.place[index.clamp_min(0)].flatten().to(self.z.device)
        return self.z.index_select(0, place).unflatten(0, tuple(index.shape))


def encode_items(
    learner: EncodingLearner, dataset: Dataset, rows: EpisodeRows, device: torch.device, chunk: int = _CHUNK
) -> EncodedItems:
    """Encode every item that occurs in `rows` once, `chunk` at a time."""
    # Row 0 is always there: padding points to it.
    used = torch.cat([rows.support.flatten(), rows.query.flatten(), torch.zeros(1, dtype=torch.int64)])
    used = torch.unique(used.clamp_min(0))
    place = torch.zeros(len(dataset), dtype=torch.int64)
    place[used] = torch.arange(len(used))
    with torch.inference_mode():
        z = [learner.encode(_to(dataset.rows(part), device)) for part in used.split(chunk)]
        return EncodedItems(torch.cat(z), place)


def _to(x: Items, device: torch.device) -> Items:
    return {key: value.to(device) for key, value in x.items()} if isinstance(x, dict) else x.to(device)
