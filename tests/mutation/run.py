"""Plant small faults in the source, one at a time, and count how many the fast tests notice.

    python tests/mutation/run.py src/regard/sampling --tests tests/sampling --n 60 --out score.json
    python tests/mutation/run.py src/regard/files.py --tests tests/test_files.py

A mutant changes one operator, comparison, number, boolean, condition, `return` or statement. Messages, docstrings,
annotations and what a `raise` says are left alone. The sample is the same for the same seed. The source is restored
afterwards, whatever happens; the tests run against a copy of the package, so that nobody else sees a mutant.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def sites(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that can be mutated, in order of the source."""

    def visit(node: ast.AST) -> Iterator[ast.AST]:
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
            yield node
        if (isinstance(node, ast.Compare) and len(node.ops) == 1) or isinstance(node, ast.BoolOp | ast.IfExp):
            yield node
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield node
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node
        if isinstance(node, ast.Return) and node.value is not None:
            yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child)

    yield from visit(tree)


def mutate(node: ast.AST) -> str:
    """Change the node in place; says what was done."""
    before = ast.unparse(node)[:60]
    match node:
        case ast.BinOp() | ast.AugAssign():
            node.op = SWAPS[type(node.op)]()
        case ast.Compare():
            node.ops = [SWAPS[type(node.ops[0])]()]
        case ast.BoolOp():
            node.op = SWAPS[type(node.op)]()
        case ast.IfExp():
            node.body, node.orelse = node.orelse, node.body
        case ast.Constant():
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        case ast.Expr():
            node.value = ast.Constant(None)
        case ast.Return():
            node.value = ast.Constant(None)
    return f"{before}  ->  {ast.unparse(node)[:60]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", type=Path)
    parser.add_argument("--tests", nargs="+", required=True)
    parser.add_argument("--deselect", default="", help="as pytest's -k, such as 'not memory_is_flat'")
    parser.add_argument("--n", type=int, default=60, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=120, help="seconds per mutant; a hang is noticed")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many; the score says how many ran")
    parser.add_argument("--out", type=Path, help="JSON of score and survivors; added to what it holds")
    options = parser.parse_args()
    files = [f for path in options.source for f in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    texts = {file.resolve(): file.read_text() for file in files}
    places = [(file, i) for file, text in texts.items() for i, _ in enumerate(sites(ast.parse(text)))]
    chosen = random.Random(options.seed).sample(places, min(options.n, len(places)))
    survivors, ran, began = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copied)
        # At the lowest priority: this is a long job beside others.
        command = ["nice", "-n", "5", sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider"]
        command += [*options.tests, *(["-k", options.deselect] if options.deselect else [])]
        environment = os.environ | {"PYTHONPATH": str(copied), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

        def passes() -> bool:
            try:
                done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=options.timeout)
            except subprocess.TimeoutExpired:
                return False
            return done.returncode == 0

        if not passes():
            sys.exit("the tests fail without a mutant, or take longer than --timeout")
        for file, index in chosen:
            if time.monotonic() - began > 60 * options.minutes:
                break
            tree = copy.deepcopy(ast.parse(texts[file]))
            node = list(sites(tree))[index]
            what = mutate(node)
            target = copied / file.relative_to(ROOT / "src")
            target.write_text(ast.unparse(ast.fix_missing_locations(tree)))
            ran += 1
            if passes():
                survivors.append(f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}  {what}")
                sys.stdout.write(f"survived  {survivors[-1]}\n")
                sys.stdout.flush()
            target.write_text(texts[file])
    killed = ran - len(survivors)
    sys.stdout.write(f"{killed} of {ran} mutants killed ({killed / max(1, ran):.0%}), of {len(places)} places\n")
    if options.out:
        held = json.loads(options.out.read_text()) if options.out.exists() else {}
        name = " ".join(str(path) for path in options.source)
        held[name] = {
            "command": " ".join(["python", "tests/mutation/run.py", *sys.argv[1:]]),
            "killed": killed,
            "mutants": ran,
            "places": len(places),
            "survivors": survivors,
        }
        options.out.write_text(json.dumps(held, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
