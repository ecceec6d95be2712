"""One model and what the page asks of it. Nothing is kept between two questions: each brings its examples along."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regard.commands.explain import explain_examples
from regard.commands.numbers import as_numbers
from regard.domains.base import LabelledFiles
from regard.errors import DataError, RegardError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.estimators.files import save_estimator
from regard.limits import ENCODED_BYTES
from regard.recipes.trained import TrainedLearner
from regard.report.explanations import ExplainedAnswer, render_explanations

Mode = Literal["draw", "drop", "text", "path"]
MOST_EXAMPLES = 500
MOST_QUERIES = 20
"""Each is explained, at the cost of about as many predictions as there are examples."""


@dataclass(frozen=True)
class Desk:
    """A model and the form of its examples.

    Args:
        title: of its tab.
        learner: the name of a model that ships, a checkpoint, or the folder of a run.
        mode: whether examples are drawn or dropped as pictures, or pasted as text.
        about: a sentence or two above the board.
        support, query: what stands in the boxes at first, of text.
        suffixes: of the files that the boxes' text would stand in.
        regression: whether labels are numbers, and so are the answers.
        offline: whether an offline page is made of its examples.
    """

    title: str
    learner: str
    mode: Mode
    about: str
    support: str = ""
    query: str = ""
    suffixes: tuple[str, str] = (".csv", ".csv")
    regression: bool = False
    offline: bool = False

    def answer(self, question: str) -> dict[str, Any]:
        """The page of answers, and the answers as data; or what is wrong with the question, for people.

        Args:
            question: JSON; of pictures `{"classes": [{"name": .., "images": [..]}, ..], "queries": [..]}` in base64,
                of text `{"support": .., "queries": ..}`.
        """
        try:
            found = explain_examples(self.learner, self._read(question), MOST_QUERIES, regression=self.regression)
        except RegardError as error:
            return {"error": str(error)}
        html = render_explanations(self.learner, found.trust, found.believed, found.answers, embedded=True)
        return {"html": html, "answers": [_as_data(answer) for answer in found.answers]}

    def save(self, question: str) -> dict[str, Any]:
        """The fitted estimator as a file, in base64; `regard.load_estimator` reads it."""
        return self._file(
            question,
            f"{'regressor' if self.regression else 'classifier'}.safetensors",
            lambda model, path, _: save_estimator(model, path),
        )

    def take(self, question: str) -> dict[str, Any]:
        """One page with these examples in it that answers in any browser, in base64; it needs the extra `export`."""

        def write(model: Any, path: Path, read: LabelledFiles) -> None:
            model.export(path, queries=read.queries, columns=read.columns)

        return self._file(question, "offline.html", write)

    def _file(self, question: str, name: str, write: Callable[[Any, Path, LabelledFiles], object]) -> dict[str, Any]:
        try:
            read = self._read(question)
            if self.regression:
                model: FewShotClassifier | FewShotRegressor = FewShotRegressor(self.learner).fit(
                    read.support, as_numbers(read)
                )
            else:
                model = FewShotClassifier(self.learner).fit(read.support, read.labels)
            model.predict(read.queries[:1])  # a file is handed out of what answers
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                write(model, path, read)
                return {"name": name, "content": base64.b64encode(path.read_bytes()).decode()}
        except RegardError as error:
            return {"error": str(error)}

    def _read(self, question: str) -> LabelledFiles:
        if len(question) > ENCODED_BYTES:
            raise DataError(
                f"the examples take {len(question) / 2**20:.0f} MiB: at most {ENCODED_BYTES / 2**20:.0f} MiB go to the "
                "server at once; give fewer or smaller pictures."
            )
        try:
            asked = json.loads(question)
        except (ValueError, RecursionError) as error:
            raise DataError("the question is no JSON: reload the page.") from error
        if not isinstance(asked, dict):
            raise DataError("the question is not an object: reload the page.")
        read = self._pasted(asked) if self.mode == "text" else self._pictures(asked)
        if len(read.support) > MOST_EXAMPLES:
            raise DataError(f"there are {len(read.support)} examples: the page takes {MOST_EXAMPLES}; use Python.")
        if not self.regression and len(set(read.labels)) < 2:
            raise DataError("fewer than two classes have examples: give one example each of two classes or more.")
        if not len(read.queries):
            raise DataError("there is nothing to answer: give one query.")
        return read

    def _pictures(self, asked: dict[str, Any]) -> LabelledFiles:
        domain = TrainedLearner.shared(self.learner, regression=self.regression).domain
        classes = asked.get("classes")
        if not isinstance(classes, list):
            raise DataError("the question has no classes: reload the page.")
        images: list[Any] = []
        labels: list[str] = []
        names: list[str] = []
        for number, one in enumerate(classes, 1):
            given = one.get("images") if isinstance(one, dict) else None
            if not isinstance(given, list):
                raise DataError(f"class {number} has no list of pictures: reload the page.")
            label = str(one.get("name") or "").strip() or f"class {number}"
            for i in range(1, len(given) + 1):
                labels.append(label)
                names.append(f"{label}, example {i}")
            images += given
        queries = asked.get("queries")
        if not isinstance(queries, list):
            raise DataError("the question has no queries: reload the page.")
        decoded = domain.from_json([*images, *queries])
        return LabelledFiles(
            decoded[: len(images)],
            labels,
            names,
            decoded[len(images) :],
            [f"query {i + 1}" for i in range(len(queries))],
        )

    def _pasted(self, asked: dict[str, Any]) -> LabelledFiles:
        domain = TrainedLearner.shared(self.learner, regression=self.regression).domain
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{name}{suffix}" for name, suffix in zip(_BOXES, self.suffixes, strict=True)]
            for path, box in zip(paths, ("support", "queries"), strict=True):
                path.write_text(str(asked.get(box) or ""), encoding="utf-8")
            try:
                return domain.read_files(*paths)
            except DataError as error:
                raise DataError(_without(str(error), paths)) from error


def _as_data(answer: ExplainedAnswer) -> dict[str, Any]:
    """What is downloaded of one answer."""
    examples = {effect.name: effect.drop for effect in answer.effects}
    if answer.number is not None:
        return {"query": answer.name, "value": answer.number, "deviation": answer.deviation, "examples": examples}
    return {
        "query": answer.name,
        "label": answer.answer,
        "answered": answer.answered,
        "probabilities": dict(answer.probabilities),
        "examples": examples,
    }


_BOXES = ("the examples", "the queries")


def _without(message: str, paths: Sequence[Path]) -> str:
    """A message that names boxes of the page, and not files that nobody made."""
    for path, name in zip(paths, _BOXES, strict=True):
        message = message.replace(str(path), name)
    return message
