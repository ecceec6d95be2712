"""Files of fitted estimators, and tables given to fit and predict."""

from __future__ import annotations

import io
import json
import random
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import damage_json, target
from safetensors.torch import load

from regard.estimators import FewShotClassifier, FewShotRegressor, load_estimator, save_estimator
from regard.learners.table_transformer import TableTransformer
from regard.training import save_checkpoint
from regard.training.sealed import write_sealed

SMALL = {"d_cell": 8, "n_table_layers": 1, "d_row": 8, "n_row_layers": 1, "n_row_heads": 2}


@cache
def _learner(folder: Path, targets: str) -> str:
    torch.manual_seed(0)
    spec = {"learner": {"name": "TableTransformer", "targets": targets, **SMALL}, "items": {"domain": "tables"}}
    path = folder / f"{targets}.safetensors"
    save_checkpoint(path, TableTransformer(targets=targets, **SMALL), spec=spec)
    return str(path)


def _table() -> np.ndarray:
    rng = np.random.default_rng(0)
    days = np.datetime64("2024-01-01") + rng.integers(0, 300, 12)
    words = rng.choice(["red", "blue"], 12)
    return np.array([[a, b, str(c)] for a, b, c in zip(rng.normal(size=12), words, days, strict=True)], dtype=object)


def _estimators(folder: Path) -> list[bytes]:
    x, made = _table(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model, y in (
            (FewShotClassifier(_learner(folder, "classes"), n_estimators=2), np.array(["a", "b"] * 6)),
            (FewShotRegressor(_learner(folder, "numbers")), np.arange(12.0)),
        ):
            save_estimator(model.fit(x, y), folder / "e")
            made.append((folder / "e").read_bytes())
    return made


def _resealed(content: bytes, rng: random.Random) -> bytes:
    """Another header or other tensors under a digest that is right."""
    index = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header, tensors = json.loads(index["__metadata__"]["regard"]), load(content)
    if rng.random() < 0.75:
        header = damage_json(header, rng)
    else:
        name = rng.choice([n for n in tensors if not n.startswith("learner/")])
        t = tensors[name]
        new = rng.choice((t.flatten()[:1], t.double() * float("nan"), t.to(torch.int8), t[:3], t[None], t.long() - 5))
        tensors = {**tensors, name: new}
    path = Path("/tmp") / f"regard-fuzz-{rng.randrange(2**40)}"
    try:
        write_sealed(path, header if isinstance(header, dict) else {"format": header}, tensors)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


@target(seeds=_estimators, suffix=".safetensors", mutate=_resealed)
def estimator(path: Path) -> None:
    """Loaded, and asked."""
    load_estimator(path).predict(_table())


STRANGE: tuple[Any, ...] = (
    *(None, float("nan"), 10**400, -(2**63), 1e308, -1e-308, True, "", " ", "1e999", "\x00", "2024-13-45"),
    *("0000-00-00", "9999-12-31", "1,2,3", "1.2.3", "(5)", "--5", "5 " * 40, "9" * 400, "\u0663", "\ud800", "NaT"),
    *("12:99", "Q5 2024", [], {}, "x" * 5000, b"\xff", "1" + "," * 50, "$" * 50 + "1", "1" * 59 + "x", "-" * 60),
)


def _strange(cell: Any) -> Any:
    number = cell.get("strange") if isinstance(cell, dict) else None
    return STRANGE[number] if isinstance(number, int) and 0 <= number < len(STRANGE) else cell


def _rows(folder: Path) -> list[bytes]:
    _learner(folder, "classes")
    return [json.dumps(_table().tolist()).encode()]


def _odd_cells(content: bytes, rng: random.Random) -> bytes:
    """Cells that nobody would write, in fit, in predict, or in a whole column."""
    rows = json.loads(content)
    for _ in range(rng.choice((1, 1, 3, 12))):
        f = rng.randrange(3)
        strange = rng.randrange(len(STRANGE))
        for i in range(12) if rng.random() < 0.3 else [rng.randrange(12)]:
            rows[i][f] = {"strange": strange}
    return json.dumps(rows).encode()


@target(seeds=_rows, suffix=".json", mutate=_odd_cells)
def table(path: Path) -> None:
    """Half of the rows are fitted to, all are asked."""
    try:
        rows = json.load(io.BytesIO(path.read_bytes()))
    except (ValueError, RecursionError):
        return  # a user would not get so far
    if isinstance(rows, list):
        rows = [[_strange(cell) for cell in row] if isinstance(row, list) else row for row in rows]
    learner = _learner(path.parent / "seeds", "classes")
    y = ["a", "b"] * (len(rows) // 4 + 1) if isinstance(rows, list) else ["a"]
    half = rows[: len(rows) // 2] if isinstance(rows, list) else rows
    FewShotClassifier(learner).fit(half, y[: len(half)] if isinstance(half, list) else y).predict_proba(rows)
