"""A learner in two files: what it makes of each item by itself, and what it makes of a task of those vectors.

A page then looks at each picture once, and not at all of them again for every answer; answers, which are from few
numbers, stay in full precision where the network is in half.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from regard.domains.registry import find_domain
from regard.episode import Items, first_tensor
from regard.export.graph import Queries
from regard.export.onnx_file import Exported, Precision, describe, export_onnx, generated_items, write_checked
from regard.export.sentence_body import SentenceFunction
from regard.learners.base import EncodingLearner
from regard.nn.encoder import Encoder
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.trained import TrainedLearner


@final
class VectorItems(Encoder):
    """Items that are vectors already.

    Args:
        n_features: of them.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features, self.parts = n_features, False

    def forward(self, x: Items) -> Tensor:
        """As they are."""
        return first_tensor(x)


class EncodeFunction(nn.Module):
    """Queries (N, *item) to vectors (N, D).

    Args:
        encoder: in float32 and eval mode.
    """

    outputs = ["z"]  # noqa: RUF012

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.fix_for_file()

    def forward(self, query_x: Items) -> tuple[Tensor]:
        """As the class says."""
        return (self.encoder(query_x),)


def export_two_files(trained: TrainedLearner, encoder: Path, task: Path, precision: Precision) -> Exported:
    """Write both.

    Args:
        trained: with an `EncodingLearner`.
        encoder, task: where to.
        precision: of the encoder; what comes after it is in float32.

    Returns:
        As `export_onnx`, of the task, whose items are vectors; the largest difference is that of either file.

    Raises:
        ExportError: as `export_onnx`.
    """
    learner = trained.learner
    assert isinstance(learner, EncodingLearner)
    if isinstance(learner.encoder, PretrainedText):
        function: nn.Module = SentenceFunction(learner.encoder).eval()
    else:
        function = EncodeFunction(copy.deepcopy(learner.encoder).float().requires_grad_(False)).eval()
    items = generated_items(trained)
    facts: dict[str, Any] = describe(trained, regression=False)
    name = type(learner.encoder).__name__
    first = write_checked(
        function,
        Queries(items(3, 0)),
        lambda i: Queries(items(1 + i, i)),
        encoder,
        name,
        facts,
        trained.domain,
        precision,
    )
    rest = copy.deepcopy(learner)
    rest.encoder = VectorItems(learner.encoder.n_features)

    def vectors(n: int, seed: int) -> Tensor:
        with torch.no_grad():
            return function(items(n, seed))[0]

    made = export_onnx(
        replace(trained, learner=rest, domain=find_domain("arrays")), task, regression=False, items=vectors
    )
    return replace(made, worst=max(made.worst, first.worst))
