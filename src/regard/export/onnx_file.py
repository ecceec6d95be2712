"""A learner to an ONNX file: written, compared with PyTorch on tasks of five sizes, and only then put in its place.

Rows, queries, classes and, of texts and tables, tokens and columns may be of any number in the file.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from regard.domains.base import Domain
from regard.episode import Items, map_items
from regard.errors import ConfigError, ExportError, RegardError, did_you_mean
from regard.export.graph import CHECKED, Sizes, TaskFunction, TaskInputs, TaskMaker
from regard.export.quiet import quiet
from regard.extras import import_extra
from regard.files import write_whole
from regard.learners.base import Learner
from regard.learners.inner.loop import GradientLearner
from regard.learners.table_transformer import TableTransformer
from regard.nn.encoder import Encoder
from regard.recipes.trained import TrainedLearner

Precision = Literal["float32", "float16", "int8"]
TOLERANCE = 1e-5
"""Largest difference from PyTorch, in float32, that is rounding."""

REDUCED_TOLERANCE = 0.05
"""Mean difference of answers from PyTorch's over the five tasks, in fewer digits than float32."""

MakeItems = Callable[[int, int], Items]
"""n and a seed to n items as the learner takes them."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: of the file.
        n_bytes: of it.
        worst: largest difference of an answer from PyTorch's, relative to 1 + its size, over five tasks.
        inputs, outputs: names.
    """

    path: Path
    n_bytes: int
    worst: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_onnx(
    source: Learner | str | Path | TrainedLearner,
    path: Path | str,
    *,
    regression: bool | None = None,
    precision: Precision = "float32",
    tokens: bool = False,
    items: MakeItems | None = None,
    most_classes: int | None = None,
) -> Exported:
    """Write a learner as a function of (support items, support_y, weight, query items, classes), see `graph`.

    Args:
        source: the name of a model that ships, a checkpoint, the folder of a run, or a learner in hand.
        path: of the file; nothing is left there unless it answers as PyTorch does.
        regression: what it is for, where a name stands for two models.
        precision: "float16" halves the file, "int8" makes convolutions and products of weights a quarter of it; both
            change answers a little, which `worst` says.
        tokens: also write where each query looked on each row, and what each part of it says by itself.
        items: n and a seed to n items, for a learner whose domain generates none, such as one of arrays.
        most_classes: that the learner tells apart, where its head limits them.

    Raises:
        ExportError: it cannot be done, with the reason; no file is left.
        ConfigError: no such learner or precision.
        MissingExtraError: the extra `export` is not installed.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}: {did_you_mean(str(precision), get_args(Precision))}")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(package, "export")
    trained = source if isinstance(source, TrainedLearner) else TrainedLearner.shared(source, regression=regression)
    learner = copy.deepcopy(trained.learner).float().eval().requires_grad_(False)
    name = type(learner).__name__
    if isinstance(learner, GradientLearner):
        raise ExportError(
            f"{name} adapts by gradient descent, which no ONNX file can do: fit it to your examples and export what it "
            "became, by FewShotClassifier(...).fit(X, y).export(path)."
        )
    if learner.transductive:
        raise ExportError(f"{name} is transductive (the answer to a query depends on the others): use norm='group'.")
    for part in learner.modules():
        if isinstance(part, Encoder):
            part.fix_for_file()
    regresses = (not learner.classifies) if regression is None else regression
    if isinstance(learner, TableTransformer):
        most_classes = learner.n_codes  # more are told apart in several passes, and a file has one
    make = TaskMaker(items or generated_items(trained), 1 if regresses else 0, most_classes)
    function = TaskFunction(learner, trained.confidence, tokens=tokens, regression=regresses).eval()
    task = make(Sizes(9, 3, 4), 1)
    facts = describe(trained, regression=regresses)
    return write_checked(
        function, task, lambda i: make(CHECKED[i], i), Path(path), name, facts, trained.domain, precision
    )


def write_checked(
    function: torch.nn.Module,
    task: Any,
    check: Callable[[int], Any],
    path: Path,
    name: str,
    facts: dict[str, Any],
    domain: Domain,
    precision: Precision = "float32",
) -> Exported:
    """Translate, compare, and put in place.

    Args:
        function: with a list `outputs` of names.
        task: example of its inputs, a `TaskInputs` or something like it.
        check: number below five to a task that is compared.
        path: of the file.
        name: of the learner, for messages.
        facts: JSON that is kept in the file, under "regard".
        domain: of the items.
        precision: of the weights.

    Raises:
        ExportError: as `export_onnx`.
    """
    runtime = import_extra("onnxruntime", "export")
    outputs: list[str] = function.outputs  # pyright: ignore[reportAssignmentType]
    model = translate(function, task, outputs, name, dynamic_shapes(task, check(0), domain))
    if precision != "float32":
        from regard.export.precision import reduced

        model = reduced(model, precision, [task_feed(check(i)) for i in range(3)])
    entry = model.metadata_props.add()
    entry.key, entry.value = "regard", json.dumps({**facts, "precision": precision})
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    content = model.SerializeToString()
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        gaps = [_differences(session, function, check(i)) for i in range(len(CHECKED))]
    except Exception as error:
        raise ExportError(f"{name} cannot be exported: onnxruntime does not run it ({_short(error)}).") from error
    if precision == "float32":
        worst = max(float(gap.max(initial=0)) for task in gaps for gap in task)
        limit = TOLERANCE
    else:  # single answers may move, of the queries between two classes; on average they may not
        worst = max(float(task[0].max(initial=0)) for task in gaps)
        mean = float(np.concatenate([task[0].ravel() for task in gaps]).mean())
        limit = worst if mean <= REDUCED_TOLERANCE else 0.0
    if not worst <= limit:
        raise ExportError(f"{name} is not exported: the file's answers differ from PyTorch's by up to {worst:.1e}.")
    write_whole(path, content)
    names = tuple(value.name for value in session.get_inputs())
    return Exported(path, len(content), worst, names, tuple(outputs))


def translate(function: torch.nn.Module, task: Any, outputs: list[str], name: str, shapes: tuple[Any, ...]) -> Any:
    """An ONNX model of a function of one task, as `onnx.ModelProto`; `shapes` as `dynamic_shapes` gives them.

    Raises:
        ExportError: with the reason.
    """
    arguments = task.arguments()
    if isinstance(arguments[-1], dict):  # which PyTorch would take for arguments by name
        arguments = (*arguments, {})
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                function,
                arguments,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=task.names(),
                output_names=outputs,
                verbose=False,
            )
    except RegardError:
        raise
    except Exception as error:
        raise ExportError(f"{name} cannot be exported: {_reason(error)}.") from error
    assert program is not None
    model = program.model_proto
    fixed = [value.name for value in model.graph.input if not value.type.tensor_type.shape.dim[0].dim_param]
    if fixed:
        raise ExportError(
            f"{name} cannot be exported: it reads rows one after another, so its steps are as many as the rows of "
            f"{fixed[0]} that it was recorded with."
        )
    return model


def dynamic_shapes(task: Any, other: Any, domain: Domain) -> tuple[Any, ...]:
    """What may be of another size, in the form of `task.arguments()`.

    Args:
        task: the task that is recorded.
        other: a second one: what is of another length there may be of any.
        domain: of the items.
    """
    dim = torch.export.Dim
    pairs = zip(task.named().values(), other.named().values(), strict=True)
    lengths_vary = domain.lengths_vary or any(a.shape[1:2] != b.shape[1:2] for a, b in pairs)

    def of(x: Items, rows: Any, length: Any) -> Any:
        axes = {0: rows, 1: length} if lengths_vary else {0: rows}
        return dict.fromkeys(x, axes) if isinstance(x, dict) else axes

    rows, queries = dim("rows"), dim("queries")
    length = dim("columns" if domain.has_columns else "support_length")
    query_length = length if domain.has_columns else dim("query_length")
    if not isinstance(task, TaskInputs):  # queries alone, whose columns are those of the examples
        axes = {0: queries} if domain.has_columns or not lengths_vary else {0: queries, 1: query_length}
        (query,) = task.arguments()
        return (dict.fromkeys(query, axes) if isinstance(query, dict) else axes,)
    support, _, _, query, *_ = task.arguments()
    shapes = (of(support, rows, length), {0: rows}, {0: rows}, of(query, queries, query_length))
    return shapes if task.classes is None else (*shapes, {0: dim("classes")})


def generated_items(trained: TrainedLearner) -> MakeItems:
    """Items to try a learner on.

    Raises:
        ExportError: its domain generates none.
    """
    domain, reader = trained.domain, trained.reader()
    if domain.synthetic_things(1, 0) is None:
        raise ExportError(
            f"{trained.name} takes {domain.items}, of which none can be generated to try the file on: use "
            "regard.export.export_onnx in Python with items=."
        )

    def items(n: int, seed: int) -> Items:
        things = domain.synthetic_things(n, seed)
        assert things is not None
        x = reader.fit(things)(things)
        return map_items(lambda t: t.float() if t.is_floating_point() else t, x)

    return items


def describe(trained: TrainedLearner, *, regression: bool) -> dict[str, Any]:
    """What the file keeps of where it came from, as JSON."""
    return {
        "regard": version("regard"),
        "learner": type(trained.learner).__name__,
        "model": trained.name if trained.path is None else trained.path.stem,
        "domain": trained.domain.name,
        "reader": trained.items.get("reader", {}),
        "task": "regression" if regression else "classification",
        "confidence": trained.confidence.to_dict(),
    }


def task_feed(task: Any) -> dict[str, NDArray[Any]]:
    """Inputs as onnxruntime takes them."""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in task.named().items()}


def _differences(session: Any, function: torch.nn.Module, task: Any) -> list[NDArray[Any]]:
    """Of each output, relative to 1 + its size; infinite where the file gives no number."""
    with torch.no_grad():
        expected = [np.asarray(t) for t in function(*task.arguments())]
    wanted = {value.name for value in session.get_inputs()}
    results = session.run(None, {k: v for k, v in task_feed(task).items() if k in wanted})
    gaps = []
    for ours, right in zip(results, expected, strict=True):
        there = np.isfinite(right)  # a logit of a class that is not there is minus infinity
        gap = np.abs(ours - np.where(there, right, 0)) / (1 + np.abs(np.where(there, right, 0)))
        gaps.append(np.where(there, np.where(np.isfinite(gap), gap, np.inf), 0))
    return gaps


def _reason(error: BaseException) -> str:
    """In a few words."""
    text = f"{error} {error.__cause__ or ''}"
    missing = re.search(r"No ONNX function found for <OpOverload\(op='aten\.(\w+)", text)
    if missing:
        return f"ONNX has no counterpart of torch's {missing[1].lstrip('_')}"
    if "data-dependent" in text:
        return "it reads a value in Python to decide what to do next, which a file cannot"
    violated = re.search(r"Constraints violated \(([\w, ]+)\)", text)
    if violated:
        return f"its steps are fixed by the number of {violated[1]}, and a file has to take any"
    return _short(error)


def _short(error: BaseException) -> str:
    return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:160]
