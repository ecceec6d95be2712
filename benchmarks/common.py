"""What the benchmarks share: arguments, timing, results with their provenance, and the pages rendered from them.

A script lists its sections. A section is rendered from one file of raw results into every page that holds its markers,
after a run that wrote that file, or by `--render`:

    <!-- section: NAME -->            on one page of docs/results
    <!-- end of section -->
    <!-- table: NAME -->              on any page, the README too
    <!-- end of table -->
    <!-- figure: NAME -->1.0%<!-- end of figure -->      within a line, as often as one likes
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from regard.episode import Support
from regard.evaluation import Comparison, Interval, Result
from regard.evaluation.provenance import machine, versions
from regard.evaluation.results_json import from_json
from regard.files import write_whole
from regard.learners import LinearProbe
from regard.learners.base import EncodingLearner
from regard.nn.encoder import Encoder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
Document = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)


# ---- arguments -------------------------------------------------------------------------------------------------------

_PLACEHOLDERS = {"--data": "FOLDER", "--test": "TEST", "--trained": "RUN", "--lora": "RUN"}
_LEFT_OUT = ("--out", "--runs", "--run", "--cache", "--picture")


def argument_parser(
    doc: str | None,
    sections: Sequence[Section],
    out: str,
    *,
    data: str | None = None,
    test: str | None = None,
    data_required: bool = True,
    seed: int | None = None,
    only: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """The arguments that benchmarks share; `--render` renders the sections and ends.

    Args:
        doc: of the script.
        sections: of the script.
        out: default name of the file of raw results.
        data: what the folder `--data` holds; None where nothing is read.
        test: what `--test` is, files of the same format that the script has never seen; None where there is no test set.
        data_required: whether nothing can be done without `--data`.
        seed: default of `--seed`; None where nothing is random.
        only: choices of `--only`; none where there is nothing to choose.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action=_Render, sections=sections, help="write the pages from the raw results; end")
    if data:
        parser.add_argument("--data", type=Path, metavar="FOLDER", required=data_required, help=data)
    if test:
        parser.add_argument("--test", type=Path, metavar="PATH", help=f"evaluate on this instead: {test}")
    if seed is not None:
        parser.add_argument("--seed", type=int, default=seed, help=f"seed of the evaluation (default {seed})")
    if only:
        parser.add_argument("--only", nargs="+", choices=tuple(only), metavar="NAME", help=f"of {', '.join(only)}")
    parser.add_argument("--out", type=Path, default=RESULTS / out, help=f"file of raw results (default {out})")
    return parser


class _Render(argparse.Action):
    """Ends the program as `--help` does, before anything else is required."""

    def __init__(self, *, sections: Sequence[Section], **options: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)
        self.sections = sections

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for path in render(self.sections):
            print(f"wrote {path.relative_to(ROOT)}")
        parser.exit()


def command_line(argv: Sequence[str] | None = None) -> str:
    """The command as anybody can type it: folders of this machine replaced by what they are, and outputs left out."""
    import shlex

    script, *rest = argv or sys.argv
    words = ["python", f"benchmarks/{Path(script).name}"]
    option = ""
    for word in rest:
        if word.startswith("--"):
            option, _, value = word.partition("=")
            words += [] if option in _LEFT_OUT else [option]
            words += [_PLACEHOLDERS.get(option, value)] if value and option not in _LEFT_OUT else []
            if option in _PLACEHOLDERS and not value:
                words.append(_PLACEHOLDERS[option])
        elif option not in (*_PLACEHOLDERS, *_LEFT_OUT):
            words.append(word)
    return shlex.join(words)


# ---- timing ----------------------------------------------------------------------------------------------------------


