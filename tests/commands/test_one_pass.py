"""`regard predict` reads each file once and encodes each item once per view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from regard.commands.predict import predict_files
from regard.estimators import FewShotClassifier
from regard.recipes.trained import TrainedLearner

N_EXAMPLES, N_QUERIES, N_VIEWS = 3, 40, 8


def drawing(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = np.full((40, 40), 255, np.uint8)
    for _ in range(3):
        row, column = rng.integers(4, 30, 2)
        page[row : row + 8, column : column + 3] = 0
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(page).save(path)


def test_files_are_read_and_items_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(N_EXAMPLES):
        drawing(tmp_path / "examples" / "abc"[i] / "1.png", i)
    for i in range(N_QUERIES):
        drawing(tmp_path / "queries" / f"{i:02d}.png", i % N_EXAMPLES)
    opened: list[object] = []
    rows: list[int] = []
    open_image = Image.open

    def counted(source: object, *arguments: object, **options: object) -> Image.Image:
        opened.append(source)
        return open_image(source, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", counted)
    encoder = TrainedLearner.shared("characters", regression=False).learner.get_submodule("encoder")

    def count_rows(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows.append(len(inputs[0]))

    hook = encoder.register_forward_pre_hook(count_rows)
    try:
        predictions = predict_files("characters", tmp_path / "examples", tmp_path / "queries")
    finally:
        hook.remove()
    assert len(opened) == N_EXAMPLES + N_QUERIES
    assert sum(rows) == N_VIEWS * (N_EXAMPLES + N_QUERIES)
    assert [p.label for p in predictions] == ["abc"[i % N_EXAMPLES] for i in range(N_QUERIES)]
    assert all(p.attended is not None for p in predictions)


def test_what_is_taken_along_has_the_columns_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples.csv").write_text("width,height,kind\n1,2,a\n3,1,b\n1,3,a\n4,1,b\n")
    (tmp_path / "new.csv").write_text("height,width\n2,1\n")
    taken: list[dict[str, object]] = []
    monkeypatch.setattr(FewShotClassifier, "export", lambda model, path, **options: taken.append(options))
    predict_files("tables", tmp_path / "examples.csv", tmp_path / "new.csv", tmp_path / "mine.html")
    assert taken[0]["columns"] == ["width", "height"]
