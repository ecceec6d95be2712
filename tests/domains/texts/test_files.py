"""A user's own texts, as spreadsheets, editors and programs save them; and a recipe for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.commands.predict import predict_files
from regard.domains.texts.files import read_cells, read_labelled, read_lines
from regard.errors import DataError
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.run import train_recipe

ROWS = [("café fermé, désolé", "close"), ('she said "open"', "open"), ("line\nbreak", "weather")]


def table(delimiter: str = ",", head: str = "text,label", end: str = "\n") -> str:
    lines = [head.replace(",", delimiter)]
    lines += [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in ROWS]
    return end.join(lines) + end


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_are_read_however_they_were_saved(tmp_path: Path, encoding: str, delimiter: str) -> None:
    for head in ("text,label", "Text ,LABEL"):
        (tmp_path / "mine.csv").write_bytes(table(delimiter, head, "\r\n").encode(encoding))
        texts, labels = read_labelled(tmp_path / "mine.csv")
        assert [text.replace("\r", "") for text in texts] == [text for text, _ in ROWS]
        assert labels == [label for _, label in ROWS]
    (tmp_path / "sep.csv").write_text(f"sep={delimiter}\n" + table(delimiter))
    assert read_labelled(tmp_path / "sep.csv")[1] == labels


def test_windows_1252_is_read_with_a_warning_and_other_encodings_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(table().encode("cp1252"))
    with pytest.warns(UserWarning, match="Windows-1252"):
        assert read_labelled(path)[0][0] == ROWS[0][0]
    path.write_bytes("text,label\n我想关闭账户,关闭\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"save it as UTF-8, or name its encoding"):
        read_labelled(path)
    assert read_labelled(path, encoding="gb18030") == (["我想关闭账户"], ["关闭"])
    with pytest.raises(DataError, match="expected one that Python knows"):
        read_labelled(path, encoding="utf-9")
    path.write_bytes(table().encode("utf-16-le"))
    with pytest.raises(DataError, match="zero bytes"):
        read_labelled(path)


def test_json_and_long_fields_are_read(tmp_path: Path) -> None:
    objects = [{"text": text, "label": label, "more": [1]} for text, label in ROWS]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, objects)) + "\n\n")
    (tmp_path / "b.json").write_text(json.dumps(objects, indent=1))
    (tmp_path / "c.jsonl").write_text('{"q": "pay", "y": 3}\n')
    for name in ("a.jsonl", "b.json"):
        assert read_labelled(tmp_path / name)[0] == [text for text, _ in ROWS]
        assert read_lines(tmp_path / name) == [text for text, _ in ROWS]
    assert read_labelled(tmp_path / "c.jsonl", "q", "y") == (["pay"], ["3"])
    (tmp_path / "long.csv").write_text(f"text,label\n{'word ' * 60_000},a\n")
    assert len(read_labelled(tmp_path / "long.csv")[0][0]) == 300_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nrain,\nsun,b\n", "line 2 has no label"),
        ("a.csv", "text,label\nrain\n", "line 2 has no label"),
        ("a.csv", "text,label\n ,b\n", "line 2 has no text"),
        ("a.csv", "text,label\nrain, sun and snow,b\n", "line 2 has more cells than the first line"),
        ("a.csv", "message,label\nrain,b\n", r"columns \['label', 'message'\].*data\.text"),
        ("a.csv", "", "holds no row"),
        ("a.csv", "text,label\n", "holds no row"),
        ("a.csv", "text,label\na\0b,c\n", "zero bytes"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": null, "label": "b"}\n', "line 2 has no text"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": "a"', "not JSON"),
        ("a.jsonl", "[" * 100_000, "not JSON"),
        ("a.json", "[1, 2]", "expected an object"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_labelled(tmp_path / name)
    assert name in str(caught.value) and len(str(caught.value)) < 600


def test_queries_are_lines_or_the_column_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("one, two\r\n\r\n three\n")
    assert read_lines(tmp_path / "q.txt") == ["one, two", " three"]
    (tmp_path / "q.csv").write_text("id;text\n1;one\n2;two\n")
    assert read_lines(tmp_path / "q.csv") == ["one", "two"]
    for name, content in (("e.txt", "\n \n"), ("absent.txt", None)):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=r"no text|not a file"):
            read_lines(tmp_path / name)


def test_a_recipe_learns_from_a_users_own_texts(tmp_path: Path) -> None:
    rows = [
        f"{topic}{word} please {said};{topic}" for topic in "abcdefghijkl" for word in "xyz" for said in ("now", "ok")
    ]
    (tmp_path / "mine.csv").write_text("Sentence;Intent\n" + "\n".join(rows))
    settings = (
        f"data.file={tmp_path / 'mine.csv'}",
        "data.text=Sentence",
        "data.label=Intent",
        "learner.encoder.d_hidden=4",
        "learner.encoder.d_embed=8",
        "train.steps=2",
        "train.validate_every=2",
        "train.validation_episodes=2",
        "train.tensorboard=false",
        "episodes={n_way: 2, n_shot: 1, n_query: 1}",
        "validation={n_way: 2, n_shot: 1, n_query: 1}",
        "evaluation=[{n_way: 2, n_shot: 1, n_query: 1}]",
    )
    recipe = Recipe.read("texts", settings)
    data = load_data(recipe.data)
    assert {split: d.n_classes for split, d in data.splits.items()} == {"train": 7, "validation": 3, "test": 2}  # type: ignore[attr-defined]
    best = train_recipe(recipe, tmp_path / "run", data=data)
    (tmp_path / "s.csv").write_text("text,label\nopen it,open\nclose it,close\n")
    (tmp_path / "q.txt").write_text("please close it\n。\n")
    named = predict_files(best, tmp_path / "s.csv", tmp_path / "q.txt")
    assert [p.query for p in named] == ["please close it", "。"] and all(p.answered for p in named)


# ---- separators and quotation marks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt"])
def test_a_sentence_with_commas_and_quotes_does_not_hide_the_tabs(tmp_path: Path, name: str) -> None:
    lines = [
        '"Men jag vill inte", sluddrade Tom, "inte alls".\t"But I do not want to", said Tom.',
        '"Varför?\t"Why?',
        'Ja.\t"He said ""yes"""',
        "Nej, tack.\tNo, thank you.",
    ]
    (tmp_path / name).write_text("\n".join(lines))
    found = read_cells(tmp_path / name, ("source", "target"))
    assert found is not None and [cells for _, cells in found] == [
        ['"Men jag vill inte", sluddrade Tom, "inte alls".', '"But I do not want to", said Tom.'],
        ['"Varför?', '"Why?'],
        ["Ja.", 'He said "yes"'],
        ["Nej, tack.", "No, thank you."],
    ]
    assert [where for where, _ in found] == [f"line {i}" for i in range(1, 5)]


def test_a_cell_between_tabs_may_go_on_in_the_next_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"one\ntwo"\ta\n"three, four"\tb\n')
    assert read_labelled(tmp_path / "a.tsv") == (["one\ntwo", "three, four"], ["a", "b"])


def test_without_names_of_columns_each_line_has_as_many_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Ja, det är så;Yes, it is\nNej;No\nJo, men inte nu, tack;Yes, but not now\n")
    found = read_cells(tmp_path / "a.csv", ("source", "target"))
    assert found is not None and {len(cells) for _, cells in found} == {2}
