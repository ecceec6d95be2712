"""FewShotClassifier: fit adapts, everything else follows scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from torch import Tensor, nn

from regard.domains.images.folder import ImageReader
from regard.episode import Support
from regard.errors import ConfigError, EpisodeError
from regard.estimators import FewShotClassifier, load_estimator, save_estimator
from regard.learners.base import EncodingAttendingLearner
from regard.learners.cross_transformer import CrossTransformer
from regard.learners.prototypical import Prototypical
from regard.nn.encoder import Encoder
from regard.recipes.components import build_learner
from regard.training import save_checkpoint


class Flat(Encoder):
    """Items as they are, flattened: a learner of pixels. Dropout shows whether evaluation mode was on."""

    n_features, parts = 4, False

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x.flatten(1).to(self.scale.dtype) * self.scale)


class Parts(Flat):
    """Two parts of width 2."""

    n_features, parts = 2, True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), 2, 2)


class Bag(Encoder):
    """Mean of ids where the mask says so."""

    n_features, parts = 1, False

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        mask = x["mask"].float()
        return ((x["ids"] * mask).sum(1) / mask.sum(1))[:, None]


def blobs(labels: tuple[object, ...] = ("cat", "dog", "eel"), n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centre = np.array([[0, 0, 0, 0], [9, 0, 0, 9], [0, 9, 9, 0]], dtype=np.float64)[: len(labels)]
    x = (centre[:, None] + rng.normal(size=(len(labels), n, 4))).reshape(-1, 4)
    return x, np.repeat(np.array(labels), n)


def model() -> FewShotClassifier:
    return FewShotClassifier(Prototypical(Flat()))


def test_five_lines_do() -> None:
    x, y = blobs()
    classifier = model().fit(x, y)
    assert classifier.classes_.tolist() == ["cat", "dog", "eel"]
    assert classifier.predict(x).tolist() == y.tolist()
    assert classifier.score(x, y) == 1.0
    probability = classifier.predict_proba(x)
    assert probability.shape == (15, 3)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert classifier.n_features_in_ == 4


def test_probabilities_are_those_of_the_learner_and_of_nearest_means() -> None:
    x, y = blobs()
    learner = Prototypical(Flat()).double().eval()
    number = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    weight = torch.rand(15, dtype=torch.float64)
    support = Support(torch.from_numpy(x)[None], number[None], weight[None])
    wanted = torch.softmax(learner.predict(learner.adapt(support), torch.from_numpy(x)[None])[0], -1)
    classifier = FewShotClassifier(learner).fit(x, y, sample_weight=weight.numpy())
    np.testing.assert_allclose(classifier.predict_proba(x), wanted.detach().numpy())
    means = np.stack([np.average(x[y == c], axis=0, weights=weight.numpy()[y == c]) for c in classifier.classes_])
    logits = -((x[:, None] - means) ** 2).sum(-1)
    np.testing.assert_allclose(classifier.predict_proba(x), np.exp(logits) / np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("labels", [(0, 2), ("b", "a"), (True, False), (-1.0, 3.0), (5, 7, 11)])
def test_any_set_of_labels(labels: tuple[object, ...]) -> None:
    x, y = blobs(labels)
    classifier = model().fit(x, y)
    assert classifier.predict(x).dtype == y.dtype
    assert classifier.predict(x).tolist() == y.tolist()


def test_weight_0_is_absence_and_weight_2_is_twice() -> None:
    x, y = blobs()
    weight = np.ones(15)
    weight[[2, 7]] = 0, 2
    rows = [i for i in range(15) for _ in range(int(weight[i]))]
    weighted = model().fit(x, y, sample_weight=weight).predict_proba(x)
    np.testing.assert_allclose(weighted, model().fit(x[rows], y[rows]).predict_proba(x), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("kind", ["array", "tensor", "list", "bytes", "reversed"])
def test_items_of_any_kind(kind: str) -> None:
    x, y = blobs()
    x = np.abs(x).round()
    forms = {
        "array": x.astype(np.float32),
        "tensor": torch.from_numpy(x),
        "list": x.tolist(),
        "bytes": x.astype(np.uint8),
        "reversed": x[:, ::-1].copy()[:, ::-1],
    }
    np.testing.assert_allclose(
        model().fit(forms[kind], y).predict_proba(forms[kind]), model().fit(x, y).predict_proba(x), rtol=1e-5
    )


def test_chunks_do_not_matter_and_the_learner_stays_as_it_was() -> None:
    x, y = blobs()
    learner = Prototypical(Flat()).train()
    learner.encoder.dropout.eval()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    whole = FewShotClassifier(learner).fit(x, y)
    small = FewShotClassifier(learner, chunk_size=4).fit(x, y)
    np.testing.assert_allclose(small.predict_proba(x), whole.predict_proba(x), rtol=1e-5)
    assert learner.training
    assert not learner.encoder.dropout.training
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_dropout_is_off_while_answering() -> None:
    x, y = blobs()
    classifier = FewShotClassifier(Prototypical(Flat()).train()).fit(x, y)
    assert np.array_equal(classifier.predict_proba(x), classifier.predict_proba(x))


def test_a_transductive_learner_is_asked_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    learner = Prototypical(Flat())
    monkeypatch.setattr(Prototypical, "transductive", True)
    asked: list[int] = []
    monkeypatch.setattr(learner, "predict", lambda state, q: asked.append(q.shape[1]) or torch.zeros(1, q.shape[1], 3))
    FewShotClassifier(learner, chunk_size=2).fit(x, y).predict_proba(x)
    assert asked == [15]


def test_attention_is_over_the_examples_and_rebuilds_the_prediction() -> None:
    x, y = blobs()
    learner = CrossTransformer(Parts(), d_head=3)
    assert isinstance(learner, EncodingAttendingLearner)
    classifier = FewShotClassifier(learner, chunk_size=4).fit(x, y)
    attention = classifier.attention(x[:7])
    assert attention.shape == (7, 15)
    np.testing.assert_allclose(attention.sum(1), 1, rtol=1e-5)
    by_class = np.stack([attention[:, y == c].sum(1) for c in classifier.classes_], 1)
    np.testing.assert_allclose(by_class, classifier.predict_proba(x[:7]), rtol=1e-4, atol=1e-6)


def test_a_learner_without_attention_says_so() -> None:
    x, y = blobs()
    with pytest.raises(ConfigError, match=r"Prototypical does not attend: .*explain"):
        model().fit(x, y).attention(x)


def test_files_and_pictures_by_prepare(tmp_path) -> None:
    x = [np.full((6, 6), v, np.uint8) for v in (0, 10, 200, 210)]
    classifier = FewShotClassifier(Prototypical(Flat(), scale=1e-4), prepare=ImageReader(2)).fit(
        x, ["dark"] * 2 + ["light"] * 2
    )
    assert classifier.predict([np.full((9, 5), 190, np.uint8)]).tolist() == ["light"]
    with pytest.raises(ValueError, match="no such file"):
        classifier.predict([str(tmp_path / "absent.png")])


def test_dicts_are_items_whose_lengths_may_differ() -> None:
    x = {"ids": np.array([[1, 2], [2, 1], [8, 9], [9, 9]]), "mask": np.ones((4, 2), dtype=bool)}
    classifier = FewShotClassifier(Prototypical(Bag())).fit(x, [0, 0, 1, 1])
    query = {"ids": torch.tensor([[1, 1, 7], [9, 9, 9]]), "mask": torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()}
    assert classifier.predict(query).tolist() == [0, 1]
    with pytest.raises(EpisodeError, match="mask is missing"):
        classifier.predict({"ids": query["ids"]})
    with pytest.raises(EpisodeError, match="different numbers of rows"):
        classifier.predict({"ids": query["ids"], "mask": query["mask"][:1]})


def test_refitting_forgets() -> None:
    x, y = blobs()
    classifier = model().fit(x, y)
    classifier.fit(x.reshape(-1, 2, 2), np.where(y == "cat", 1, 0))
    assert classifier.classes_.tolist() == [0, 1]
    assert not hasattr(classifier, "n_features_in_")
    assert classifier.predict_proba(x.reshape(-1, 2, 2)).shape == (15, 2)


def test_scikit_learn_can_clone_it_and_set_its_parameters() -> None:
    x, y = blobs()
    classifier = clone(model().fit(x, y)).set_params(chunk_size=3)
    with pytest.raises(NotFittedError):
        classifier.predict(x)
    assert classifier.fit(x, y).score(x, y) == 1.0
    names = {"learner", "prepare", "encoder", "n_estimators", "chunk_size", "label_weight"}
    assert set(classifier.get_params(deep=False)) == names
    assert classifier.score(x, np.full(15, "cat")) == accuracy_score(np.full(15, "cat"), classifier.predict(x))


X, Y = blobs()
NAN = X.copy()
NAN[3, 1] = np.nan
BAD_FIT = [
    (NAN, Y, None, "NaN"),
    (X, Y[:3], None, r"one label a row, \(15,\)"),
    (X, np.stack([Y, Y], 1), None, "one label a row"),
    (X, np.where(np.arange(15) == 4, np.nan, 1.0), None, "first row 4"),
    (X, [None, *Y[1:]], None, "first row 0"),
    (X, [1, *Y[1:].tolist()][:15], None, "int and str"),
    (X, np.array([1, *Y[1:]], dtype=object), None, "int and str"),
    (X, np.linspace(0, 1, 15), None, "continuous"),
    (X, Y, np.ones(3), "sample_weight has shape"),
    (X, Y, -np.ones(15), "weight has negative"),
    (X, Y, np.full(15, np.nan), "weight has negative or non-finite"),
    (X[:, 0], Y, None, "Reshape your data"),
    (X[:0], Y[:0], None, "0 sample"),
    ([["a"]] * 15, Y, None, "prepare"),
    ([[1, 2], [3]], [0, 1], None, "ragged"),
    (X.astype(complex), Y, None, "complex"),
]


@pytest.mark.parametrize(("x", "y", "weight", "message"), BAD_FIT)
def test_what_cannot_be_fitted_says_why(x: object, y: object, weight: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        model().fit(x, y, sample_weight=weight)
    assert isinstance(caught.value, EpisodeError)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :3], "X has 3 features, but FewShotClassifier is expecting 4 features"),
        (X.reshape(-1, 2, 2), r"items of shape \(2, 2\): expected \(4,\)"),
        (NAN, "NaN"),
        (X[:0], "0 sample"),
        (X[0], "Reshape"),
    ],
)
def test_what_cannot_be_asked_says_why(x: np.ndarray, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        model().fit(X, Y).predict(x)


@pytest.mark.parametrize("settings", [{"learner": "Prototypical"}, {"chunk_size": 0}])
def test_settings_that_cannot_be_are_refused_at_fit(settings: dict[str, object]) -> None:
    classifier = model().set_params(**settings)
    with pytest.raises(ConfigError, match=r"expected a trained|at least 1"):
        classifier.fit(X, Y)


def drawings_checkpoint(folder: Path, n_channels: int = 1, views: int = 1) -> Path:
    """A learner of grey drawings, untrained."""
    torch.manual_seed(0)
    spec = {"name": "Prototypical", "encoder": {"name": "Conv4", "n_filters": 8, "n_channels": n_channels}}
    reader = {"size": 28, "n_channels": n_channels}
    reader |= {"ink": "auto", "box": 0.8} if n_channels == 1 else {}
    items = {"domain": "images", "reader": reader, "n_views": views}
    path = folder / f"{n_channels}{views}.safetensors"
    save_checkpoint(path, build_learner(spec), spec={"learner": spec, "items": items})
    return path


def test_drawings_are_asked_in_several_views(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = list((rng.random((12, 40, 40)) > 0.9).astype(np.uint8) * 255), list("abc") * 4
    path = drawings_checkpoint(tmp_path, views=3)
    three = FewShotClassifier(path).fit(x[:6], y[:6])
    one = FewShotClassifier(path, n_estimators=1).fit(x[:6], y[:6])
    assert three.state_.centre.shape[0] == 3
    # The first view is the drawing itself.
    assert torch.equal(three.state_.centre[:1], one.state_.centre)
    assert np.abs(three.predict_proba(x) - one.predict_proba(x)).max() > 1e-4
    whole = three.predict_proba(x)
    np.testing.assert_allclose(np.concatenate([three.predict_proba(x[i : i + 1]) for i in range(12)]), whole, atol=1e-6)
    same = FewShotClassifier(path, n_estimators=3, chunk_size=5).fit(x[:6], y[:6])
    np.testing.assert_allclose(same.predict_proba(x), whole, atol=1e-6)
    # Upside down, on white, larger: what a user has.
    white = [np.kron(255 - picture, np.ones((3, 3), np.uint8)) for picture in x]
    np.testing.assert_allclose(FewShotClassifier(path).fit(white[:6], y[:6]).predict_proba(white), whole, atol=0.2)
    save_estimator(three, tmp_path / "e.safetensors")
    np.testing.assert_allclose(load_estimator(tmp_path / "e.safetensors").predict_proba(x), whole, atol=1e-6)  # type: ignore[attr-defined]


def test_colour_pictures_have_one_view(tmp_path: Path) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 255, (4, 28, 28, 3), np.uint8))
    with pytest.raises(ConfigError, match="grey drawings do"):
        FewShotClassifier(drawings_checkpoint(tmp_path, 3), n_estimators=2).fit(pictures, list("aabb"))
