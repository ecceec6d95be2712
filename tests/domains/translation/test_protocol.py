"""Queries first, their English banned, supports nested."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("regex", reason="needs regard[translation]")

from regard.domains.translation.languages import branch, has_cousin
from regard.domains.translation.pairs import Pair
from regard.domains.translation.protocol import fix_queries, near_english
from regard.domains.translation.tokens import normalise_english
from regard.errors import DataError


def language(code: str, n_pairs: int, start: int = 0) -> list[Pair]:
    return [Pair(f"{code} {i}", f"Sentence number {i}, please!", code) for i in range(start, start + n_pairs)]


def english(pairs: tuple[Pair, ...] | list[Pair]) -> set[str]:
    return {normalise_english(pair.target) for pair in pairs}


def test_no_english_of_a_query_is_trained_on_or_given() -> None:
    data = {"ces": language("ces", 60), "tur": language("tur", 60, 30)}
    doubled = [Pair("ces again", "sentence NUMBER 7 please", "ces")]
    protocol = fix_queries({"ces": data["ces"] + doubled, "tur": data["tur"]}, n_queries=10)
    others = language("deu", 90)
    train = protocol.training([*others, *data["ces"]])
    assert {pair.language for pair in train} == {"deu"} and len(train) == 90 - len(protocol.banned)
    assert not english(train) & protocol.banned
    assert not {normalise_english(e) for e in protocol.english(p.target for p in others)} & protocol.banned
    for chosen in protocol.languages.values():
        assert len(chosen.queries) == 10 == len(english(chosen.queries))
        assert not english(chosen.queries) & english(chosen.pool)
        assert english(chosen.queries) <= protocol.banned


def test_supports_are_nested_and_draws_differ() -> None:
    chosen = fix_queries({"ces": language("ces", 400)}, n_queries=100).languages["ces"]
    small, large, all_of_it = (chosen.support(k) for k in (10, 50, 1000))
    assert large[:10] == small and len(large) == 50 and len(all_of_it) == 300
    assert chosen.support(10, draw=1) != small
    assert chosen.support(0) == ()


def test_the_choice_depends_on_the_pairs_and_not_on_their_order() -> None:
    pairs, other = language("ces", 90), language("tur", 90)
    alone = fix_queries({"ces": pairs}, n_queries=20).languages["ces"]
    beside = fix_queries({"tur": other, "ces": pairs[::-1]}, n_queries=20).languages["ces"]
    assert alone.queries == beside.queries and alone.support(30) == beside.support(30)
    assert alone.queries != fix_queries({"ces": pairs}, n_queries=20, seed=1).languages["ces"].queries


def test_a_finished_model_is_evaluated_on_english_it_has_not_seen() -> None:
    seen = english(language("deu", 30))
    protocol = fix_queries({"ces": language("ces", 60)}, n_queries=150, trained_on=seen)
    assert not english(protocol.languages["ces"].queries) & seen
    assert protocol.left_out == {"ces": 30} and len(protocol.languages["ces"].queries) == 20  # a third of 60
    with pytest.raises(DataError, match="'ces' has 30 pairs, and the English of each has been trained on"):
        fix_queries({"ces": language("ces", 30)}, trained_on=seen)


def test_near_copies_are_counted() -> None:
    training = ["The cat sat on the mat.", "I like green apples.", "Where is the station?"]
    near = near_english(["the cat sat on the mats", "A word entirely different", "Where is the station"], training)
    assert near.count == 2 and near.index[0] == 0 and near.index[2] == 2
    assert near.nearest[2] == pytest.approx(1) and near.nearest[1] < 0.5
    assert "2 of 3 queries (67%)" in str(near)
    assert near_english(["a"], []).count == 0 and near_english([], training).nearest.shape == (0,)


def test_near_copies_are_those_of_all_cosines() -> None:
    """Against a dense computation of the same similarity."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    rng = np.random.default_rng(0)
    words = ["red", "green", "house", "dogs", "run", "to", "water"]
    training, queries = ([" ".join(rng.choice(words, 5)) for _ in range(n)] for n in (230, 120))
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(3, 4), sublinear_tf=True)
    known = vectorizer.fit_transform([f" {t} " for t in training]).toarray()
    cosine = vectorizer.transform([f" {q} " for q in queries]).toarray() @ known.T
    assert near_english(queries, training).nearest == pytest.approx(cosine.max(1), abs=1e-5)


def test_cousins_are_of_one_branch() -> None:
    assert branch("ces") == branch("cs") == "Slavic" and branch("qqq") is None
    assert has_cousin("slk", ["ces", "tur"]) is True and has_cousin("hun", ["ces", "tur"]) is False
    assert has_cousin("qqq", ["ces"]) is None
