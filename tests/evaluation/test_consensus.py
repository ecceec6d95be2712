"""The expected chrF is sacrebleu's; a consensus is not moved by one that stands alone."""

from __future__ import annotations

import numpy as np
import pytest

from regard.evaluation.consensus import expected_chrf

TEXTS = ["The dog sleeps.", "A dog is sleeping.", "I don't know!", "ok", "The dogs sleep."]


def test_it_is_the_mean_of_sacrebleus_chrf() -> None:
    sacrebleu = pytest.importorskip("sacrebleu", reason="needs the extra translation")
    p = [0.4, 0.1, 0.2, 0.1, 0.2]
    expected = [
        sum(w * sacrebleu.sentence_chrf(text, [truth]).score / 100 for w, truth in zip(p, TEXTS, strict=True))
        for text in TEXTS
    ]
    assert np.allclose(expected_chrf(TEXTS, [3 * w for w in p]), expected, atol=1e-9)


def test_those_that_agree_win_against_the_likeliest() -> None:
    assert int(expected_chrf(TEXTS, [0.3, 0.2, 0.35, 0.0, 0.15]).argmax()) in (0, 1, 4)


def test_empty_texts_have_nothing_in_common_with_others() -> None:
    assert expected_chrf(["", "a"], [1, 1]).tolist() == [0.5, 0.5]
