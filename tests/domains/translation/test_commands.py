"""From a file of sentence pairs to a translation by the commands alone: train, evaluate, predict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("regex", reason="needs the extra translation")
pytest.importorskip("anyascii", reason="needs the extra translation")
pytest.importorskip("sacrebleu", reason="needs the extra translation")

from tests.domains.translation.test_reader import pairs

from regard.cli import app
from regard.estimators import FewShotTranslator
from regard.training.logs import read_metrics

LANGUAGES = ("aaa", "bbb", "cc", "dd", "ee")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translation")
    rows = [pair for language in LANGUAGES for pair in pairs(language, 80)]
    lines = [json.dumps({"lang": p.language, "src": p.source, "eng": p.target}) for p in rows]
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    settings = {
        "data.folder": folder / "pairs.jsonl",
        "data.validation": "[cc, ee]",
        "data.test": "[aaa, dd]",
        "data.n_queries": 4,
        "data.n_words": 60,
        "learner.n_english": 1000,
        "learner.encoder.n_features": 16,
        "learner.encoder.n_rows": 64,
        "episodes.n_shot": "[0, 10]",
        "episodes.n_query": 4,
        "validation.n_shot": 5,
        "validation.n_query": 4,
        "train.steps": 4,
        "train.warmup_steps": 1,
        "train.decay_steps": 1,
        "train.validate_every": 2,
        "train.validation_episodes": 2,
        "train.tensorboard": "false",
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(app, ["train", "translation", "--out", str(folder / "run"), *words])
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_validation_is_the_loss_of_languages_that_are_not_trained_on(run: Path) -> None:
    rows = read_metrics(run / "metrics.csv")
    measured = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert measured and all(0 < loss < 20 for loss in measured)


def test_evaluate_and_predict(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(run), "--episodes", "2", "--set", "episodes.n_shot=5"])
    assert result.exit_code == 0, result.output
    assert "chrf" in result.output.lower()
    support, query, answers = tmp_path / "pairs.tsv", tmp_path / "text.txt", tmp_path / "answers.json"
    shown = pairs("zz", 10)
    support.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in shown))
    query.write_text(f"{shown[0].source}\n")
    words = ["predict", str(run), "--support", str(support), "--query", str(query), "--json", str(answers)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert shown[0].target in answers.read_text()  # a pair that says it already


def test_the_run_is_an_estimator_with_a_confidence(run: Path) -> None:
    shown = pairs("zz", 10)
    model = FewShotTranslator(str(run)).fit([p.source for p in shown], [p.target for p in shown])
    [answer] = model.translate([pairs("zz", 30)[20].source])
    assert 0 <= answer.confidence <= 1
