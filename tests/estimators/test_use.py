"""Estimators in use: threads, pickles of every domain, labels and weights as users have them, hostile files."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.domains.tables import domain
from regard.domains.texts.tokenizer import Tokenizer
from regard.episode import Support
from regard.errors import CheckpointError, ConfigError, EpisodeError, SizeWarning
from regard.estimators import FewShotClassifier, FewShotRegressor, base, load_estimator, save_estimator
from regard.estimators.base import FewShotEstimator
from regard.learners.base import Learner
from regard.learners.prototypical import Prototypical
from regard.learners.table_transformer import TableTransformer
from regard.nn.encoder import Encoder
from regard.nn.flat import Flat
from regard.recipes.components import build_learner
from regard.training import save_checkpoint
from regard.training.sealed import read_sealed, write_sealed

SMALL = {"d_cell": 8, "n_table_layers": 1, "d_row": 8, "n_row_layers": 1, "n_row_heads": 2}
X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.arange(24) % 3


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a small untrained learner of tables."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "classes.safetensors"
    spec = {"learner": {"name": "TableTransformer", **SMALL}, "items": {"domain": "tables"}}
    save_checkpoint(path, TableTransformer(**SMALL), spec=spec)
    return str(path)


class Moody(Encoder):
    """Answers otherwise in train mode, and its running averages change there."""

    n_features, parts = 3, False

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(x.to(self.norm.weight.dtype)))


def asked_by_threads(models: list[FewShotClassifier], n_calls: int = 40) -> int:
    """How many of the answers of 8 threads differ from what one thread gets."""
    wanted = [model.predict_proba(X) for model in models]
    different: list[int] = []

    def ask(number: int) -> None:
        at = number % len(models)
        different.extend(int(not np.array_equal(models[at].predict_proba(X), wanted[at])) for _ in range(n_calls))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(different) == 8 * n_calls
    return sum(different)


def test_eight_threads_get_the_answers_of_one(table: str) -> None:
    assert asked_by_threads([FewShotClassifier(table).fit(X, Y)]) == 0


def test_threads_share_a_learner_in_hand_that_is_trained_meanwhile() -> None:
    torch.manual_seed(0)
    learner = Prototypical(Moody()).train()
    models = [FewShotClassifier(learner).fit(X, Y), FewShotClassifier(learner).fit(X[::-1], Y)]
    support = Support(torch.randn(1, 24, 3), torch.from_numpy(Y)[None])
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    done = threading.Event()

    def train() -> None:
        while not done.is_set():
            optimizer.zero_grad()
            learner.predict(learner.adapt(support), torch.randn(1, 9, 3))[..., 0].sum().backward()
            optimizer.step()

    before = learner.encoder.norm.running_mean.clone()
    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        assert asked_by_threads(models) == 0
    finally:
        done.set()
        trainer.join()
    assert learner.training and not torch.equal(learner.encoder.norm.running_mean, before)


def checkpoint(folder: Path, learner: dict[str, Any], items: dict[str, Any]) -> str:
    torch.manual_seed(0)
    path = folder / f"{items['domain']}.safetensors"
    save_checkpoint(path, build_learner(learner), spec={"learner": learner, "items": items})
    return str(path)


def fitted(domain: str, folder: Path, table: str) -> tuple[FewShotEstimator, Any]:
    """A fitted estimator of a domain, and queries."""
    if domain == "tables":
        x: Any = [[a, b, "red" if c > 0 else "blue"] for a, b, c in X.tolist()]
        return FewShotClassifier(table, n_estimators=2).fit(x, Y), x
    if domain == "arrays":
        return FewShotClassifier(Prototypical(Flat())).fit(X, Y), X
    if domain == "images":
        encoder = {"name": "Conv4", "n_filters": 4, "n_channels": 1}
        reader = {"size": 28, "n_channels": 1, "ink": "auto", "box": 0.8}
        items = {"domain": "images", "reader": reader, "n_views": 2}
        path = checkpoint(folder, {"name": "Prototypical", "encoder": encoder}, items)
        pictures = list((np.random.default_rng(0).random((6, 40, 40)) > 0.9).astype(np.uint8) * 255)
        return FewShotClassifier(path).fit(pictures, list("abcabc")), pictures
    if domain == "texts":
        texts = ["close my account", "rain today", "open an account", "sun and rain"]
        reader = Tokenizer.learn(texts, least=1, n_buckets=64)
        encoder = {"name": "TokenLSTM", "n_tokens": reader.n_tokens, "d_embed": 4, "d_hidden": 4}
        items = {"domain": "texts", "reader": reader.to_dict()}
        return FewShotClassifier(checkpoint(folder, {"name": "Prototypical", "encoder": encoder}, items)).fit(
            texts, ["bank", "weather"] * 2
        ), texts
    encoder = {"name": "Fourier", "longest": 20.0, "shortest": 2.0, "n_waves": 4}
    spec = {"name": "TNPD", "encoder": encoder, "n_layers": 1, "n_embed": 1}
    return FewShotRegressor(checkpoint(folder, spec, {"domain": "functions"})).fit(X[:, 0], X[:, 1]), X[:, 0]


def answers(model: Any, queries: Any) -> np.ndarray:
    return model.predict_proba(queries) if hasattr(model, "predict_proba") else model.predict(queries)


@pytest.mark.parametrize("domain", ["tables", "arrays", "images", "texts", "functions"])
def test_fitted_estimators_pickle_and_joblib(domain: str, tmp_path: Path, table: str) -> None:
    model, queries = fitted(domain, tmp_path, table)
    wanted = answers(model, queries)
    joblib.dump(model, tmp_path / "model")
    for again in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")):
        np.testing.assert_array_equal(answers(again, queries), wanted)


# ---- labels and weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kinds",
    [(str, np.str_), (int, np.int64), (bool, np.bool_), (float, np.float32), (int, float)],
    ids=["words", "whole numbers", "yes or no", "numbers", "whole and other numbers"],
)
def test_labels_of_python_and_numpy_are_the_same(kinds: tuple[type, type], table: str) -> None:
    values = [0, 1] if str not in kinds else ["a", "b"]
    y = np.array([kinds[i // 2 % 2](values[i % 2]) for i in range(24)], dtype=object)
    model = FewShotClassifier(table).fit(X, y)
    assert model.classes_.tolist() == values
    assert {type(label) for label in model.classes_.tolist()} == {kinds[0]}


@pytest.mark.parametrize("missing", [None, np.nan, np.datetime64("NaT"), np.ma.masked], ids=str)
def test_a_row_without_a_label_is_named(missing: object, table: str) -> None:
    y = np.array(list("ab") * 12, dtype=object)
    y[3] = missing
    for labels in (y, y.tolist(), np.ma.masked_array(list("ab") * 12, mask=np.arange(24) == 3)):
        with pytest.raises(EpisodeError, match="no label for 1 row"):
            FewShotClassifier(table).fit(X, labels)


def test_labels_and_weights_of_pandas(table: str) -> None:
    pandas = pytest.importorskip("pandas")
    y = pandas.Series(["a", "b"] * 12, dtype="string")
    model = FewShotClassifier(table).fit(X, y, sample_weight=pandas.Series(np.ones(24)))
    np.testing.assert_array_equal(model.predict_proba(X), FewShotClassifier(table).fit(X, y.tolist()).predict_proba(X))
    y[3] = pandas.NA
    with pytest.raises(EpisodeError, match=r"no label for 1 row\(s\), first row 3"):
        FewShotClassifier(table).fit(X, y)


def test_weights_that_sum_to_one_are_shares(table: str) -> None:
    wanted = FewShotClassifier(table).fit(X, Y).predict_proba(X)
    shares = FewShotClassifier(table).fit(X, Y, sample_weight=np.full(24, 1 / 24)).predict_proba(X)
    np.testing.assert_allclose(shares, wanted, rtol=1e-9)
    counts = FewShotClassifier(table).fit(X, Y, sample_weight=np.full(24, 1 / 48)).predict_proba(X)
    assert np.abs(counts - wanted).max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [{"n_estimators": n} for n in (2.5, "2", 0, True, 2**62)] + [{"chunk_size": n} for n in (32.0, None, 0, "8")],
    ids=str,
)
def test_settings_of_a_wrong_type_are_refused(settings: dict[str, Any], table: str) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} is .*: expected a whole number"):
        FewShotClassifier(table).set_params(**settings).fit(X, Y)


# ---- deviations ------------------------------------------------------------------------------------------------------


class Torn(Learner):
    """Of each view another opinion, and each sure of it."""

    domain, classifies, regresses = "tables", False, True

    def adapt(self, support: Support) -> Support:
        return support

    def predict(self, state: Support, query_x: Any) -> torch.distributions.Normal:
        x = query_x["x"]
        mean = torch.arange(len(x), dtype=x.dtype)[:, None, None].expand(*x.shape[:2], 1)
        return torch.distributions.Normal(mean, torch.full_like(mean, 0.5))


def test_views_that_disagree_make_the_deviation_wider() -> None:
    model = FewShotRegressor(Torn(), n_estimators=3).fit(X, X[:, 0])
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 1 + X[:, 0].mean())
    # The variance of a mixture: the mean of variances, and the variance of the means 0, 1 and 2.
    np.testing.assert_allclose(deviation, np.sqrt(0.25 + 2 / 3), rtol=1e-6)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_any_flipped_bit_of_a_file_is_found(table: str, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_estimator(FewShotClassifier(table).fit(X, Y), path)
    content = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(content), 40):
        changed = bytearray(content)
        changed[at] ^= 4
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_estimator(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("settings", {"n_estimators": 2**62, "chunk_size": 8}),
        ("settings", {"n_estimators": None, "chunk_size": -1}),
        ("settings", []),
        ("estimator", "Popen"),
        ("learner", {"name": "TableTransformer", "d_cell": 2**20}),
        ("learner", {"name": "Conv4"}),
        ("items", {"domain": "nowhere"}),
        ("reader", {"columns": [{"kind": "numbers"}]}),
        ("fitted", {"dtype": "<U1000000000", "classes": [["a"], "b", "c"]}),
        ("fitted", {"dtype": "<i8", "classes": list(range(10**5))}),
        ("n_columns", "many"),
    ],
)
def test_files_written_by_hand_are_refused_in_our_words(key: str, value: object, table: str, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_estimator(FewShotClassifier(table).fit(X, Y), path)
    header, tensors = read_sealed(path, "regard.estimator.2", "an estimator")
    write_sealed(path, {**header, key: value}, tensors)
    with pytest.raises(CheckpointError):
        load_estimator(path)


def test_what_will_take_long_is_said_before(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FewShotClassifier(table).fit(X, Y)
    monkeypatch.setattr(domain, "_LONG", 1e-5)
    with pytest.warns(SizeWarning, match=r"24 examples of 3 columns take about .* made for 180 examples and 30"):
        FewShotClassifier(table).fit(X, Y)
    assert domain.estimated_seconds(3000, 20) > 5 > domain.estimated_seconds(500, 20)


def test_a_long_prediction_says_how_far_it_is(
    table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = FewShotClassifier(table, chunk_size=6).fit(X, Y)
    model.predict(X)
    assert not caplog.records
    monkeypatch.setattr(base, "_SILENT", 0.0)
    model.predict(X)
    said = [record.getMessage().split(" queries")[0] for record in caplog.records]
    assert said == ["6 of 24", "12 of 24", "18 of 24"]
