"""The parts that are said to matter are those without which another answer is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regard.domains.deletion import drops, explain_by_deletion
from regard.domains.images.covering import MOST_PICTURES, explained_places
from regard.domains.texts.deletion import MOST_WORDS, explained_words


class Likes:
    """Classifies by a number of each item: above 0 is "yes"."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, items: Any) -> NDArray[np.float64]:
        p = 1 / (1 + np.exp(-np.array([self.score(item) for item in items])))
        return np.stack([1 - p, p], 1)

    def score(self, item: Any) -> float:
        return float(sum(item))


class Value:
    """Predicts the sum of each item."""

    def predict(self, items: Any) -> NDArray[np.float64]:
        return np.array([float(sum(item)) for item in items])


def without(deleted: Sequence[Sequence[int]]) -> list[list[float]]:
    return [[x for part, x in enumerate([0.5, 3.0, -1.0, 0.0]) if part not in gone] for gone in deleted]


def test_the_drop_is_that_of_the_log_odds() -> None:
    np.testing.assert_allclose(drops(Likes(), without, 4), [0.5, 3.0, -1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(drops(Likes(), without, 4, "no"), [-0.5, -3.0, 1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(drops(Value(), without, 4), [0.5, 3.0, -1.0, 0.0])


def test_the_strongest_are_deleted_beside_others() -> None:
    found = explain_by_deletion(Likes(), without, 4, "numbers", n_deleted=1)
    np.testing.assert_allclose(found.strength, [1 / 6, 1, 0, 0])
    begin = "Without its darkest number, the probability of 'yes' would be 38% instead of 92%"
    assert found.sentence.startswith(f"{begin}; without another, drawn at random")
    number = explain_by_deletion(Value(), without, 4, "numbers")
    np.testing.assert_allclose(number.strength, [1 / 6, 1, 1 / 3, 0])
    assert "Without its 2 darkest numbers, the answer would be 0.5 instead of 2.5" in number.sentence


class Hears(Likes):
    def score(self, item: Any) -> float:
        return 4.0 * ("jazz" in item.lower()) - 2


def test_the_word_that_decides_is_the_darkest() -> None:
    found = explained_words(Hears(), ["please play some Jazz, now", "stop"])
    assert found is not None
    np.testing.assert_allclose(found[0].strength, [0, 0, 0, 1, 1, 0])  # "jazz" and its comma
    assert "2 darkest words" in found[0].sentence
    assert not found[1].strength.any()
    assert explained_words(Hears(), ["我想开户"]) is None
    assert explained_words(Hears(), ["word " * (MOST_WORDS + 1)]) is None


@pytest.mark.parametrize("shape", [(50, 50), (50, 50, 3)])
def test_the_place_that_decides_is_the_darkest(shape: tuple[int, ...]) -> None:
    class Sees(Likes):
        reader_ = staticmethod(lambda things: torch.from_numpy(np.stack(things)))

        def score(self, item: Any) -> float:
            return 4.0 * (int(np.asarray(item)[40:50, 20:30].max()) > 200) - 2

    picture = np.zeros(shape, np.uint8)
    picture[42:48:2, 22:28] = 255
    found = explained_places(Sees(), [picture])
    assert found is not None
    row, column = np.unravel_index(found[0].strength.argmax(), found[0].strength.shape)
    assert row > 76 and 38 <= column <= 57  # of 96 pixels
    assert found[0].sentence.startswith("Covering its 3 darkest places, the probability of 'yes'")
    assert explained_places(Sees(), [picture] * (MOST_PICTURES + 1)) is None
