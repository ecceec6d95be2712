"""Scores are sacrebleu's, intervals are over languages."""

from __future__ import annotations

import pytest

pytest.importorskip("sacrebleu", reason="needs regard[translation]")

from regard.errors import DataError
from regard.evaluation.chrf import (
    Scores,
    mean_scores,
    paired_scores,
    score_translations,
    sentence_chrf,
)
from regard.evaluation.intervals import Interval, mean_interval

REFERENCES = ["The dog is sleeping in the garden.", "Where is the cat today, my friend?"]


def test_equal_is_a_hundred_and_less_is_less() -> None:
    assert score_translations(REFERENCES, REFERENCES) == pytest.approx((100, 100))
    worse = score_translations(["The dog sleeps in a garden.", "Where is the cat?"], REFERENCES)
    assert 0 < worse.chrf < 90 and 0 <= worse.bleu < 60
    assert sentence_chrf(REFERENCES[0], REFERENCES[0]) == pytest.approx(100)


def test_chrf_by_hand() -> None:
    """chrF2 with two characters in one order each: precision and recall over orders of 1 and 2 characters."""
    # "ab" against "abc": 1-grams P = 1, R = 2/3; 2-grams P = 1, R = 1/2; no 3-grams in the hypothesis.
    import sacrebleu

    p, r = 1, (2 / 3 + 1 / 2) / 2
    scorer = sacrebleu.CHRF(char_order=2)
    assert scorer.corpus_score(["ab"], [["abc"]]).score == pytest.approx(100 * 5 * p * r / (4 * p + r))


def test_a_language_is_the_unit() -> None:
    a = {"x": Scores(20, 5), "y": Scores(18, 4), "z": Scores(25, 9)}
    b = {"x": Scores(19, 5), "y": Scores(16, 2), "w": Scores(0, 0), "z": Scores(24, 7)}
    means = mean_scores(a)
    assert means["chrf"] == mean_interval([20, 18, 25]) and means["bleu"] == mean_interval([5, 4, 9])
    assert mean_scores(a, ["x"]) == {"chrf": 20, "bleu": 5}
    difference = paired_scores(a, b)
    assert isinstance(difference["chrf"], Interval)
    assert difference["chrf"].mean == pytest.approx(4 / 3) and difference["bleu"].mean == pytest.approx(4 / 3)


def test_numbers_must_agree() -> None:
    with pytest.raises(DataError, match="1 translations and 2 references"):
        score_translations(["a"], REFERENCES)
