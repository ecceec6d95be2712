"""Make docs/results.md and the table of the README from the raw results beside this script.

python benchmarks/tables.py            writes both
python benchmarks/tables.py --check    says whether they are up to date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lake
import published
from regard.evaluation import Comparison, Interval, Result, mean_interval, read_results
from regard.evaluation.results_json import from_json
from regard.learners import find_learner, find_reference
from tables_auc import METHODS, NAMES, report

HERE = Path(__file__).parent
ROOT = HERE.parent
RAW = HERE / "results"


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    made = {ROOT / "docs" / "results.md": results_page(), readme: with_table(readme.read_text(), learners_table())}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if check:
        sys.exit(f"out of date: {', '.join(p.name for p in stale)}; run {Path(__file__).name}" if stale else 0)
    for path in stale:
        path.write_text(made[path])


def results_page() -> str:
    """All of docs/results.md."""
    sections: list[tuple[str, Callable[[Any], str]]] = [
        ("glyphs_table.json", glyphs_section),
        ("data_hunger.json", hunger_section),
        ("glyphs_recipe.json", recipe_section),
        ("intents.json", recipe_section),
        ("paper_omniglot.json", papers_section("Conv4")),
        ("paper_caltech_conv4.json", papers_section("Conv4")),
        ("paper_caltech_resnet12.json", papers_section("ResNet-12 of half the widths")),
        ("maml_omniglot_recipe.json", recipe_section),
        ("omniglot_gradient.json", recipe_section),
        ("lake.json", lake_section),
        ("sinusoid.json", sinusoid_section),
        ("gp_regression.json", gp_section),
        ("gradient_speed.json", gradient_section),
        ("tables_auc.json", auc_section),
        ("tables_limits.json", limits_section),
        ("tables_speed.json", tables_speed_section),
        ("context_speed.json", context_section),
        ("training_speed.json", training_section),
        ("bf16_cost.json", precision_section),
        ("sampling_speed.json", sampling_section),
        ("evaluation_speed.json", evaluation_section),
    ]
    head = (
        "# Results\n\nMade by `benchmarks/tables.py` from the raw results in `benchmarks/results`, each of which names "
        "the command, the machine and the versions that made it. Intervals are 95%, over episodes.\n"
    )
    parts = [make(json.loads((RAW / name).read_text())) for name, make in sections if (RAW / name).exists()]
    return "\n".join([head, *parts])


def learners_table() -> str:
    """The README's table: learner, family, year, paper, accuracy."""
    results, _ = read_results(RAW / "glyphs_table.json")
    lines = ["| learner | family | year | paper | 20-way 1-shot | 5-way 5-shot |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(r.learner for r in results):
        row = find_learner(name)
        paper = find_reference(row.references[0])
        figures = [_accuracy(r) for r in results if r.learner == name]
        lines.append(f"| {name} | {', '.join(row.family)} | {row.year} | {paper.title} | {' | '.join(figures)} |")
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """The README with what stands between its two marks replaced."""
    start, end = "<!-- table: learners -->\n", "\n<!-- end of table -->"
    before, _, rest = text.partition(start)
    return before + start + table + end + rest.partition(end)[2]


def glyphs_section(document: dict[str, Any]) -> str:
    """Accuracy and more of every learner."""
    results, _ = from_json(document)
    minutes = document["settings"]["minutes"]
    lines = [
        f"## Letters never seen, after {minutes} minutes of practice each\n",
        "| learner | episodes | accuracy | precision | recall | F1 | ECE | test seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        figures = [_pm(r, name) for name in ("accuracy", "precision", "recall", "f1", "ece")]
        lines.append(f"| {r.learner} | {r.n_way}-way {r.n_shot}-shot | {' | '.join(figures)} | {r.seconds:.1f} |")
    return "\n".join([*lines, "", _made(document)])


def hunger_section(document: dict[str, Any]) -> str:
    """Accuracy against the number of classes to practise on."""
    results, _ = from_json(document)
    settings = document["settings"]
    numbers = sorted(set(settings["classes"]))
    found = {(r.learner, r.n_way, r.n_shot, n): _accuracy(r) for r, n in zip(results, settings["classes"], strict=True)}
    lines = [
        f"## Letters never seen, against how many letters there were to practise on: {settings['steps']} steps each\n",
        "![accuracy against the number of classes](data_hunger.png)\n",
        f"| learner | episodes | {' | '.join(f'{n:,} letters' for n in numbers)} |",
        "|---" * (2 + len(numbers)) + "|",
    ]
    for name, way, shot in dict.fromkeys(key[:3] for key in found):
        # What has not practised is the same at every number.
        level = found.get((name, way, shot, numbers[-1]), "") if name in settings["baselines"] else ""
        cells = [found.get((name, way, shot, n), level) for n in numbers]
        lines.append(f"| {name} | {way}-way {shot}-shot | {' | '.join(cells)} |")
    lines.append(
        f"\nPractice is {settings['practice']} at every point, on nested letters of all training scripts; one training "
        "run each. Accuracy in per cent, ± half of the interval."
    )
    return "\n".join([*lines, "", _made(document)])


def recipe_section(document: dict[str, Any]) -> str:
    """Accuracy of one trained recipe and what stands beside it."""
    results, comparisons = from_json(document)
    timed = any(r.adaptation_seconds is not None for r in results)
    heads = ["learner", "episodes", "number", "accuracy", "precision", "recall", "F1", *["ms to adapt"] * timed]
    recipe = f", recipe {told['recipe']}" if "recipe" in (told := document.get("settings", {})) else ""
    lines = [f"## {results[0].data}{recipe}\n", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in results:
        figures = [_pm(r, name) for name in ("accuracy", "precision", "recall", "f1")]
        figures += [f"{1000 * (r.adaptation_seconds or 0):.3g}"] * timed
        name = f"{r.learner}{' (transductive)' if r.transductive else ''}"
        lines.append(f"| {name} | {r.n_way}-way {r.n_shot}-shot | {r.episodes} | {' | '.join(figures)} |")
    for c in comparisons:
        if c.metric == "accuracy":
            told = f"{_points(c.difference, 1)}{_or_tie(c)}"
            lines.append(f"\n{c.a} - {c.b}, {c.n_way}-way {c.n_shot}-shot: {told}.")
    if settings := document.get("settings"):
        lines.append(f"\n{'; '.join(f'{key}: {value}' for key, value in settings.items())}.")
    return "\n".join([*lines, "", _made(document)])


def lake_section(document: dict[str, Any]) -> str:
    """One-shot classification within alphabets: per cent of errors."""
    errors = document["errors"]
    columns = [(part, ways) for part in lake.PARTS for ways in lake.WAYS]
    titles = [f"{part}, {ways} view{'s' * (ways > 1)}" for part, ways in columns]
    lines = [
        "## One drawing of each of twenty letters of an alphabet never seen: per cent of errors\n",
        f"| practised on | steps | {' | '.join(titles)} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for name, found in errors.items():
        steps = document["steps"][name]
        cells = [_lake_cell(found.get(part, {}), ways) for part, ways in columns]
        lines.append(f"| {name} | {'-' if steps is None else f'{steps:,}'} | {' | '.join(cells)} |")
    lines += ["", lake.TOLD, "", "Each alphabet, by any hands and in as many views as there are:\n"]
    found = {
        name: lake.summary(e["any hands"], max(w for w in lake.WAYS if str(w) in e["any hands"]))["groups"]
        for name, e in errors.items()
    }
    lines += [f"| alphabet | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for alphabet in next(iter(found.values())):
        lines.append(f"| {alphabet} | {' | '.join(f'{each[alphabet]:.1f}' for each in found.values())} |")
    return "\n".join([*lines, "", _made(document)])


def _lake_cell(found: dict[str, Any], ways: int) -> str:
    if str(ways) not in found:
        return "-"
    s = lake.summary(found, ways)
    return f"{s['mean']:.2f} [{s['low']:.2f}, {s['high']:.2f}]"


def papers_section(encoder: str) -> Callable[[Any], str]:
    """The papers' tables made again, with this encoder."""
    return lambda document: f"{published.report(document, encoder)}\n\n{_made(document)}"


def sinusoid_section(document: dict[str, Any]) -> str:
    """Mean squared error after each number of inner steps."""
    results, comparisons = from_json(document)
    steps = document["settings"]["inner_steps"]
    lines = [
        f"## Sinusoids: mean squared error after inner steps, {results[0].episodes:,} tasks\n",
        f"| learner | known points | {' | '.join(f'{k} steps' if k != 1 else '1 step' for k in steps)} |",
        "|---" * (2 + len(steps)) + "|",
    ]
    found = {(*r.learner.partition(", ")[::2], r.n_shot): _number(r.metrics["mse"]) for r in results}
    for n_shot, name in dict.fromkeys((n_shot, name) for name, _, n_shot in found):
        cells = [found.get((name, f"{k} step{'' if k == 1 else 's'}", n_shot), "diverges") for k in steps]
        # The exact answer takes no steps.
        cells = ["", "", "", found[name, "", n_shot]] if (name, "", n_shot) in found else cells
        lines.append(f"| {name} | {n_shot} | {' | '.join(cells)} |")
    lines.append("\nPaired differences at the last number of steps of each, over the same tasks:\n")
    for c in comparisons:
        if c.a.startswith("MAML") and c.b != "oracle":
            told = f"{c.difference.mean:+.3f} [{c.difference.low:+.3f}, {c.difference.high:+.3f}]"
            lines.append(f"- {c.n_shot} points, {c.a} - {c.b}: {told}{', a tie' if c.tie else ''}")
    lines.append("\n![Fits before and after inner steps](sinusoid.png)")
    return "\n".join([*lines, "", f"{document['settings']['training']}\n", _made(document)])


def auc_section(document: dict[str, Any]) -> str:
    """Real tables, `tables` beside scikit-learn's defaults."""
    methods = [method for method in METHODS if any(key.endswith(f"|{method}") for key in document["scores"])]
    head = "## Real tables, no tuning: ROC AUC (one against the rest) of `tables` and of scikit-learn's defaults\n"
    return f"{head}{report(document['scores'], NAMES, methods)}\n\n{_made(document)}"


def limits_section(document: dict[str, Any]) -> str:
    """Tables of more classes and rows than were trained on."""
    methods = list(document["cells"][0]["auc"])
    trained = document["trained"]
    lines = [
        f"## `tables` beyond the {trained['classes']} classes and {trained['rows']} rows it was trained on: AUC on letters\n",
        "![AUC against classes and rows](tables_limits.png)\n",
        f"| classes | rows | {' | '.join(methods)} |",
        "|---" * (2 + len(methods)) + "|",
    ]
    for cell in document["cells"]:
        means = [mean_interval(100 * np.array(cell["auc"][name])) for name in methods]
        lines.append(f"| {cell['classes']} | {cell['rows']} | {' | '.join(_number(mean) for mean in means)} |")
    return "\n".join([*lines, "", _made(document)])


def tables_speed_section(document: dict[str, Any]) -> str:
    """Seconds of one fit and prediction."""
    work = document["work"]
    lines = [
        f"## `tables`: fit on {work['known']} rows of {work['features']} features, {work['asked']} asked\n",
        "| model | median seconds | times `tables` |",
        "|---|---|---|",
        *(
            f"| {name} | {taken:.3f} | {document['times_tables'][name]:.2f} |"
            for name, taken in document["medians"].items()
        ),
        *(f"| {name} | {why} | |" for name, why in document["absent"].items()),
    ]
    return "\n".join([*lines, "", _made(document)])


def gp_section(document: dict[str, Any]) -> str:
    """Nats a target below the exact posterior."""
    tables = document["results"]
    lines = [
        f"## Gaussian processes: nats a target below the exact posterior, {document['episodes']:,} tasks a kernel\n",
        "Learners practised on rbf alone. Exact is the log-likelihood of the posterior that knows the lengthscale and the",
        "scale; guessing is told neither and has the prior over both, by a grid.\n",
        f"| who | {' | '.join(tables)} |",
        "|---" * (1 + len(tables)) + "|",
        f"| exact, log-likelihood | {' | '.join(_nats(t['exact']['log_likelihood']) for t in tables.values())} |",
    ]
    for name in (name for name in tables["rbf"] if name != "exact"):
        cells = [_nats(t[name]["gap"]) if name in t else "" for t in tables.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("\n![Answers beside the exact posterior](gp_regression.png)")
    return "\n".join([*lines, "", _made(document)])


def _nats(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def context_section(document: dict[str, Any]) -> str:
    """Two calls against one masked square."""
    lines = [
        "## Context to itself, queries to the context: against `nn.TransformerEncoder` with a mask\n",
        f"{document['task']}; the same weights, the same answers. `again`: more queries of a context that was kept.\n",
        "| what | who | median ms | times the peer |",
        "|---|---|---|---|",
    ]
    for what, found in document["results"].items():
        lines += [f"| {what} | {who} | {r['ms']:.0f} | {r['times']:.2f} |" for who, r in found.items()]
    return "\n".join([*lines, "", _made(document)])


def training_section(document: dict[str, Any]) -> str:
    """Steps of Prototypical against learn2learn."""
    lines = [f"## {document['title']}, {document['threads']} thread\n", "| what | figure |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in document["summary"].items()]
    return "\n".join([*lines, "", _made(document)])


def precision_section(document: dict[str, Any]) -> str:
    """Accuracy in bf16 less that in fp32."""
    results, comparisons = from_json(document)
    settings = document["settings"]
    lines = [
        f"## What bf16 costs: Prototypical on the glyphs, {settings['steps']} steps, {settings['seeds']} seeds\n",
        "| learner | episodes | number | accuracy |",
        "|---|---|---|---|",
    ]
    lines += [f"| {r.learner} | {r.n_way}-way {r.n_shot}-shot | {r.episodes} | {_pm(r, 'accuracy')} |" for r in results]
    lines.append("\nPaired differences of accuracy, over the same episodes:\n")
    lines += [
        f"- {c.n_way}-way {c.n_shot}-shot, {c.a} - {c.b}: {_points(c.difference)}{_or_tie(c)}" for c in comparisons
    ]
    lines.append("\nThe mean of the seeds' differences to training and asking in fp32, its interval over seeds:\n")
    for d in settings["over seeds"]:
        told = _points(Interval(d["mean"], d["low"], d["high"]))
        lines.append(f"- {d['n_way']}-way {d['n_shot']}-shot, {d['what']}: {told}")
    return "\n".join([*lines, "", _made(document)])


def gradient_section(document: dict[str, Any]) -> str:
    """Meta-gradients against the peers: ratios of medians, and peak memory."""
    peers = ("learn2learn", "higher", "torchopt")
    lines = [
        f"## {document['title']}\n",
        f"| work | bar | regard | {' | '.join(peers)} | best peer | load |",
        "|---" * (5 + len(peers)) + "|",
    ]
    for name, row in sorted(document["rows"].items()):
        ratio = {k: f"{v:.2f}" for k, v in row["ratio_to_best_peer"].items()}
        told = [name, str(row["bar"] or "-"), ratio["regard"], *(ratio.get(peer, "-") for peer in peers)]
        lines.append(f"| {' | '.join(told)} | {row['best_peer']} | {row['load_before']} |")
    memory = document["peak_memory_mib_10_inner_steps"]
    told = ", ".join(f"{name} {mib:.0f}" for name, mib in memory.items())
    lines.append(f"\nPeak memory of 10 inner steps on Conv4, MiB: {told}.\n")
    commands = dict.fromkeys(row["command"] for row in document["rows"].values())
    return "\n".join([*lines, _made({**document, "command": "`, `".join(commands)})])


def sampling_section(document: dict[str, Any]) -> str:
    """Episodes a second against the peers."""
    lines = [f"## Sampling, {document['task']}: how many times a peer's episodes a second\n"]
    for threads, part in document["results"].items():
        peers = list(next(iter(part["times"].values())))
        lines += [f"| {threads} | {' | '.join(peers)} |", "|---" * (1 + len(peers)) + "|"]
        lines += [f"| {ours} | {' | '.join(str(row[p]) for p in peers)} |" for ours, row in part["times"].items()]
        lines.append(
            f"\nA plain copy of as many bytes, taken as 1: regard uint8 draws {part['uint8 of plain copy']}.\n"
        )
    return "\n".join([*lines, _made(document)])


def evaluation_section(document: dict[str, Any]) -> str:
    """Encoding each item once against encoding every episode anew."""
    lines = [f"## Evaluation: {document['what']}\n", "| learner | anew | once | times |", "|---|---|---|---|"]
    for m in document["measured"]:
        anew, once = (f"{m['median_seconds'][way]:.1f} s" for way in ("fresh", "cached"))
        lines.append(f"| {m['learner']} | {anew} | {once} | {m['ratio']:.1f} |")
    return "\n".join([*lines, "", _made(document)])


def _made(document: dict[str, Any]) -> str:
    told = {**document["machine"], **document.get("versions", {})}
    return f"`{document['command']}`; {', '.join(f'{k} {v}' for k, v in told.items())}.\n"


def _number(interval: Interval) -> str:
    return f"{interval.mean:.3g} ± {interval.half_width:.2g}"


def _accuracy(result: Result) -> str:
    return _pm(result, "accuracy")


def _points(difference: Interval, digits: int = 2) -> str:
    mean, low, high = (f"{100 * v:+.{digits}f}" for v in (difference.mean, difference.low, difference.high))
    return f"{mean} points [{low}, {high}]"


def _or_tie(comparison: Comparison) -> str:
    return ", a tie" if comparison.tie else ""


def _pm(result: Result, metric: str) -> str:
    interval = result.metrics[metric]
    return f"{100 * interval.mean:.1f} ± {50 * (interval.high - interval.low):.1f}"


if __name__ == "__main__":
    main()