def interleaved(
    steps: Mapping[Key, Callable[[], object]],
    rounds: int,
    *,
    warm_up: int = 1,
    repeats: Mapping[Key, int] | None = None,
) -> dict[Key, list[float]]:
    """Seconds per call of every contender, round by round: a busy moment of the machine hits all alike.

    Args:
        steps: what is timed.
        rounds: how often each is timed.
        warm_up: calls of each before the clock starts.
        repeats: calls per round of those that are short (default 1).
    """
    for step in steps.values():
        for _ in range(warm_up):
            step()
    seconds: dict[Key, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            n_calls = (repeats or {}).get(name, 1)
            began = time.perf_counter()
            for _ in range(n_calls):
                step()
            seconds[name].append((time.perf_counter() - began) / n_calls)
    return seconds


def medians(values: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    """The median of each."""
    return {name: statistics.median(each) for name, each in values.items()}


def times_as_fast(seconds: Mapping[Key, Sequence[float]], baseline: Key) -> dict[Key, float]:
    """Median over rounds of baseline / contender: the machine's speed drifts, the ratio within a round does not."""
    return {
        name: statistics.median(a / b for a, b in zip(seconds[baseline], each, strict=True))
        for name, each in seconds.items()
    }


# ---- results ---------------------------------------------------------------------------------------------------------


def provenance(*, seed: int | None = None, interval: str | None = None) -> Document:
    """What made a result: the command, the machine, the versions, the seed and what its intervals are over."""
    made: Document = {"command": command_line(), "machine": machine(), "versions": versions()}
    if seed is not None:
        made["seed"] = seed
    if interval is not None:
        made["interval"] = interval
    return made


def write_document(path: Path, document: Document, indent: int | None = 1) -> None:
    """Raw results as JSON, whole or not at all."""
    write_whole(path, f"{json.dumps(document, indent=indent)}\n".encode())


def read_document(path: Path) -> Document:
    """Raw results, or nothing where there are none yet."""
    return json.loads(path.read_text()) if path.exists() else {}


def summarised(document: Document) -> tuple[list[Result], list[Comparison]]:
    """Results and comparisons of a file of the results schema, without the values per episode: what a page needs."""
    raw = ("per_episode", "calibration", "confusion")
    results = [{key: value for key, value in r.items() if key not in raw} for r in document["results"]]
    return from_json({**document, "results": results})


# ---- pages -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """What a page says, made from a file of raw results.

    Args:
        name: of the markers around it.
        raw: file in `benchmarks/results`.
        render: the file's content to Markdown.
        kind: the word of the markers.
    """

    name: str
    raw: str
    render: Callable[[Document], str]
    kind: Literal["section", "table", "figure"] = "section"


def rendered(sections: Iterable[Section], root: Path = ROOT) -> dict[Path, str]:
    """The pages that hold these sections, as they should read.

    Raises:
        SystemExit: a section whose markers are on no page of docs/results, or on two.
    """
    paths = sorted([*root.glob("README*.md"), *(root / "docs").rglob("*.md")])
    before = {path: path.read_text() for path in paths}
    pages = dict(before)
    for section in sections:
        start, end = f"<!-- {section.kind}: {section.name} -->", f"<!-- end of {section.kind} -->"
        holding = [path for path in paths if start in pages[path]]
        if section.kind == "section" and len(holding) != 1:
            raise SystemExit(f"section {section.name!r} stands on {len(holding)} pages: expected {start} on one page.")
        content = section.render(read_document(RESULTS / section.raw)).strip()
        if section.kind != "figure":
            content = f"\n{content}\n"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        for path in holding:
            pages[path] = pattern.sub(lambda _, text=f"{start}{content}{end}": text, pages[path])
    return {path: text for path, text in pages.items() if text != before[path]}


def render(sections: Iterable[Section], root: Path = ROOT) -> list[Path]:
    """Write what `rendered` says; the pages that changed."""
    changed = rendered(sections, root)
    for path, text in changed.items():
        write_whole(path, text.encode())
    return list(changed)


def out_with_test(arguments: argparse.Namespace, name: str) -> Path:
    """Where results go: with `--test` beside those that are published, and not over them.

    Args:
        arguments: with `out` and `test`.
        name: of the published file.
    """
    published = RESULTS / name
    if arguments.test and arguments.out == published:
        return published.with_stem(f"{published.stem}_test")
    return arguments.out


def render_after(arguments: argparse.Namespace, sections: Iterable[Section]) -> None:
    """After a run: the sections that stand on the file it wrote, if that is one of those published."""
    own = [section for section in sections if arguments.out.resolve() == (RESULTS / section.raw).resolve()]
    for path in render(own):
        print(f"wrote {path.relative_to(ROOT)}")


# ---- test sets ---


def packed_test(path: Path) -> list[str]:
    """The settings of a recipe that evaluate it on a file of packed images: on all of its classes.

    Args:
        path: an .npz as `regard.domains.images.packed` reads it. Arrays with the prefix train_ are taken where there are
            no others; where there are tracks, one image of each is kept and episodes have two queries per class.
    """
    import zipfile

    with zipfile.ZipFile(path) as archive:
        arrays = {name.removesuffix(".npy") for name in archive.namelist()}
    prefix = "" if "labels" in arrays else "train_"
    has_tracks = f"{prefix}track" in arrays
    settings = [f"data={{name: packed, file: '{path}', prefix: '{prefix}', one_a_track: {str(has_tracks).lower()}}}"]
    if has_tracks:
        kinds = ", ".join(f"{{n_way: 5, n_shot: {n_shot}, n_query: 2}}" for n_shot in (1, 5))
        settings.append(f"evaluation=[{kinds}]")
    return settings


# ---- a baseline --------------------------------------------------------------------------------------------------------


class Probe(EncodingLearner):
    """LinearProbe in the span of the support's rows, where its minimum lies: a fraction of the unknowns."""

    def __init__(self, encoder: Encoder, penalty: float) -> None:
        super().__init__()
        self.encoder, self.probe = encoder, LinearProbe(penalty=penalty)

    def adapt_encoded(self, support: Support) -> tuple[object, Tensor]:
        basis = torch.linalg.qr(support.x.mT).Q
        inside = Support(support.x @ basis, support.y, support.weight, support.n_classes)
        return self.probe.adapt_encoded(inside), basis

    def predict_encoded(self, state: tuple[object, Tensor], query_z: Tensor) -> Tensor:
        return self.probe.predict_encoded(state[0], query_z @ state[1])  # type: ignore[arg-type, return-value]


# ---- Markdown --------------------------------------------------------------------------------------------------------


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    text = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([text[0], text[1].replace(" ", ""), *text[2:]])


def made_by(document: Document) -> str:
    """The last line of a section: the command, the machine and the versions."""
    commands = [document["command"]] if isinstance(document["command"], str) else document["command"]
    details = {**document["machine"], **document.get("versions", {})}
    return f"{', '.join(f'`{c}`' for c in commands)}; {', '.join(f'{k} {v}' for k, v in details.items())}."


def percent(result: Result, metric: str = "accuracy") -> str:
    """Mean and half-width of the 95% interval, in percent."""
    interval = result.metrics[metric]
    return f"{100 * interval.mean:.1f} ± {100 * interval.half_width:.1f}"


def plus_minus(interval: Interval) -> str:
    """Mean and half-width of the interval."""
    return f"{interval.mean:.3g} ± {interval.half_width:.2g}"


def points(difference: Interval, digits: int = 2) -> str:
    """A difference in percentage points, with its interval."""
    mean, low, high = (f"{100 * v:+.{digits}f}" for v in (difference.mean, difference.low, difference.high))
    return f"{mean} points [{low}, {high}]"


def or_tie(comparison: Comparison) -> str:
    """What follows a difference that cannot be told from none."""
    return ", a tie" if comparison.tie else ""


def episodes_of(result: Result | Comparison) -> str:
    """Such as "5-way 1-shot"."""
    return f"{result.n_way}-way {result.n_shot}-shot"
