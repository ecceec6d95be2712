"""Models of pages are kept: translating one takes up to a minute, and the page of other examples has the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from regard.export.onnx_file import Exported
from regard.files import cache_folder, write_whole
from regard.recipes.trained import TrainedLearner

NAMES = ("model.onnx", "rest.onnx")
_MADE = "made.json"


def kept_models(
    trained: TrainedLearner, how: dict[str, Any], make: Callable[[Path], Exported]
) -> tuple[Exported, list[bytes]]:
    """The models of a page, from the cache or made.

    Args:
        trained: the learner; one in hand, of which nothing says how it was built, is translated each time.
        how: what else they depend on, as JSON.
        make: writes files of `NAMES` into a folder, and says what it wrote.
    """
    if not trained.spec:
        with TemporaryDirectory() as folder:
            return make(Path(folder)), _contents(Path(folder))
    home = cache_folder() / "pages" / _key(trained, how)
    if (home / _MADE).is_file():
        content = json.loads((home / _MADE).read_text())
        names = tuple(content["inputs"]), tuple(content["outputs"])
        return Exported(home / content["path"], content["n_bytes"], content["worst"], *names), _contents(home)
    with TemporaryDirectory() as folder:
        made, contents = make(Path(folder)), _contents(Path(folder))
    for name, content in zip(NAMES, contents, strict=False):
        write_whole(home / name, content)
    write_whole(home / _MADE, json.dumps({**asdict(made), "path": made.path.name}).encode())
    return made, contents


def _contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in NAMES if (folder / name).is_file()]


def _key(trained: TrainedLearner, how: dict[str, Any]) -> str:
    """Of weights, how they are read, and the code that translates them."""
    digest = hashlib.sha256(torch.__version__.encode())
    for part in (trained.spec, trained.items, trained.confidence.to_dict(), how):
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    for name, tensor in trained.learner.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    package = Path(str(files("regard")))
    translating = [
        package / "export" / f"{name}.py" for name in ("graph", "onnx_file", "precision", "sentence_body", "two_files")
    ]
    for path in [*translating, *sorted(p for layer in ("learners", "nn") for p in (package / layer).rglob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
