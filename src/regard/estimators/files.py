"""Fitted estimators as one sealed safetensors file, with a header that a person can read; nothing in it can run.

    header    {"format", "estimator", "settings", "learner", "items", "confidence", "reader", "fitted", ...} as JSON
    tensors   "learner/<name>", and what was given to `fit`: "support/<name>", "target", "weight"

What is kept is the examples, not the state: loading adapts again, which takes milliseconds and gives the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from regard.domains.registry import find_domain
from regard.episode import Items
from regard.errors import BodyError, CheckpointError, ConfigError, MissingExtraError
from regard.estimators.base import FewShotEstimator
from regard.estimators.classifier import FewShotClassifier
from regard.estimators.regressor import FewShotRegressor
from regard.evaluation.confidence import Confidence
from regard.recipes.components import build_learner
from regard.recipes.trained import TrainedLearner
from regard.training.sealed import build_within, read_sealed, write_sealed

FORMAT = "regard.estimator.2"


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
        "settings": {
            "n_estimators": None if estimator.n_estimators is None else int(estimator.n_estimators),
            "chunk_size": int(estimator.chunk_size),
        },
        "learner": trained.spec,
        "items": trained.items,
        "confidence": trained.confidence.to_dict(),
        "reader": estimator.reader_.to_dict(),
        "fitted": estimator._fitted(),
        "columns": [str(name) for name in getattr(estimator, "feature_names_in_", ())],
        "n_columns": getattr(estimator, "n_features_in_", None),
    }
    items, target, weight = estimator._given
    named = items if isinstance(items, dict) else {"": items}
    tensors = {f"learner/{name}": t for name, t in trained.learner.state_dict().items()}
    tensors |= {f"support/{name}": t for name, t in named.items()}
    tensors |= {"target": torch.from_numpy(target), "weight": torch.from_numpy(weight)}
    write_sealed(path, header, tensors)


def load_estimator(path: Path | str) -> FewShotEstimator:
    """Read a file written by `save_estimator`; nothing in it is executed.

    Raises:
        CheckpointError: no such file, not one of these, damaged, or one that describes what cannot be.
    """
    header, tensors = read_sealed(path, FORMAT, "a file of save_estimator; a learner's checkpoint is given as learner=")
    # The digest guards against damage only: whoever writes a file by hand may write anything into it.
    try:
        return _build(Path(path), header, tensors)
    except (CheckpointError, MissingExtraError, BodyError):
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} describes no estimator ({type(error).__name__}: {str(error)!r:.200}): it was edited, or is of "
            "another version; save it again."
        ) from error


def _build(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FewShotEstimator:
    weights = with_prefix(tensors, "learner/")
    learner = build_within(path, weights, lambda: build_learner(header["learner"]))
    learner.load_state_dict(weights)
    items = header["items"]
    domain = find_domain(items["domain"])
    name, confidence = type(learner).__name__, Confidence.kept_in(header)
    trained = TrainedLearner(learner.eval(), domain, items, header["learner"], name, confidence=confidence)
    settings = {key: header["settings"][key] for key in ("n_estimators", "chunk_size")}
    support = with_prefix(tensors, "support/")
    given: Items = support[""] if set(support) == {""} else support
    target, weight = tensors["target"].numpy(), tensors["weight"].double().numpy()
    regression = header["estimator"] == FewShotRegressor.__name__
    if not regression and header["estimator"] != FewShotClassifier.__name__:
        raise ValueError(f"the estimator is {header['estimator']!r:.60}")
    if target.dtype != (np.float64 if regression else np.int64) or target.ndim != 1 + regression:
        raise ValueError(f"the targets are {target.dtype} of shape {target.shape}")
    estimator = (FewShotRegressor if regression else FewShotClassifier)(trained.learner, **settings)
    estimator._require_settings()
    estimator._use(trained, domain.reader(header["reader"]))
    n_classes = estimator._restore(header["fitted"])
    if isinstance(estimator, FewShotRegressor) and target.shape[1:] != estimator._offset.shape:
        raise ValueError(f"there are {target.shape[1:]} targets and {estimator._offset.shape} offsets")
    if not regression and np.unique(target).tolist() != list(range(n_classes)):
        raise ValueError(f"{n_classes} labels, and not an example of each")
    estimator._adapt(given, target, weight, n_classes)
    estimator._recall_columns(header["columns"], header["n_columns"])
    return estimator


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
