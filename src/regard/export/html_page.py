"""One HTML file that adapts and answers by itself: model, runtime and page, opened from disk without a network.

Its policy lets it load nothing and send nothing; scripts are named by their digests. What it holds is compressed, since
most of it is the runtime (3.7 MB) and the weights.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.episode import Items
from regard.errors import ConfigError
from regard.export.kept import NAMES, kept_models
from regard.export.onnx_file import Exported, Precision, describe, export_onnx
from regard.export.own_examples import (
    Encode,
    OwnTask,
    drawn_examples,
    photograph_examples,
    written_sentences,
    written_table,
)
from regard.export.runtime import Runtime, browser_runtime
from regard.export.sentence_body import require_bert, vocabulary
from regard.export.two_files import export_two_files
from regard.files import write_whole
from regard.learners.base import EncodingLearner, Learner, TokenAttendingLearner
from regard.nn.pretrained.photo_stages import PhotoStages
from regard.nn.pretrained.text import PretrainedText
from regard.recipes.trained import TrainedLearner


@dataclass(frozen=True)
class Kind:
    """How things of a domain are shown on a page.

    Args:
        title: of the page, where nobody gives one.
        body, scripts: files of the page.
        lead: what it says first.
        precision: that keeps answers and is small.
        begin: examples of a user to what the page begins with.
        hints: of the body, by name.
        written: whether examples are written, a line each, and not shown.
    """

    title: str
    body: str
    scripts: tuple[str, ...]
    lead: str
    precision: Precision
    begin: Callable[[OwnTask, Encode], dict[str, Any]]
    hints: tuple[tuple[str, str], ...] = ()
    written: bool = False


LETTERS = Kind(
    "Tell drawings apart",
    "examples.html",
    ("letters.js",),
    "Show it one drawing of each thing, and it tells new drawings apart. It was trained on other alphabets, and learns "
    "yours here, in this page.",
    "int8",
    drawn_examples,
    (
        ("asked", "Draw one more of them."),
        (
            "shown",
            "One drawing of each is enough. Draw, drop or paste a picture, or press a key to write its letter.",
        ),
    ),
)
TABLE = Kind(
    "Fill in a table",
    "tables.html",
    ("csv.js", "tables.js"),
    "Give it a table in which some answers are known, and it fills in the others in one pass. Nothing is fitted, and "
    "nothing leaves this page.",
    "float32",
    written_table,
)
NUMBERS = replace(
    TABLE,
    title="Fill in numbers",
    lead="Give it a table in which some numbers are known, and it predicts the others in one pass, each with the range "
    "in which it should lie. Nothing is fitted, and nothing leaves this page.",
)
SENTENCES = Kind(
    "Tell sentences apart",
    "examples.html",
    ("wordpiece.js", "sentences.js"),
    "Give it a few sentences of each kind, and it tells new ones apart. It was trained on other kinds, and learns "
    "yours here, in this page.",
    "float32",
    written_sentences,
    (
        ("asked", "Write a sentence."),
        ("shown", "A sentence a line. One of each class is enough, five are better."),
    ),
    written=True,
)
PHOTOGRAPHS = Kind(
    "Tell photographs apart",
    "examples.html",
    ("photos.js",),
    "Give it a few photographs of each thing, and it tells new ones apart. It was trained on other things, and learns "
    "yours here, in this page.",
    "float16",
    photograph_examples,
    (
        ("asked", "Drop, paste or choose one more photograph."),
        ("shown", "One photograph of each is enough, five are better."),
    ),
)


def export_html(
    source: str | Path | TrainedLearner,
    path: Path | str,
    *,
    regression: bool = False,
    precision: Precision | None = None,
    ort: Path | None = None,
    title: str | None = None,
    own: OwnTask | None = None,
) -> Exported:
    """Write the page.

    Args:
        source: the name of a model that ships, a checkpoint, or the folder of a run.
        path: of the page.
        regression: whether it answers numbers, where a name stands for two models; of tables.
        precision: of the weights; by default what suits the domain ("int8" for letters, with which the page is 7 MB).
        ort: folder with onnxruntime-web, see `regard.export.runtime`; fetched once by default.
        title: of the page.
        own: examples of a user, with which the page begins.

    Returns:
        As `export_onnx`, of the page.

    Raises:
        ExportError, ConfigError: a learner that no page was made for, or that cannot be exported; examples that the
            page cannot hold.
        DataError: the runtime cannot be had.
    """
    trained = source if isinstance(source, TrainedLearner) else TrainedLearner.shared(source, regression=regression)
    kind = page_kind(trained, regression=regression)
    facts = describe(trained, regression=regression)
    if own is not None:
        facts |= kind.begin(own.counted(), lambda x: _encoded(trained.learner, x))
    runtime = browser_runtime(ort)
    chosen = precision or kind.precision

    def make(folder: Path) -> Exported:
        file, rest = (folder / name for name in NAMES)
        if kind in (PHOTOGRAPHS, SENTENCES):
            return export_two_files(trained, file, rest, chosen)
        return export_onnx(trained, file, regression=regression, precision=chosen, tokens=True)

    made, models = kept_models(trained, {"precision": chosen, "regression": regression}, make)
    if kind is SENTENCES:
        facts["vocabulary"] = vocabulary(trained.learner)
    if kind is LETTERS:
        facts["grid"] = _grid(models[0])
    page = page_text(
        kind,
        title or (kind.title if own is None else "Your own examples"),
        type(trained.learner).__name__,
        facts,
        runtime,
        models,
    )
    write_whole(Path(path), page.encode())
    return Exported(Path(path), len(page.encode()), made.worst, made.inputs, made.outputs)


def page_kind(trained: TrainedLearner, *, regression: bool = False) -> Kind:
    """The page of a learner, for classes or for numbers.

    Raises:
        ConfigError: there is none for its domain.
    """
    reader = trained.items.get("reader", {})
    if trained.domain.has_columns:
        return NUMBERS if regression else TABLE
    if regression:
        raise ConfigError(
            f"{trained.name} answers numbers of {trained.domain.items}: pages for numbers are made of tables; of "
            "others try a file, model.onnx."
        )
    learner = trained.learner
    if isinstance(learner, EncodingLearner) and isinstance(learner.encoder, PhotoStages) and not learner.encoder.parts:
        return PHOTOGRAPHS
    if isinstance(learner, EncodingLearner) and isinstance(learner.encoder, PretrainedText):
        require_bert(learner.encoder)
        return SENTENCES
    draws = reader.get("n_channels") == 1 and reader.get("ink") == "auto" and reader.get("box") is not None
    if draws and isinstance(trained.learner, TokenAttendingLearner):
        return LETTERS
    raise ConfigError(
        f"{trained.name} is of {trained.domain.items}: expected one of drawn letters that attends to their "
        "parts, of photographs on PhotoStages, of sentences on a body, or of tables, for which there is a page; others "
        "become a file: `regard export "
        "LEARNER model.onnx`."
    )


def page_text(
    kind: Kind, title: str, learner: str, facts: Mapping[str, Any], runtime: Runtime, models: Sequence[bytes]
) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    folder = files("regard.export.page")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("model.js", *kind.scripts))
    library = runtime.script.decode().replace("</script", "<\\/script")
    digests = " ".join(f"'sha256-{_base64(hashlib.sha256(s.encode()).digest())}'" for s in (library, script))
    policy = (
        f"default-src 'none'; script-src {digests} blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src blob: data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    # Nothing here is escaped by the template: every value is ours but title and facts, which are escaped below.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)

    def rendered(name: str, **values: Any) -> str:
        return environment.from_string((folder / name).read_text(encoding="utf-8")).render(**values)

    return rendered(
        "page.html.j2",
        policy=policy,
        title=html.escape(title),
        lead=kind.lead,
        learner=html.escape(learner),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        body=rendered(kind.body, written=kind.written, **dict(kind.hints)),
        facts=json.dumps(facts).replace("<", "\\u003c"),
        wasm=_packed(runtime.wasm),
        glue=_packed(runtime.glue),
        models="\n".join(f'<script type="text/plain" class="model">{_packed(model)}</script>' for model in models),
        runtime=library,
        script=script,
    )


def _encoded(learner: Learner, items: Items) -> Tensor:
    assert isinstance(learner, EncodingLearner)
    with torch.no_grad():
        return learner.encode(items)


def _grid(model: bytes) -> int:
    """Side of the square of parts, from what the file says of where it looked, (queries, rows, parts)."""
    from regard.extras import import_extra

    onnx = import_extra("onnx", "export")
    looked = next(v for v in onnx.load_from_string(model).graph.output if v.name == "looked")
    return math.isqrt(looked.type.tensor_type.shape.dim[2].dim_value)


def _packed(content: bytes) -> str:
    return _base64(gzip.compress(content, 9, mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
