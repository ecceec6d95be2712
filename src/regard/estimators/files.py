"""Fitted estimators as one safetensors file, with a header that a person can read and nothing in it that can run.

    header    {"format", "estimator", "settings", "learner", "items", "confidence", "reader", "fitted", ...} as JSON
    tensors   "learner/<name>", and what was given to `fit`: "support/<name>", "target", "weight"

What is kept is the examples, not the state: loading adapts again, which takes milliseconds and gives the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from regard.domains.registry import find_domain
from regard.episode import Items
from regard.errors import CheckpointError, ConfigError
from regard.estimators.base import FewShotEstimator
from regard.estimators.classifier import FewShotClassifier
from regard.estimators.regressor import FewShotRegressor
from regard.evaluation.confidence import Confidence
from regard.files import write_whole
from regard.recipes.components import build_learner
from regard.recipes.trained import TrainedLearner

FORMAT = "regard.estimator.1"
_CLASSES: dict[str, type[FewShotEstimator]] = {c.__name__: c for c in (FewShotClassifier, FewShotRegressor)}


def save_estimator(estimator: FewShotEstimator, path: Path | str) -> None:
    """Write a fitted estimator.

    Args:
        estimator: its learner has a name or a path; one that was in hand cannot be built again from a file.
        path: where to.

    Raises:
        ConfigError: a learner that was in hand, a `prepare`, or labels that are not JSON.
        StorageError: as `regard.files.write_whole`.
    """
    check_is_fitted(estimator)
    trained = estimator._trained
    if not trained.spec or estimator.prepare is not None:
        raise ConfigError(
            "this estimator has a learner or a prepare that was made in Python, which a file cannot hold: expected "
            "learner= to be a name or a path; save the learner by regard.training.save_checkpoint, and use its path."
        )
    header = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "settings": {"n_estimators": estimator.n_estimators, "chunk_size": estimator.chunk_size},
        "learner": trained.spec,
        "items": trained.items,
        "confidence": trained.confidence.to_dict(),
        "reader": estimator.reader_.to_dict(),
        "fitted": estimator._fitted(),
        "columns": [str(name) for name in getattr(estimator, "feature_names_in_", ())],
    }
    items, target, weight = estimator._given
    named = items if isinstance(items, dict) else {"": items}
    tensors = {f"learner/{name}": t for name, t in trained.learner.state_dict().items()}
    tensors |= {f"support/{name}": t for name, t in named.items()}
    tensors |= {"target": torch.from_numpy(target), "weight": torch.from_numpy(weight)}
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise ConfigError(f"the labels cannot be written as JSON ({error}): expected numbers or strings.") from error
    write_whole(Path(path), save(plain, metadata={"regard": text}))


def load_estimator(path: Path | str) -> FewShotEstimator:
    """Read a file written by `save_estimator`; nothing in it is executed.

    Raises:
        CheckpointError: no such file, or not one of these.
    """
    header, tensors = _read(Path(path))
    learner = build_learner(header["learner"])
    learner.load_state_dict({k.removeprefix("learner/"): v for k, v in tensors.items() if k.startswith("learner/")})
    items = header["items"]
    domain = find_domain(items["domain"])
    name, confidence = type(learner).__name__, Confidence.kept_in(header)
    trained = TrainedLearner(learner.eval(), domain, items, header["learner"], name, confidence=confidence)
    estimator = _CLASSES[header["estimator"]](trained.learner, **header["settings"])  # type: ignore[call-arg]
    support = {k.removeprefix("support/"): v for k, v in tensors.items() if k.startswith("support/")}
    given: Items = support[""] if set(support) == {""} else support
    estimator._use(trained, domain.reader(header["reader"]))
    n_classes = estimator._restore(header["fitted"])
    estimator._adapt(given, tensors["target"].numpy(), tensors["weight"].numpy(), n_classes)
    estimator._recall_columns(header["columns"])
    return estimator


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("regard", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): expected a file of save_estimator.") from error
    if header.get("format") != FORMAT or header.get("estimator") not in _CLASSES:
        raise CheckpointError(
            f"{path} has the format {header.get('format')!r}: expected {FORMAT!r}, written by save_estimator; a "
            "learner's checkpoint is given to an estimator as learner=."
        )
    return header, tensors
