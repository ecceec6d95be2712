"""Corpora of few-shot text as their authors publish them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from regard.domains.texts.corpora import marked, read_corpus, read_reviews
from regard.errors import DataError


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_intents_keep_their_domain_and_split(tmp_path: Path) -> None:
    rows = [
        {"text": "pay it", "intent": "pay", "domain": "banking", "split": "train"},
        {"text": "fly me", "intent": "fly", "domain": "travel", "split": "test"},
        {"text": "pay now", "intent": "pay", "domain": "banking", "split": "test"},
    ]
    corpus = read_corpus(lines(tmp_path / "clinc.jsonl.gz", rows))
    assert corpus.texts == ("pay it", "fly me", "pay now")
    assert corpus.groups == {"pay": "banking", "fly": "travel"}
    assert corpus.splits == ("train", "test", "test")
    assert corpus.of_labels(["pay"]).texts == ("pay it", "pay now")
    assert corpus.at_most(1).texts == ("pay it", "fly me")
    assert (corpus + corpus).labels == corpus.labels * 2
    with pytest.raises(DataError, match="no text has the label 'sing'"):
        corpus.of_labels(["sing"])


def test_a_folder_is_read_whatever_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train.csv").write_text("text,category\nwake me,alarm\nplay it,music\n")
    (tmp_path / "tables" / "test.csv").write_text("text,category\nwake us,alarm\n")
    (tmp_path / "tables" / "categories.json").write_text('["alarm", "music"]')
    corpus = read_corpus(tmp_path / "tables")
    assert sorted(zip(corpus.texts, corpus.labels, corpus.splits, strict=True)) == [
        ("play it", "music", "train"),
        ("wake me", "alarm", "train"),
        ("wake us", "alarm", "test"),
    ]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "alarm.txt").write_text("wake me\n\nwake us\n")
    (tmp_path / "files" / "music.txt").write_text("play it\n")
    assert read_corpus(tmp_path / "files").labels == ("alarm", "alarm", "music")
    (tmp_path / "hwu.csv").write_text('userid;scenario;intent;answer\n1;alarm;set;"wake me; please"\n')
    corpus = read_corpus(tmp_path / "hwu.csv")
    assert (corpus.texts, corpus.labels) == (("wake me; please",), ("alarm_set",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file of texts"):
        read_corpus(tmp_path / "empty")


def test_relations_become_marked_texts(tmp_path: Path) -> None:
    row = {"relation": "P22", "tokens": ["ada", "is", "byron", "'s", "child"], "h": {"pos": [0]}, "t": {"pos": [2, 3]}}
    corpus = read_corpus(lines(tmp_path / "fewrel.jsonl", [row]))
    assert corpus.texts == ("[E1] ada [/E1] is [E2] byron 's [/E2] child",)
    assert corpus.labels == ("P22",)
    nested = {**row, "h": {"pos": [[0], [4]]}}
    assert read_corpus(lines(tmp_path / "official.jsonl", [nested])).texts == corpus.texts


@pytest.mark.parametrize(("head", "tail"), [([0], [9]), ([0, 1], [1]), ([], [1]), ([-1], [1])])
def test_entities_that_cannot_be_are_refused(head: list[int], tail: list[int]) -> None:
    with pytest.raises(DataError, match="token"):
        marked(["a", "b", "c"], head, tail)


def test_reviews_are_tasks_of_domain_and_threshold(tmp_path: Path) -> None:
    rows = [
        {"text": f"{domain} {n}", "label": label, "domain": domain, "threshold": threshold, "split": "train"}
        for n, (domain, threshold, label) in enumerate([("toys", "t4", 1), ("baby", "t2", -1), ("toys", "t2", 1)] * 2)
    ]
    tasks = read_reviews(lines(tmp_path / "arsc.jsonl.gz", rows))
    assert [(task.domain, task.threshold) for task in tasks] == [("baby", "t2"), ("toys", "t2"), ("toys", "t4")]
    assert tasks[0].reviews.labels == ("-1", "-1")
    with pytest.raises(DataError, match="domain or threshold"):
        read_reviews(lines(tmp_path / "other.jsonl", [{"text": "a", "label": 1}]))


def test_rows_without_text_or_label_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2 has no text"):
        read_corpus(lines(tmp_path / "a.jsonl", [{"text": "a", "intent": "b"}, {"text": " ", "intent": "b"}]))
    with pytest.raises(DataError, match="line 1 has no label"):
        read_corpus(lines(tmp_path / "b.jsonl", [{"text": "a"}]))
    (tmp_path / "c.jsonl.gz").write_bytes(b"not packed")
    with pytest.raises(DataError, match="no gzip file"):
        read_corpus(tmp_path / "c.jsonl.gz")
