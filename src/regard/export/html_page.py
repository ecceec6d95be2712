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
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from regard.errors import ConfigError
from regard.export.onnx_file import Exported, Precision, describe, export_onnx
from regard.export.runtime import browser_runtime
from regard.files import write_whole
from regard.learners.base import TokenAttendingLearner
from regard.nn.pretrained.photo_stages import PhotoStages
from regard.recipes.trained import TrainedLearner


@dataclass(frozen=True)
class Kind:
    """How things of a domain are shown on a page.

    Args:
        title: of the page, where nobody gives one.
        body, script: files of the page.
        lead: what it says first.
        precision: that keeps answers and is small.
        hints: of the body, by name.
    """

    title: str
    body: str
    script: str
    lead: str
    precision: Precision
    hints: tuple[tuple[str, str], ...] = ()


LETTERS = Kind(
    "Tell drawings apart",
    "examples.html",
    "letters.js",
    "Show it one drawing of each thing, and it tells new drawings apart. It was trained on other alphabets, and learns "
    "yours here, in this page.",
    "int8",
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
    "tables.js",
    "Give it a table in which some answers are known, and it fills in the others in one pass. Nothing is fitted, and "
    "nothing leaves this page.",
    "float32",
)
PHOTOGRAPHS = Kind(
    "Tell photographs apart",
    "examples.html",
    "photos.js",
    "Give it a few photographs of each thing, and it tells new ones apart. It was trained on other things, and learns "
    "yours here, in this page.",
    "float16",
    (
        ("asked", "Drop, paste or choose one more photograph."),
        ("shown", "One photograph of each is enough, five are better."),
    ),
)


def export_html(
    source: str | Path | TrainedLearner,
    path: Path | str,
    *,
    precision: Precision | None = None,
    ort: Path | None = None,
    title: str | None = None,
    examples: Mapping[str, Sequence[Any]] | None = None,
) -> Exported:
    """Write the page.

    Args:
        source: the name of a model that ships, a checkpoint, or the folder of a run.
        path: of the page.
        precision: of the weights; by default what suits the domain ("int8" for letters, with which the page is 7 MB).
        ort: folder with onnxruntime-web, see `regard.export.runtime`; fetched once by default.
        title: of the page.
        examples: class to items that the page begins with, as its reader makes them; letters only.

    Returns:
        As `export_onnx`, of the page.

    Raises:
        ExportError, ConfigError: a learner that no page was made for, or that cannot be exported.
        DataError: the runtime cannot be had.
    """
    trained = source if isinstance(source, TrainedLearner) else TrainedLearner.shared(source, regression=False)
    kind = page_kind(trained)
    runtime = browser_runtime(ort)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        made = export_onnx(trained, file, regression=False, precision=precision or kind.precision, tokens=True)
        model = file.read_bytes()
    facts = {
        **describe(trained, regression=False),
        "examples": [
            {"name": str(name), "pixels": [[int(v) for v in item.flatten()] for item in items]}
            for name, items in (examples or {}).items()
        ],
    }
    if kind is LETTERS:
        facts["grid"] = _grid(model)
    page = page_text(kind, title or kind.title, type(trained.learner).__name__, facts, runtime, model)
    write_whole(Path(path), page.encode())
    return Exported(Path(path), len(page.encode()), made.worst, made.inputs, made.outputs)


def page_kind(trained: TrainedLearner) -> Kind:
    """The page of a learner.

    Raises:
        ConfigError: there is none for its domain.
    """
    reader = trained.items.get("reader", {})
    if trained.domain.has_columns:
        return TABLE
    if isinstance(getattr(trained.learner, "encoder", None), PhotoStages):
        return PHOTOGRAPHS
    draws = reader.get("n_channels") == 1 and reader.get("ink") == "auto" and reader.get("box") is not None
    if draws and isinstance(trained.learner, TokenAttendingLearner):
        return LETTERS
    raise ConfigError(
        f"{trained.name} is of {trained.domain.items}: expected one of drawn letters that attends to their parts, of "
        "photographs on PhotoStages, or of tables, for which there is a page; others become a file: `regard export "
        "LEARNER model.onnx`."
    )


def page_text(kind: Kind, title: str, learner: str, facts: Mapping[str, Any], runtime: Any, model: bytes) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    folder = files("regard.export.page")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("model.js", kind.script))
    library = runtime.script.decode().replace("</script", "<\\/script")
    digests = " ".join(f"'sha256-{_base64(hashlib.sha256(s.encode()).digest())}'" for s in (library, script))
    policy = (
        f"default-src 'none'; script-src {digests} blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src blob: data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    # Nothing here is escaped by the template: every value is ours but title and facts, which are escaped below.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)

    def rendered(name: str, **values: str) -> str:
        return environment.from_string((folder / name).read_text(encoding="utf-8")).render(**values)

    return rendered(
        "page.html.j2",
        policy=policy,
        title=html.escape(title),
        lead=kind.lead,
        learner=html.escape(learner),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        body=rendered(kind.body, **dict(kind.hints)),
        facts=json.dumps(facts).replace("<", "\\u003c"),
        wasm=_packed(runtime.wasm),
        glue=_packed(runtime.glue),
        model=_packed(model),
        runtime=library,
        script=script,
    )


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
