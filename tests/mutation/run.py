"""Plant small faults in the source, one at a time, and count how many the fast tests notice.

    python tests/mutation/run.py src/regard/sampling --tests tests/sampling --n 60 --out score.json
    python tests/mutation/run.py src/regard/files.py --tests tests/test_files.py

A mutant changes one operator, comparison, number, boolean, condition, `return` or statement. Messages, docstrings,
annotations and what a `raise` says are left alone. The sample is the same for the same seed. The tests run against a
copy of the package, so that nobody else sees a mutant.

Imports take longer than tests, so a mutant is a fork: of a process that has run the tests once, where the code of one
function is replaced, or, for a default or a constant of a module, of one that has imported everything but the package.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

import pytest

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "beartype", "jaxtyping", "torch", "torch.func", "numpy", "scipy.optimize", "scipy.stats", "sklearn.linear_model",
    "sklearn.metrics", "sklearn.utils", "sklearn.ensemble", "pandas", "pydantic", "safetensors.torch", "PIL.Image",
    "yaml", "joblib", "matplotlib.figure", "hypothesis",
)  # fmt: skip
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
        if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
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


def function_of(tree: ast.Module, node: ast.AST) -> str | None:
    """The name of the outermost function or method whose body holds the node; None for code that runs at import."""

    def search(inside: ast.AST, names: tuple[str, ...]) -> str | None:
        for child in ast.iter_child_nodes(inside):
            if isinstance(child, ast.ClassDef):
                if found := search(child, (*names, child.name)):
                    return found
            elif isinstance(child, ast.FunctionDef) and any(
                n is node for statement in child.body for n in ast.walk(statement)
            ):
                return ".".join((*names, child.name))
        return None

    return search(tree, ())


def functions_under(folder: Path) -> dict[tuple[str, str], list[FunctionType]]:
    """All living functions of files in the folder, by file and name; those that decorators hide too."""
    living: dict[tuple[str, str], list[FunctionType]] = {}
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__code__.co_filename.startswith(str(folder)):
            key = (function.__code__.co_filename, function.__code__.co_qualname)
            living.setdefault(key, []).append(function)
    return living


def code_of(code: CodeType, name: str) -> CodeType | None:
    """The code of the function of this qualified name; of the last one, as overloads come first."""
    last = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            last = (constant if constant.co_qualname == name else code_of(constant, name)) or last
    return last


def forked(work: Callable[[], int], timeout: float) -> int:
    """The exit status of `work` in a fork; -1 where it was killed or took longer."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            status = work()
        finally:
            os._exit(status)
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


COLD = 98
"""The exit status of a fork in which the function could not be replaced."""


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
    os.chdir(ROOT)
    files = [f for path in options.source for f in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    texts = {file.resolve(): file.read_text() for file in files}
    places = [(file, i) for file, text in texts.items() for i, _ in enumerate(sites(ast.parse(text)))]
    chosen = random.Random(options.seed).sample(places, min(options.n, len(places)))
    arguments = ["-q", "-x", "-n0", "-p", "no:cacheprovider"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins imported before pytest is told
    arguments += ["-k", options.deselect] if options.deselect else []
    tests = [t for path in options.tests for t in (sorted(map(str, Path(path).rglob("test_*.py"))) or [path])]
    os.environ["OMP_NUM_THREADS"] = "1"
    os.nice(5)  # this is a long job beside others
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:  # an extra that is not installed
            continue
    survivors, ran, began = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copied, ignore=shutil.ignore_patterns("__pycache__"))
        sys.path.insert(0, str(copied))
        # Processes that tests start see the mutant only where it is on the disk.
        os.environ["PYTHONPATH"] = str(copied)

        def run_tests(mutated: Path | None = None) -> int:
            stem = "" if mutated is None else mutated.stem
            # Those of the mutated file first: they are the likeliest to notice, and the first to fail is the last.
            return int(pytest.main([*arguments, *sorted(tests, key=lambda t: f"test_{stem}" not in t)]))

        def run_replaced(mutated: CodeType, functions: list[FunctionType], file: Path) -> int:
            for function in functions:
                try:
                    function.__code__ = mutated
                except ValueError:  # it refers to fewer variables of its surroundings
                    return COLD
            return run_tests(file)

        # The warm process is this one's child, so that this one stays without the package.
        questions, answers = os.pipe(), os.pipe()
        server = os.fork()
        if server == 0:
            os.close(questions[1])
            with os.fdopen(questions[0]) as lines, os.fdopen(answers[1], "w") as replies:
                output = os.dup(1)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                status = run_tests() or forked(run_tests, options.timeout)  # a second run may differ from the first
                os.dup2(output, 1)
                replies.write(f"{status}\n")
                replies.flush()
                living = functions_under(copied)
                gc.freeze()  # what is frozen stays shared with forks
                for line in lines:
                    file, index = places[int(line)]
                    tree = ast.parse(texts[file])
                    node = list(sites(tree))[index]
                    name, target = function_of(tree, node), str(copied / file.relative_to(ROOT / "src"))
                    mutate(node)
                    functions = living.get((target, name or ""), [])
                    status = COLD
                    if name and functions:
                        code = code_of(compile(ast.fix_missing_locations(tree), target, "exec"), name)
                        assert code is not None
                        status = forked(lambda c=code, f=functions, m=file: run_replaced(c, f, m), options.timeout)
                    replies.write(f"{status}\n")
                    replies.flush()
            os._exit(0)
        os.close(answers[1])
        with os.fdopen(questions[1], "w") as asked, os.fdopen(answers[0]) as replies:
            if int(replies.readline() or -1) != 0:
                sys.exit("the tests fail without a mutant")
            for place in chosen:
                if time.monotonic() - began > 60 * options.minutes:
                    break
                asked.write(f"{places.index(place)}\n")
                asked.flush()
                status = int(replies.readline() or -1)
                file, index = place
                tree = ast.parse(texts[file])
                node = list(sites(tree))[index]
                line, what = getattr(node, "lineno", 0), mutate(node)
                if status == COLD:
                    target = copied / file.relative_to(ROOT / "src")
                    target.write_text(ast.unparse(ast.fix_missing_locations(tree)))
                    shutil.rmtree(target.parent / "__pycache__", ignore_errors=True)
                    status = forked(lambda m=file: run_tests(m), options.timeout)
                    target.write_text(texts[file])
                    shutil.rmtree(target.parent / "__pycache__", ignore_errors=True)
                ran += 1
                if status == 0:
                    survivors.append(f"{file.relative_to(ROOT)}:{line}  {what}")
                    sys.stdout.write(f"survived  {survivors[-1]}\n")
                    sys.stdout.flush()
        os.waitpid(server, 0)
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
