"""Why a user's own files were answered as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.commands.numbers import as_numbers
from regard.domains.base import Domain, LabelledFiles, PartSaliency
from regard.errors import ConfigError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.explain import Counterfactual, Explanation
from regard.numbers import readable
from regard.recipes.trained import TrainedLearner
from regard.report.explanations import ExampleEffect, ExplainedAnswer, write_explanations

Map = NDArray[np.floating]

_SHOWN = 5
"""Examples per answer."""


@dataclass(frozen=True)
class Explained:
    """Answers, and why.

    Args:
        model: adapted to the examples.
        trust: how far to believe the explanations, in one sentence.
        believed: whether that is above chance; None where it cannot be said.
        answers: one per query.
    """

    model: FewShotClassifier | FewShotRegressor
    trust: str
    believed: bool | None
    answers: list[ExplainedAnswer]


def explain_files(
    learner: Path | str,
    support: Path | str,
    query: Path | str,
    page: Path,
    most: int = 50,
    *,
    regression: bool = False,
) -> str:
    """Adapt to `support`, answer `query`, and write a page that explains each answer.

    Args:
        learner: the name of a model that ships, a checkpoint, or the folder of a run.
        support, query: as `regard predict` reads them.
        page: where to.
        most: queries explained; each costs about as many predictions as there are examples.
        regression: whether labels are numbers, to be predicted as such.

    Returns:
        How far to believe the page, in one sentence.

    Raises:
        DataError: files that are missing or damaged.
        ConfigError: no such model, one whose items are not files, or a transductive one.
    """
    domain = TrainedLearner.shared(learner, regression=regression).domain
    read = domain.read_files(Path(support), Path(query))
    if not read.queries:
        raise ConfigError(f"{query} holds nothing to explain: expected at least one query.")
    found = explain_examples(learner, read, most, regression=regression)
    write_explanations(page, str(learner), found.trust, found.believed, found.answers)
    return found.trust


def explain_examples(
    learner: Path | str, read: LabelledFiles, most: int = 50, *, regression: bool = False
) -> Explained:
    """Adapt to labelled examples and explain the answers to the first `most` queries; errors as `explain_files`."""
    domain = TrainedLearner.shared(learner, regression=regression).domain
    asked = replace(read, queries=list(read.queries)[:most], query_names=list(read.query_names)[:most])
    if regression:
        return _explain_numbers(learner, domain, replace(asked, labels=as_numbers(asked)))
    model = FewShotClassifier(learner).fit(asked.support, asked.labels)
    found, predictions = model.explain(asked.queries), model.predict_all(asked.queries)
    classes = [domain.class_title(str(name)) for name in model.classes_]
    looked = [_maps(model, query) for query in asked.queries]
    # What says itself where it looked need not be asked by deletion.
    parts = domain.part_saliency(model, asked) if all(on_query is None for on_query, _ in looked) else None
    answers = []
    for row, query in enumerate(asked.queries):
        on_query, on_examples = looked[row] if parts is None else (parts[row].strength, None)
        ranked = np.argsort(-predictions.probability[row], kind="stable")
        answers.append(
            ExplainedAnswer(
                name=asked.query_names[row],
                item=domain.render_from(asked, query, on_query),
                answer=classes[int(found.predicted[row])],
                probability=float(predictions.probability[row, found.predicted[row]]),
                probabilities=[(classes[c], float(predictions.probability[row, c])) for c in ranked.tolist()],
                answered=bool(predictions.answered[row]),
                effects=_effects(domain, asked, found, row, on_examples, parts),
                turns=_sentences(asked, found, row, classes) + ([] if parts is None else [parts[row].sentence]),
            )
        )
    return Explained(model, found.trust_sentence, found.believed, answers)


def _explain_numbers(learner: Path | str, domain: Domain, read: LabelledFiles) -> Explained:
    """As `explain_examples`, of numbers: there is no class to turn to, so the largest change is said."""
    model = FewShotRegressor(learner).fit(read.support, read.labels)
    found = model.explain(read.queries)
    value, deviation = model.predictions_of(model._pass(read.queries))
    parts = domain.part_saliency(model, read)
    answers = []
    for row, query in enumerate(read.queries):
        spread = "" if np.isnan(deviation[row]) else f" ± {readable(deviation[row], 2)}"
        turns = [] if parts is None else [parts[row].sentence]
        top = int(np.abs(found.drop[row]).argmax())
        without = found.probability[row] - found.drop[row, top]
        turns.insert(0, f"Without {read.support_names[top]}, the answer would be {readable(without)}.")
        answers.append(
            ExplainedAnswer(
                name=read.query_names[row],
                item=domain.render_from(read, query, None if parts is None else parts[row].strength),
                answer=f"{readable(value[row])}{spread}",
                probability=None,
                effects=_effects(domain, read, found, row, None, parts),
                turns=turns,
                number=float(value[row]),
                deviation=None if np.isnan(deviation[row]) else float(deviation[row]),
            )
        )
    return Explained(model, found.trust_sentence, found.believed, answers)


def _maps(model: FewShotClassifier, query: object) -> tuple[Map | None, Map | None]:
    """Where the learner looked, in 0..1: on the query (H, W) and the examples (S, H, W); None where it cannot say."""
    found = model.saliency([query])
    if found is None:
        return None, None
    argued, attended = np.clip(found.query[0, 0], 0, None), found.support[0, 0]
    return argued / max(float(argued.max()), 1e-12), attended / max(float(attended.max()), 1e-12)


def _effects(
    domain: Domain,
    read: LabelledFiles,
    found: Explanation,
    row: int,
    maps: Map | None,
    parts: Sequence[PartSaliency] | None,
) -> list[ExampleEffect]:
    drop = found.drop[row]
    order = [int(s) for s in np.argsort(-np.abs(drop), kind="stable")[:_SHOWN]]
    largest = max(float(np.abs(drop).max(initial=0)), 1e-12)
    # Examples have the columns of the query, and are read by those that mattered for it.
    columns = parts[row].strength if parts is not None and domain.has_columns else None
    return [
        ExampleEffect(
            name=read.support_names[s],
            label=_named(domain, read.labels[s]),
            item=domain.render_from(read, read.support[s], columns if maps is None else maps[s]),
            drop=float(drop[s]),
            share=abs(float(drop[s])) / largest,
        )
        for s in order
    ]


def _named(domain: Domain, label: object) -> str:
    return f"{label:.6g}" if isinstance(label, float) else domain.class_title(str(label))


def _sentences(read: LabelledFiles, found: Explanation, row: int, classes: list[str]) -> list[str]:
    def sentence(turn: Counterfactual) -> str:
        example = read.support_names[turn.example]
        change = f"Without {example}" if turn.label is None else f"If {example} were labelled {classes[turn.label]!r}"
        return f"{change}, the answer would be {classes[turn.answer]!r} ({100 * turn.probability:.0f}%)."

    return [sentence(turn) for turn in (found.removed[row], found.relabelled[row]) if turn is not None]
