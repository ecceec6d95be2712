"""Texts of any language to tokens, and what is no text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch

from regard.domains.texts.tokenizer import Tokenizer, words
from regard.errors import DataError


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Pay $20, don't!", ["pay", "$", "2", "0", ",", "dont", "!"]),
        ("Un café, d\u2019accord", ["un", "café", ",", "daccord"]),
        ("cafe\u0301", ["café"]),
        ("Открыть счёт", ["открыть", "счёт"]),
        ("खाता बंद करें", ["खाता", "बंद", "करें"]),
        ("계좌 개설", ["계좌", "개설"]),
        ("我想开户。", ["我想", "想开", "开户", "。"]),
        ("買", ["買"]),
        ("iPhoneを買う", ["iphone", "を買", "買う"]),
        ("\uff21\uff22\uff23\uff11", ["abc", "1"]),
        (" \u3000\t", []),
    ],
)
def test_words_of_languages_with_spaces_and_without(text: str, tokens: list[str]) -> None:
    assert words(text) == tokens


@pytest.mark.parametrize("text", ["ฉันต้องการเปิดบัญชี", "ຂ້ອຍຕ້ອງການເປີດບັນຊີ", "ខ្ញុំចង់បើកគណនី", "口座を開設したいです"])
def test_a_sentence_without_spaces_is_many_words_and_no_mark_stands_alone(text: str) -> None:
    found = words(text)
    assert len(found) >= 6
    assert not any(unicodedata.category(word[0]).startswith("M") for word in found)


def test_sentences_without_spaces_share_what_they_share() -> None:
    tokenizer = Tokenizer.learn(["我想开户", "今天天气好"], least=1)
    ids = [set(row.flatten().tolist()) - {0, 1} for row in tokenizer(["我要开户", "开户", "明天下雨"])["ids"]]
    assert len(ids[0] & ids[1]) >= 4 and not ids[1] & ids[2]


@pytest.mark.parametrize(
    "missing", [None, float("nan"), pd.NA, 3, np.float64(2.5), b"pay", ["pay"], "a \ud800 b"], ids=repr
)
def test_a_row_that_is_no_text_is_named(missing: object) -> None:
    tokenizer = Tokenizer.learn(["pay the bill"], least=1)
    for things in (["pay", missing, "bill"], pd.Series(["pay", missing, "bill"], dtype=object)):
        with pytest.raises(DataError, match=r"row 1 is .*drop these rows"):
            tokenizer(things)


@pytest.mark.parametrize("things", ["pay", b"pay", 3, pd.DataFrame({"text": ["pay"]}), np.array([["pay"]]), {"a": "b"}])
def test_what_is_no_list_of_texts_is_refused(things: object) -> None:
    with pytest.raises(DataError, match="expected"):
        Tokenizer.learn(["pay"], least=1)(things)


def test_arrays_and_series_of_texts_are_lists() -> None:
    tokenizer = Tokenizer.learn(["pay the bill"], least=1)
    wanted = tokenizer(["pay", "bill"])
    for things in (np.array(["pay", "bill"]), pd.Series(["pay", "bill"]), ("pay", "bill")):
        assert torch.equal(tokenizer(things)["ids"], wanted["ids"])


def test_a_text_without_a_word_is_blank() -> None:
    tokenizer = Tokenizer.learn(["pay the bill"], least=1)
    assert tokenizer.is_blank(tokenizer(["pay", "", " \n"])).tolist() == [False, True, True]
