"""The recipe `intents` on a corpus made here, of words that no two domains share."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from regard.commands.predict import predict_files
from regard.domains.texts.bag_of_words import tfidf_dataset
from regard.domains.texts.clinc import TRAIN, VALIDATION, read_clinc, split_domains
from regard.domains.texts.tokenizer import Tokenizer, words
from regard.errors import DataError
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import evaluate_learner, train_recipe
from regard.recipes.trained import load

DOMAINS = (*TRAIN, *VALIDATION, "weather")
SAID = ("please {}", "can you {} now", "i want to {}", "{} for me", "how do i {}", "{} today please", "tell me to {}")


def topic(domain: str, number: int) -> str:
    """Two words that nobody else says."""
    return f"{domain[:3]}{'abcdef'[number]}ing the {'xyzuvw'[number]}{domain[-3:]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"text": said.format(topic(domain, i)), "intent": f"{domain}_{i}", "domain": domain}
        for domain in DOMAINS
        for i in range(6)
        for said in SAID
    ]
    folder = tmp_path_factory.mktemp("clinc")
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "clinc_7domains.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = ("learner.d_head=16", "learner.d_pair=4", "learner.encoder.d_embed=8", "learner.encoder.d_hidden=4")
    train = ("train.steps=6", "train.max_minutes=null", "train.validation_episodes=2", "train.tensorboard=false")
    asked = ("evaluation_episodes=20", "episodes.n_way=4", "episodes.n_query=2", "episodes.n_shot=1")
    few = ("validation.n_query=2", "evaluation.0.n_query=2", "evaluation.1.n_query=2", "evaluation.1.n_shot=3")
    recipe = Recipe.read("intents", (f"data.folder={folder}", *small, *train, *asked, *few))
    return train_recipe(recipe, tmp_path_factory.mktemp("run"))


def test_words_of_a_domain_never_seen_are_matched(run: Path) -> None:
    loaded = load(run)
    one_shot, more = evaluate_learner(loaded, loaded.data())
    assert one_shot.data == "clinc150/test"
    assert one_shot.metrics["accuracy"].mean > 0.8 and more.metrics["accuracy"].mean > 0.9


def test_sentences_of_a_users_own_are_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text('text,label\n"feed the cat, please",cat\nwater my flowers,garden\n')
    (tmp_path / "asked.txt").write_text("the cat is hungry\nwhen did i water the roses\n")
    predictions = predict_files(run, tmp_path / "known.csv", tmp_path / "asked.txt")
    assert [p.label for p in predictions] == ["cat", "garden"]
    assert predictions[0].attended == "feed the cat, please"


def test_the_reader_of_the_checkpoint_is_the_one_of_the_data(run: Path, folder: Path) -> None:
    loaded = load(run)
    test = split_domains(read_clinc(folder))["test"]
    read, kept = loaded.reader()(test.texts[:5]), loaded.data().split("test").x  # type: ignore[attr-defined]
    assert read.keys() == kept.keys()
    assert all(torch.equal(read[key], kept[key][:5]) for key in read)


def test_the_bag_of_words_stands_in_the_order_of_the_tokens(folder: Path) -> None:
    parts = split_domains(read_clinc(folder))
    tokens = load_data(Recipe.read("intents", (f"data.folder={folder}",)).data).split("test")  # type: ignore[attr-defined]
    bags = tfidf_dataset(parts["train"], parts["test"])
    assert bags.class_names == tokens.class_names and bags.y.equal(tokens.y)


def test_a_tokenizer_knows_how_rare_words_are() -> None:
    texts = ["pay the bill", "pay me", "the end"]
    tokenizer = Tokenizer.learn(texts, least=2)
    assert tokenizer.vocabulary == ("pay", "the")
    items = tokenizer(["pay the piper", ""])
    twice, never = torch.tensor([4 / 3, 4]).log() + 1
    torch.testing.assert_close(items["rarity"][0, :3], torch.stack([twice, twice, never]))
    assert not items["rarity"][0, 3:].any() and not items["rarity"][1].any() and not items["mask"][1].any()
    assert items["ids"][0, 2, 0] == 1  # a word outside the vocabulary, still told from others by its n-grams
    assert Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer
    with pytest.raises(DataError, match="rarity"):
        Tokenizer.from_dict({"vocabulary": []})


def test_general_words_come_first() -> None:
    texts = ["pay the bill", "pay the rent", "feed the cat", "feed the dog", "pay pay"]
    tokenizer = Tokenizer.learn(texts, ["bank", "bank", "pet", "pet", "bank"], least=2, general=2)
    assert tokenizer.vocabulary == ("the", "pay", "feed") and tokenizer.n_general == 1
    assert (tokenizer(["the cat"])["ids"][0, :2, 0] < tokenizer.vocabulary_size).tolist() == [True, True]
    assert tokenizer(["pay"])["ids"][0, 0, 0] >= tokenizer.vocabulary_size
    assert Tokenizer.learn(texts).n_general == 0


def test_words() -> None:
    assert words("Pay $20, don't!") == ["pay", "$", "2", "0", ",", "dont", "!"]
