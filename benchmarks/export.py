"""Which learners can be exported, how near their files are to PyTorch, and what smaller files cost in accuracy.

    python benchmarks/export.py [--only learners precision browser] [--learners NAME ...] [--data FOLDER] [--runs 30]

learners: every learner of `regard learners` that takes vectors or parts, untrained and small, to an ONNX file, which is
compared with PyTorch on tasks of five sizes: largest difference, relative to 1 + size. precision: `characters` in float32,
float16 and int8, in one view, on runs of Lake's protocol from Omniglot's evaluation alphabets (FOLDER holds Omniglot's
zip files or the packed ones; --runs per alphabet): accuracy, and the paired difference from float32, intervals over
alphabets. browser: the pages of letters and tables in Chromium, from disk, without a network: seconds until the first answer, and
milliseconds of answers of 5 and 20 classes by the page's own clock. Needs the extra `export`, and for browser Playwright. Writes benchmarks/results/export.json; sections that are not run keep their results.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from common import (
    Document,
    Section,
    argument_parser,
    made_by,
    provenance,
    read_document,
    render_after,
    table,
    write_document,
)
from regard.domains.images.lake import drawn_runs
from regard.domains.images.omniglot import BACKGROUND, omniglot
from regard.episode import first_tensor
from regard.errors import ExportError
from regard.evaluation import mean_interval
from regard.export import export_html, export_onnx
from regard.learners import find_learner
from regard.learners.base import Learner
from regard.nn.mlp import MLP
from regard.nn.sequence import TokenLSTM, TokenTransformer
from regard.recipes.trained import TrainedLearner

N_TOKENS, LENGTH = 50, 6
N_OPENED = 3
console = Console()


def vectors() -> MLP:
    """A small encoder of rows of six numbers."""
    return MLP(6, 5, [8])


def net() -> torch.nn.Module:
    """A model for gradient learners, of three outputs."""
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


# Name to (arguments, keyword arguments, most classes); functions are called.
VECTORS: dict[str, tuple[tuple[Any, ...], dict[str, Any], int | None]] = {
    **{
        name: ((vectors,), {}, None)
        for name in [
            "Prototypical",
            "Matching",
            "Siamese",
            "Triplet",
            "Relation",
            "FEAT",
            "VERSA",
            "R2D2",
            "RidgePrototypes",
            "TPN",
            "IterRefLSTM",
            "FewShotGNN",
            "EGNN",
            "DeepKernel",
            "AssayPrototypes",
            "MetaOptNet",
        ]
    },
    "SimpleShot": ((vectors, 3), {}, 3),
    "WeightGenerator": ((vectors,), {"n_base": 4}, None),
    "PAR": ((vectors,), {"d_model": 6}, None),
    "MHNfs": ((vectors,), {"d_model": 8, "n_heads": 2, "n_context": 0}, None),
    "NearestNeighbour": ((), {}, None),
    "CNP": ((vectors,), {"d_model": 8}, None),
    "AttentiveNeuralProcess": ((vectors,), {"d_model": 8, "n_heads": 2}, None),
    "TNPD": ((vectors,), {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_feed": 8}, None),
    "SNAIL": ((vectors,), {"n_filters": 3, "n_dilations": 2, "widths": ((3, 2), (4, 3))}, 3),
    "FastWeights": ((vectors,), {"n_heads": 2, "d_key": 4, "d_value": 4, "d_model": 8}, 3),
    "CNAPs": ((vectors,), {"width": 8}, None),
    "KernelMixture": ((vectors,), {"blocks": (2, 3), "lengths": (1.0,), "noises": (0.1,)}, None),
    "MANN": ((vectors,), {"n_slots": 6, "d_slot": 4, "d_hidden": 8}, 3),
    **{name: ((net,), {}, 3) for name in ["MAML", "MetaSGD", "Reptile", "LSTMMetaLearner", "LearnedOptimizer"]},
    "ANIL": ((vectors, 3), {}, 3),
    "ProtoMAML": ((vectors,), {}, None),
    "LinearProbe": ((vectors,), {"n_steps": 3, "n_solve": 5}, None),
}
SHIPPED = ("characters", "tables")


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argument_parser(
        __doc__,
        SECTIONS,
        "export.json",
        data="Omniglot",
        data_required=False,
        seed=0,
        only=("learners", "precision", "browser"),
    )
    made.add_argument("--learners", nargs="+", metavar="NAME", help="of section learners only these; others stay")
    made.add_argument("--runs", type=int, default=30, help="runs per alphabet (default 30)")
    return made


def export_all(
    folder: Path, chosen: list[str] | None, before: list[Document], save: Callable[[list[Document]], None]
) -> None:
    """A row per learner: worst difference and bytes, or why not; rows from before of those that are not chosen. Saved after each."""
    rows = {row["learner"]: row for row in before}

    def one(name: str, source: Learner | str, **options: Any) -> None:
        if chosen is not None and name.strip("`").split()[0] not in chosen:
            return
        began = time.process_time()
        try:
            made = export_onnx(source, folder / "model.onnx", **options)
            row: Document = {"learner": name, "worst": made.worst, "bytes": made.n_bytes}
        except ExportError as error:
            row = {"learner": name, "refused": str(error)}
        rows[name] = {**row, "seconds": round(time.process_time() - began, 1)}
        console.print(rows[name])
        save(list(rows.values()))

    def normal(n: int, seed: int) -> torch.Tensor:
        return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))

    def tokens(n: int, seed: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(1, N_TOKENS, (n, LENGTH + seed), generator=torch.Generator().manual_seed(seed))
        return {"ids": ids, "mask": torch.ones(ids.shape)}

    def built(part: Any) -> Any:
        return part() if isinstance(part, Callable) else part

    for name, (arguments, options, most) in VECTORS.items():
        torch.manual_seed(0)
        made = find_learner(name).load()(*(built(a) for a in arguments), **options)
        one(name, made, items=normal, most_classes=most)
    encoders = {
        "CrossTransformer": lambda: TokenTransformer(N_TOKENS, 8, n_heads=2, n_layers=1, parts=True),
        "AttentionMetaLearner": lambda: TokenLSTM(N_TOKENS, 6, 5, parts=True),
    }
    for name, encoder in encoders.items():
        torch.manual_seed(0)
        one(f"{name} on tokens", find_learner(name).load()(encoder()), items=tokens)  # type: ignore[call-arg]
    for name in SHIPPED:
        one(f"`{name}`", name, regression=name.endswith("regression") or None)


def precisions(folder: Path, data: Path, n_runs: int, seed: int) -> Document:
    """Right answers of each run, by precision; alphabets, bytes."""
    runtime = import_module("onnxruntime")
    trained = TrainedLearner.load("characters")
    reader = trained.reader()
    dataset = omniglot(data, size=105)
    evaluation = [group for group in dict.fromkeys(dataset.class_groups) if group not in BACKGROUND]
    runs = [run for run in drawn_runs(dataset, n_runs, seed=seed) if run.group in evaluation]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    document: Document = {
        "alphabets": [run.group for run in runs],
        "right": {},
        "bytes": {},
        "worst": {},
        "seconds": {},
    }
    sessions = {}
    for precision in ("float32", "float16", "int8"):
        made = export_onnx(copy.copy(trained), folder / f"{precision}.onnx", precision=precision)
        sessions[precision] = runtime.InferenceSession(made.path, options, providers=["CPUExecutionProvider"])
        document["bytes"][precision], document["worst"][precision] = made.n_bytes, made.worst
        document["right"][precision], document["seconds"][precision] = [], 0.0
    for run in runs:
        support, query = (first_tensor(reader(things)).numpy() for things in (run.support, run.query))
        names = list(run.labels)
        feed = {
            "support_x": support,
            "support_y": np.arange(len(names)),
            "weight": np.ones(len(names), np.float32),
            "query_x": query,
            "classes": np.arange(len(names)),
        }
        for precision, session in sessions.items():
            began = time.process_time()
            probability = session.run(["probabilities"], feed)[0]
            document["seconds"][precision] += (time.process_time() - began) / len(runs)
            right = [names[k] == answer for k, answer in zip(probability.argmax(1), run.answers, strict=True)]
            document["right"][precision].append(float(np.mean(right)))
    return document


def main() -> None:
    """Run, write, render."""
    arguments = parser().parse_args()
    chosen = set(arguments.only or ("learners", "precision", "browser"))
    document = read_document(arguments.out) if arguments.out.exists() else {}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:

        def save(**found: Any) -> None:
            document.update(found)
            made = provenance(seed=arguments.seed, interval="95% over alphabets")
            made["command"] = list(dict.fromkeys([*document.get("command", []), made["command"]]))
            write_document(arguments.out, {**document, **made})

        if "learners" in chosen:
            before = document.get("learners", [])
            export_all(Path(name), arguments.learners, before, lambda rows: save(learners=rows))
        if "precision" in chosen and arguments.data is not None:
            save(precision=precisions(Path(name), Path(arguments.data), arguments.runs, arguments.seed))
        if "browser" in chosen:
            in_the_browser(Path(name), save)
    render_after(arguments, SECTIONS)


def in_the_browser(folder: Path, save: Callable[..., None]) -> None:
    """Bytes of each page, seconds until it has answered, and milliseconds an answer; saved page by page."""
    playwright = import_module("playwright.sync_api")
    document: Document = {}
    with playwright.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        document["version"] = chromium.version
        for name in ("characters", "tables"):
            path = folder / f"{name}.html"
            row: Document = {"bytes": export_html(name, path).n_bytes, "ready": [], "answers": {}, "requests": []}
            document[name] = row
            for _ in range(N_OPENED):
                context = chromium.new_context(offline=True)
                page = context.new_page()
                page.on("request", lambda request, row=row: row["requests"].append(request.url.partition(":")[0]))
                began = time.perf_counter()
                page.goto(path.as_uri())
                page.locator("body[data-answered]").wait_for(state="attached", timeout=120_000)
                row["ready"].append(time.perf_counter() - began)
                if len(row["ready"]) == N_OPENED:
                    row["answers"] = letters_answered(page) if name == "characters" else {"as it opens": [taken(page)]}
                context.close()
            row["requests"] = sorted(set(row["requests"]))
            console.print(name, row)
            save(browser=document)
        chromium.close()


def letters_answered(page: Any) -> dict[str, list[float]]:
    """Milliseconds, by the number of classes, each with one letter that is written by its key."""
    found: dict[str, list[float]] = {}
    page.locator("#start-over").click()
    for n_classes in (5, 20):
        pads = page.locator(".class")
        while pads.count() < n_classes:
            page.locator("#add-class").click()
        for k in range(n_classes):
            pads.nth(k).locator("canvas.ink").first.press("Backspace")
            pads.nth(k).locator("canvas.ink").first.press(chr(ord("A") + k))
        found[f"{n_classes} classes"] = []
        for letter in "ABCDE":
            page.locator("#query canvas.ink").press("Backspace")
            page.locator("#query canvas.ink").press(letter)
            page.locator("body[data-waiting='no']").wait_for(state="attached", timeout=120_000)
            found[f"{n_classes} classes"].append(taken(page))
    return found


def taken(page: Any) -> float:
    """Milliseconds that the page says its answer took."""
    return float(page.locator("#detail").inner_text().partition(" in ")[2].split()[0])


def learners_section(document: Document) -> str:
    """Which can be exported."""
    rows = document["learners"]
    done = [row for row in rows if "worst" in row]
    body = [
        [row["learner"], f"{row['worst']:.0e}" if row["worst"] > 1e-9 else "0", f"{row['bytes'] / 1e6:.2f}"]
        for row in done
    ]
    # One line for all that are refused for the same reason.
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if "refused" in row:
            name, _, reason = row["refused"].partition(" ")
            reasons.setdefault(reason, []).append(name)
    refused = "\n".join(f"- {', '.join(names)}: {reason}" for reason, names in reasons.items())
    return "\n\n".join(
        [
            "## Which learners",
            f"{len(done)} of {len(rows)} that were tried, each compared with PyTorch on tasks of five sizes, from 2 rows, 2 "
            "classes and 2 queries to 40, 20 and 7: largest difference of any output, relative to 1 + its size. At most 1e-5 "
            "is allowed. Untrained and small, but for the models that ship.",
            table(["learner", "largest difference", "MB"], body),
            "Refused, with what the command says:",
            refused,
            made_by(document),
        ]
    )


def precision_section(document: Document) -> str:
    """What smaller files cost."""
    found = document["precision"]
    groups = np.array(found["alphabets"])

    def interval(values: list[float]) -> str:
        means = [100 * float(np.mean(np.array(values)[groups == name])) for name in dict.fromkeys(found["alphabets"])]
        made = mean_interval(np.array(means))
        return f"{made.mean:.2f} ± {made.half_width:.2f}"

    rows = []
    for precision, right in found["right"].items():
        less = [a - b for a, b in zip(right, found["right"]["float32"], strict=True)]
        rows.append(
            [
                precision,
                f"{found['bytes'][precision] / 1e6:.2f}",
                interval(right),
                "" if precision == "float32" else interval(less),
                f"{1000 * found['seconds'][precision]:.0f}",
            ]
        )
    return "\n\n".join(
        [
            "## Smaller files",
            f"`characters`, one view, {len(groups)} runs of 20 ways and one drawing each, from "
            f"{len(set(found['alphabets']))} alphabets that it was not trained on; the same runs for every file.",
            table(["precision", "MB", "accuracy in %", "less float32, paired", "ms of one core per run"], rows),
            made_by(document),
        ]
    )


def browser_section(document: Document) -> str:
    """Pages."""
    if "browser" not in document:
        return "## In the browser\n\nNot measured yet: `python benchmarks/export.py --only browser`."
    found = document["browser"]
    rows = []
    for name, title in (("characters", "letters"), ("tables", "tables")):
        row = found.get(name, {"answers": {}})
        for asked, times in row["answers"].items():
            rows.append(
                [
                    title,
                    f"{row['bytes'] / 1e6:.1f}",
                    f"{np.median(row['ready']):.1f}",
                    asked,
                    f"{np.median(times):.0f}",
                    ", ".join(row["requests"]),
                ]
            )
    heads = ["page", "MB", "seconds to the first answer", "asked about", "ms an answer", "requests"]
    return "\n\n".join(
        [
            "## In the browser",
            f"Chromium {found['version']}, from disk and without a network; medians of {N_OPENED} openings and of five answers, "
            "on cores that others used too. The page of letters is to stay under 8 MB.",
            table(heads, rows),
            made_by(document),
        ]
    )


SECTIONS = (
    Section("export_learners", "export.json", learners_section),
    Section("export_precision", "export.json", precision_section),
    Section("export_browser", "export.json", browser_section),
)


if __name__ == "__main__":
    main()
