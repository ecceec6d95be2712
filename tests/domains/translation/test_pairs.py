"""Sentence pairs as users have them, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from regard.domains.translation.pairs import (
    Pair,
    by_language,
    check_sources,
    check_support,
    english_share,
    other_script,
    read_pairs,
)
from regard.errors import DataError

PAIRS = [
    ("Der Hund schläft.", "The dog is sleeping."),
    ("Wo ist die Katze?", "Where is the cat?"),
    ("Ich habe ein Haus.", "I have a house."),
    ("Sie trinkt Wasser.", "She drinks the water."),
    ("Wir gehen nach Hause.", "We are going home."),
]
SOURCES, TARGETS = [s for s, _ in PAIRS], [t for _, t in PAIRS]


def test_every_format_gives_the_same_pairs(tmp_path: Path) -> None:
    expected = [Pair(s, t, "deu") for s, t in PAIRS]
    tatoeba = "\n".join(json.dumps({"lang": "deu", "src": s, "eng": t}) for s, t in PAIRS)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(tatoeba.encode()))
    (tmp_path / "b.tsv").write_text("\n".join(f"{s}\t{t}\tdeu" for s, t in PAIRS))
    (tmp_path / "c.csv").write_text("language,Target,Source\n" + "\n".join(f'deu,"{t}","{s}"' for s, t in PAIRS))
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"en": t, "deu": s}) for s, t in PAIRS))
    for file in ("a.jsonl.gz", "b.tsv", "c.csv", "d.jsonl"):
        assert read_pairs(tmp_path / file) == expected, file
    assert read_pairs(tmp_path / "a.jsonl.gz", language="deu") == expected


def test_a_row_of_several_languages_is_a_pair_of_each(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"en": "A man.", "de": "Ein Mann.", "fr": "Un homme."}))
    pairs = read_pairs(tmp_path / "m.jsonl")
    assert pairs == [Pair("Ein Mann.", "A man.", "de"), Pair("Un homme.", "A man.", "fr")]
    assert by_language([*pairs, pairs[0]]) == {"de": [pairs[0], pairs[0]], "fr": [pairs[1]]}
    with pytest.raises(DataError, match=r"no pair of the language 'cs', but of \['de', 'fr'\]"):
        read_pairs(tmp_path / "m.jsonl", language="cs")


def test_a_table_without_names_may_have_one_line_and_equal_sides(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("Tom\tTom\n")
    assert read_pairs(tmp_path / "one.tsv") == [Pair("Tom", "Tom")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Hund\tdog\nKatze\t\n", "line 2 has an empty target"),
        ("Hund\tdog\n \tcat\n", "line 2 has an empty source"),
        (
            "Hund\tdog\n" + "a" * 10_000 + "\tcat\n",
            r"line 2 has a source of 10,000 characters: expected .* at most 1,000",
        ),
        ("Hund\tdog\nKatze\n", r"line 2 has 1 column\(s\)"),
        ("Hund\nKatze\n", r"line 1 has 1 column\(s\)"),
        ("", "holds no pair"),
    ],
)
def test_a_bad_table_names_its_rows(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "bad.tsv")


def test_json_without_known_columns_names_them(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps({"question": "Was?", "eng": "What?"}))
    with pytest.raises(DataError, match=r"has \['eng', 'question'\]: expected a source"):
        read_pairs(tmp_path / "bad.jsonl")


def test_good_pairs_pass() -> None:
    assert check_support(SOURCES, TARGETS) == [Pair(s, t) for s, t in PAIRS]
    assert check_sources(SOURCES) == SOURCES


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        (SOURCES[:1], TARGETS[:1], "only 1 pair: expected 2 or more"),
        (SOURCES, TARGETS[:2], "5 sources and 2 targets"),
        ([*SOURCES[:4], " "], TARGETS, r"the sources: row 4 has an empty source"),
        (SOURCES, ["a " * 5000, *TARGETS[1:]], "the targets: row 0 has a"),
        (TARGETS, SOURCES, "the sides seem to be swapped"),
        ([*SOURCES[:4], TARGETS[4]], [*TARGETS[:4], SOURCES[4]], r"1 of 5 rows .* swapped: row 4"),
        ("Der Hund", TARGETS, "got one text: put it into a list"),
        ([*SOURCES[:4], None], TARGETS, "row 4 is None, not a text"),
    ],
)
def test_a_bad_support_says_what_is_wrong(sources: list[str | None], targets: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_support(sources, targets)


def test_another_target_than_english_is_used_with_a_warning() -> None:
    french = ["Le chien dort.", "Où est le chat ?", "J'ai une maison.", "Elle boit de l'eau.", "Nous rentrons."]
    with pytest.warns(UserWarning, match="targets do not look like English"):
        assert len(check_support(SOURCES, french)) == 5


def test_rows_in_another_script_are_named() -> None:
    mixed = ["Собака спит.", "Где кошка?", "Вот дом.", "Ona pjot vodu.", "Мы идём домой."]
    with pytest.warns(UserWarning, match=r"1 of 5 sources are not written in Cyrillic.*row 3 \('Ona pjot vodu.'\)"):
        check_support(mixed, TARGETS)
    assert other_script(["猫がいる", "東京", "カメラ", "1, 2"]) == {}


def test_english_looks_like_english() -> None:
    assert english_share(" ".join(TARGETS)) > 0.5 > 0.1 > english_share(" ".join(SOURCES))
    assert english_share("?!") == 0
