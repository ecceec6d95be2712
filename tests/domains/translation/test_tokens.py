"""Sentences to words and back."""

from __future__ import annotations

import pytest

pytest.importorskip("regex", reason="needs regard[translation]")
pytest.importorskip("anyascii", reason="needs regard[translation]")

from regard.domains.translation.tokens import (
    Truecaser,
    detokenise,
    normalise_english,
    romanise,
    tokenise_english,
    tokenise_source,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Au commencement, Dieu créa.", ["au", "commencement", ",", "dieu", "créa", "."]),
        ("मेरे दादा हैं।", ["मेरे", "दादा", "हैं", "।"]),
        ("l\u2019homme d'État", ["l'homme", "d'état"]),
        ("我哋去Tokyo。", ["我", "哋", "去", "tokyo", "。"]),
        ("กี่ชั่วโมง", ["กี่", "ชั่", "ว", "โ", "ม", "ง"]),
        ("ຂ້ອຍ", ["ຂ້", "ອ", "ຍ"]),
        ("ចុះ", ["ចុះ"]),
        ("မြန်မာ", None),
        ("40 euro", ["40", "euro"]),
        ("", []),
    ],
)
def test_source_tokens(text: str, tokens: list[str] | None) -> None:
    found = tokenise_source(text)
    if tokens is None:
        assert len(found) > 1
    else:
        assert found == tokens
    assert "".join(found).replace("'", "") == "".join(text.lower().replace("\u2019", "").replace("'", "").split())


SENTENCES = [
    "I don't think she's here, Tom.",
    'He said, "We won\'t go."',
    "That costs $3.50 (I think), doesn't it?",
    "Tom's dog isn't 10,000 years old!",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_english_comes_back_as_it_was(sentence: str) -> None:
    assert detokenise(tokenise_english(sentence, lower=False)) == sentence
    assert Truecaser.fit([*SENTENCES, "And Tom ran.", "Oh, we go."])(tokenise_english(sentence)) != sentence.lower()


def test_capitals_are_those_that_are_written_most() -> None:
    caser = Truecaser.fit(
        ["I saw Tom and Mary.", "Where is Tom?", "tom-toms are drums.", "The NASA man met Tom.", "So do I."]
    )
    assert caser(["where", "do", "i", "meet", "mary", ",", "the", "nasa", "man", "?", "so", "."]) == (
        "Where do I meet Mary, the NASA man? So."
    )
    assert caser(['"', "the", "man", '"']) == '"The man"'


def test_equal_english_is_equal_after_normalising() -> None:
    assert normalise_english("Don't  STOP, Tom!") == normalise_english("don\u2019t stop — tom") == "don t stop tom"
    assert normalise_english("?!") == ""


def test_romanising_knows_every_script_and_keeps_what_has_no_letters() -> None:
    assert [romanise(w) for w in ("Москва", "ბავშვი", "東", "été")] == ["moskva", "bavshvi", "dong", "ete"]
    assert romanise("~")
