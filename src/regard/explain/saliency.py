"""Which parts of the images mattered, as heat maps of the images' size. Arrays only; drawing is done elsewhere.

    on a support image   the attention that its patches received, averaged over the patches of the query; over the
                         images of one class it sums to 1 (before enlarging)
    on the query         how much each patch speaks for the predicted class: its own logit margin over the runner-up,
                         with that patch alone as the query

The first is the learner's own attention. The second is exact where a learner's logits are the mean over query patches,
as in CrossTransformer: the votes then average to the logits. Maps are enlarged bilinearly, so their detail is that of
the encoder's grid of patches (7 x 7 for a Conv4 that halves twice), and a patch has seen its neighbours too: an edge of
a map is not an edge of what mattered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regard.episode import Episode, first_tensor
from regard.errors import ConfigError, EpisodeError
from regard.learners.base import TokenAttendingLearner
from regard.nn.inference import eval_mode


@dataclass(frozen=True, eq=False)
class SaliencyMaps:
    """Heat maps.

    Args:
        support: (B, Q, S, H, W), at least 0; for a padding row 0.
        query: (B, Q, H, W), positive where a patch speaks for the predicted class.
        predicted: (B, Q) class.
        probability: (B, Q) of it.
    """

    support: NDArray[np.float32]
    query: NDArray[np.float32]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]


def saliency_maps(
    learner: TokenAttendingLearner, episode: Episode, *, grid: tuple[int, int] | None = None
) -> SaliencyMaps:
    """Heat maps for every query and every support image.

    Args:
        learner: temporarily in eval mode, then restored.
        episode: of images (B, rows, H, W) or (B, rows, H, W, channels). Give few queries: the maps are as large as
            B * Q * S images.
        grid: rows and columns of the encoder's patches; a square by default.

    Raises:
        ConfigError: the learner does not attend to patches, or they do not fill the grid.
        EpisodeError: items that are not images.
    """
    if not isinstance(learner, TokenAttendingLearner):
        raise ConfigError(
            f"{type(learner).__name__} does not attend to patches: expected a TokenAttendingLearner, such as "
            "CrossTransformer; for others `influence` says which rows mattered."
        )
    x = first_tensor(episode.query_x)
    if isinstance(episode.query_x, dict) or x.ndim not in (4, 5):
        raise EpisodeError(
            f"query items have shape {tuple(x.shape[2:])}: expected images (height, width), or with channels last."
        )
    size = x.shape[2], x.shape[3]
    with eval_mode(learner), torch.no_grad():
        support, query_z = learner.encode_episode(episode)
        state = learner.adapt_encoded(support)
        probability, predicted = torch.softmax(_logits(learner, state, query_z), -1).max(-1)
        attended = learner.attend_tokens(state, episode.query_x).mean(2)
        # How far the predicted class is over the class that is second for the query as a whole: (B, Q, P).
        votes_BQPC = votes(learner, state, query_z)
        second = votes_BQPC.mean(2).scatter(-1, predicted[..., None], -torch.inf).argmax(-1)
        best, runner_up = (
            votes_BQPC.gather(-1, c[:, :, None, None].expand(*votes_BQPC.shape[:3], 1)) for c in (predicted, second)
        )
        # With one class there is no runner-up: its logit is minus infinity, and there is no margin.
        margin = torch.where(torch.isfinite(runner_up), best - runner_up, 0.0)[..., 0]
    n_patches = query_z.shape[2]
    rows, columns = grid = grid or (math.isqrt(n_patches), math.isqrt(n_patches))
    if rows * columns != n_patches:
        raise ConfigError(f"the encoder gives {n_patches} patches, not {rows} x {columns}: give grid=(rows, columns).")
    return SaliencyMaps(
        _enlarge(attended, grid, size), _enlarge(margin, grid, size), predicted.numpy(force=True), _array(probability)
    )


def votes(learner: TokenAttendingLearner, state: object, query_z: Tensor) -> Tensor:
    """(B, Q, P, C) logits of each query patch alone; query_z: (B, Q, P, D)."""
    n_query = query_z.shape[1]
    alone = query_z.flatten(1, 2)[:, :, None]
    return _logits(learner, state, alone).unflatten(1, (n_query, -1))


def _logits(learner: TokenAttendingLearner, state: object, query_z: Tensor) -> Tensor:
    output = learner.predict_encoded(state, query_z)
    if not isinstance(output, Tensor):
        raise EpisodeError(f"the learner predicts a {type(output).__name__}: saliency maps need logits of classes.")
    return output


def _enlarge(heat: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """(..., P) to (..., H, W)."""
    lead = heat.shape[:-1]
    small = heat.float().reshape(-1, 1, *grid)
    return _array(F.interpolate(small, size, mode="bilinear", align_corners=False).reshape(*lead, *size))


def _array(x: Tensor) -> NDArray[np.float32]:
    return x.float().numpy(force=True)
