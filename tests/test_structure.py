"""The shape of the library: one meaning per public name, files and functions of a readable size, few fragments."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import regard

ROOT = Path(regard.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 80
MOST_IGNORED_TYPES = 20
MOST_FRAGMENTS = 0.44
"""Share of the private functions that are used in one place only."""


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield file, node


def test_a_public_name_has_one_meaning() -> None:
    """A command of the command line has the name of the function that it calls."""
    places = defaultdict(set)
    for file, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(file.relative_to(ROOT).as_posix())
    commands = {"cli.py", "commands/answering.py"}
    several = {name: sorted(files - commands) for name, files in places.items() if len(files - commands) > 1}
    assert not several, f"rename all but one, or merge them: {several}"


def test_files_and_functions_can_be_read_in_one_sitting() -> None:
    long = [
        f"{f.relative_to(ROOT)}: {n}" for f in FILES if (n := len(f.read_text().splitlines())) > MOST_LINES_OF_A_FILE
    ]
    for file, function in functions():
        assert function.end_lineno is not None
        n_lines = function.end_lineno - function.lineno + 1
        if n_lines > MOST_LINES_OF_A_FUNCTION:
            long.append(f"{file.relative_to(ROOT)}: {function.name}: {n_lines}")
    assert not long


def test_types_are_rarely_ignored() -> None:
    ignored = [f"{f.relative_to(ROOT)}" for f in FILES for line in f.read_text().splitlines() if "type: ignore" in line]
    assert len(ignored) <= MOST_IGNORED_TYPES, ignored


def test_a_library_prints_nothing() -> None:
    printing = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_few_fragments_exist_only_to_shorten_a_function() -> None:
    """A private function that is used in one place is a real idea with a name, or its lines belong into that place."""
    private = [
        (file, function.name)
        for file, function in functions()
        if re.match("_[^_]", function.name) and not function.decorator_list
    ]
    once = [(file, name) for file, name in private if len(re.findall(rf"\b{name}\b", file.read_text())) == 2]
    listed = ", ".join(f"{file.relative_to(ROOT)} {name}" for file, name in once)
    assert len(once) <= MOST_FRAGMENTS * len(private), f"{len(once)} of {len(private)} are used once: {listed}"
