"""Episodes written down: a manifest pins the very rows, so that others can be judged on the same tasks."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import torch

from regard.errors import DataError
from regard.files import write_whole
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows

_FORMAT = "regard.manifest.1"
_TENSORS = ("number", "support", "support_y", "query", "query_y")


def write_manifest(path: Path | str, rows: EpisodeRows, dataset: Dataset) -> None:
    """Write the rows as JSON, with the data set's size and class names' digest to notice another data set later."""
    content = {
        "format": _FORMAT,
        "dataset": _fingerprint(dataset),
        "n_classes": rows.n_classes,
        **{name: getattr(rows, name).tolist() for name in _TENSORS},
    }
    write_whole(Path(path), json.dumps(content).encode())


def read_manifest(path: Path | str, dataset: Dataset) -> EpisodeRows:
    """Read rows written by `write_manifest`; give them to `EpisodeSampler.gather`.

    Raises:
        DataError: not a manifest, one that is incomplete, or one that was made from other data.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a manifest ({error}): expected JSON written by regard.") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"{path} is not a manifest of this version: expected format {_FORMAT!r}.")
    lacking = [name for name in ("dataset", "n_classes", *_TENSORS) if name not in content]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking)}: it was cut short or edited; write it again.")
    if content["dataset"] != _fingerprint(dataset):
        raise DataError(f"{path} was made from other data ({content['dataset']}), not from {_fingerprint(dataset)}.")
    try:
        tensors = {name: torch.tensor(content[name], dtype=torch.int64) for name in _TENSORS}
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(
            f"{path} holds what is no table of integers ({error}): it was edited; write it again."
        ) from error
    n_episodes, n_classes = len(content["number"]), content["n_classes"]
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    fits = all(len(shape) == 1 + (name != "number") and shape[0] == n_episodes for name, shape in shapes.items())
    if not (fits and shapes["support"] == shapes["support_y"] and shapes["query"] == shapes["query_y"]):
        raise DataError(f"{path} has tables of shapes {shapes}, which do not fit: it was edited; write it again.")
    if not isinstance(n_classes, int) or not 1 <= n_classes <= dataset.n_classes:
        raise DataError(f"{path} has n_classes {n_classes!r}: it was edited; write it again.")
    limits = {"support": (-1, len(dataset)), "query": (-1, len(dataset))}
    limits |= {"support_y": (0, n_classes), "query_y": (0, n_classes)}
    for name, (low, high) in limits.items():
        if tensors[name].numel() and not low <= int(tensors[name].min()) <= int(tensors[name].max()) < high:
            what = "labels" if name.endswith("_y") else "rows"
            raise DataError(f"{path} has {name} {what} outside 0..{high - 1}: it was edited; write it again.")
    return EpisodeRows(**tensors, n_classes=n_classes)


def _fingerprint(dataset: Dataset) -> dict[str, object]:
    digest = sha256("\n".join(dataset.class_names).encode() + dataset.y.numpy().tobytes()).hexdigest()
    return {"items": len(dataset), "classes": dataset.n_classes, "sha256": digest[:16]}
