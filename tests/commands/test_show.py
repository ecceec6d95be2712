"""Tables in the terminal: each number where it belongs, ties as ties, nothing read as markup."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from regard.commands.doctor import show_findings, write_findings
from regard.commands.predict import Prediction, show_predictions, write_predictions
from regard.commands.show import show_results
from regard.evaluation import METRICS, Comparison, Interval, Result
from regard.evaluation.leaks import Finding
from regard.evaluation.targets import TARGET_METRICS


def told(show: Any, *arguments: Any) -> str:
    console = Console(file=StringIO(), width=160)
    show(*arguments, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def result(learner: str, first: float, **changes: Any) -> Result:
    names = METRICS if changes.get("n_way", 5) else TARGET_METRICS
    metrics = {
        m: Interval(first + i / 100, first + i / 100 - 0.02, first + i / 100 + 0.02) for i, m in enumerate(names)
    }
    fields: dict[str, Any] = {
        "data": "glyphs/test", "n_way": 5, "n_shot": 1, "n_query": 3, "episodes": 40, "seed": 0, "transductive": False,
        "seconds": 2.25,
    }  # fmt: skip
    return Result(learner=learner, metrics=metrics, **{**fields, **changes})


def compared(metric: str, low: float, high: float, **changes: Any) -> Comparison:
    fields: dict[str, Any] = {"a": "A", "b": "B", "data": "glyphs/test", "n_way": 5, "n_shot": 1, "metric": metric}
    return Comparison(difference=Interval((low + high) / 2, low, high), **{**fields, **changes})


def test_classes_are_shown_in_percent_with_half_widths() -> None:
    text = told(show_results, [result("A", 0.5, adaptation_seconds=0.0051), result("B", 0.6, transductive=True)], [])
    assert "5-way 1-shot, 40 episodes of glyphs/test" in text
    a, b = (next(line for line in text.splitlines() if line.startswith(name)) for name in "AB")
    assert "50.0 ±2.0" in a and "53.0 ±2.0" in a and a.rstrip().endswith("5.1 ms")
    assert "B (transductive)" in b and "60.0 ±2.0" in b and "2.2" in b and "ms" not in b
    assert "Percent, mean" in text


def test_long_adaptations_have_no_decimals() -> None:
    assert "12 ms" in told(show_results, [result("A", 0.5, adaptation_seconds=0.0124)], [])
    assert "10 ms" in told(show_results, [result("A", 0.5, adaptation_seconds=0.01)], [])


def test_numbers_are_shown_as_they_are() -> None:
    text = told(
        show_results,
        [result("A", 0.5, n_way=0), result("B", 0.4, n_way=0)],
        [compared("mse", 0.05, 0.15, n_way=0), compared("mae", 0.01, 0.02, n_way=0)],
    )
    assert "1-shot, 40 episodes" in text and "way" not in text
    assert "A - B: +0.1 ±0.05, B is better" in text and text.count("A - B") == 1
    assert "Mean ±" in text and "Percent" not in text


def test_differences_stand_under_their_setting_and_ties_are_ties() -> None:
    results = [result("A", 0.5), result("B", 0.4), result("A", 0.7, n_shot=5), result("B", 0.7, n_shot=5)]
    comparisons = [
        compared("accuracy", 0.05, 0.15), compared("nll", 0.05, 0.15), compared("accuracy", -0.02, 0.04, n_shot=5),
    ]  # fmt: skip
    text = told(show_results, results, comparisons)
    lines = [line.strip() for line in text.splitlines() if "A - B" in line]
    assert lines == ["A - B: +10.0 ±5.0 points, A is better", "A - B: +1.0 ±3.0 points, a tie"]
    assert text.index("1-shot") < text.index("+10.0") < text.index("5-shot") < text.index("+1.0 ")


PREDICTIONS = [
    Prediction("[red].png", "cat", 0.9, "cat/1.png", 0.756),
    Prediction("b.png", "dog", 0.4, answered=False),
    Prediction("c.png", "dog", 0.5, "dog/1.png", 0.5, answered=False, blank=True),
]


def test_predictions_say_what_was_attended_to_and_what_may_be_none() -> None:
    lines = [line.strip() for line in told(show_predictions, PREDICTIONS).splitlines()]
    first, second, third = (next(line for line in lines if line.startswith(n)) for n in ("[red]", "b.png", "c.png"))
    assert first.split() == ["[red].png", "cat", "0.90", "cat/1.png", "(76%)"]
    assert "none of these? (dog)" in second and "0.40" in second
    assert third.split() == ["c.png", "none", "(blank)"]


def test_a_long_query_is_shortened_and_without_attention_there_is_no_column_for_it() -> None:
    text = told(show_predictions, [Prediction("where is my card " * 3000, "card", 0.9)])
    assert text.count("where") < 20 and "..." in text and "attended" not in text


def test_predictions_as_json(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.json", PREDICTIONS)
    assert [Prediction(**entry) for entry in json.loads((tmp_path / "p.json").read_text())] == PREDICTIONS


def test_findings_are_marked_by_their_verdict(tmp_path: Path) -> None:
    verdicts = ("passed", "failed", "does not apply")
    findings = [Finding(f"check {i}", v, f"proof {i}") for i, v in enumerate(verdicts)]  # type: ignore[arg-type]
    lines = [line.split(None, 2) for line in told(show_findings, findings).splitlines()[1:] if line.strip()]
    assert [line[2].split()[0] for line in lines] == ["passed", "FAILED", "-"]
    write_findings(tmp_path / "f.json", findings)
    content = json.loads((tmp_path / "f.json").read_text())["findings"]
    assert [Finding(**entry) for entry in content] == findings
