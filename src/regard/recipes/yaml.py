"""YAML as recipes and `--set` have it: the core schema of YAML 1.2, in one reader, with limits, and errors of one line.

So 1e-3 is a number; yes, on, 12:30 and 2024-01-01 are words; a key that stands twice is an error; no tag makes anything
but text, numbers, true, false, null, lists and mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

from regard.errors import ConfigError
from regard.limits import YAML_BYTES, YAML_DEPTH, YAML_VALUES

_TAG = "tag:yaml.org,2002:"


def read_yaml(content: str | bytes, name: str) -> Any:
    """One document of plain values.

    Args:
        content: text, or bytes in UTF-8 or, with a byte order mark, UTF-16.
        name: of the file or the setting, for messages.

    Raises:
        ConfigError: in one line: not YAML, not text, too large, or more than plain values.
    """
    if len(content) > YAML_BYTES:
        raise ConfigError(f"{name} has {len(content):,} bytes: expected at most {YAML_BYTES:,} of YAML.")
    try:
        text = content if isinstance(content, str) else _decoded(content)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ConfigError(f"{name} is not YAML{where}: {' '.join(str(reason).split())[:200]}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name} is not text in UTF-8 (byte {error.start}): expected YAML; save it as UTF-8."
        ) from None


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


class _Loader(yaml.SafeLoader):
    """Composes and constructs plain values only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as in PyYAML)
    yaml_constructors: dict[str | None, Any] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > YAML_DEPTH:
            raise yaml.YAMLError(f"more than {YAML_DEPTH} lists and mappings within each other")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def text(self, node: yaml.Node) -> str:
        value = self.construct_scalar(node)  # pyright: ignore[reportArgumentType]
        if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
            raise _error("text with a character that is none", node)
        return value

    def null(self, node: yaml.Node) -> None:
        return None

    def truth(self, node: yaml.Node) -> bool:
        return self.text(node).lower() == "true"

    def integer(self, node: yaml.Node) -> int:
        value = self.text(node)
        try:
            number = int(value[2:], {"0o": 8, "0x": 16}[value[:2]]) if value[:2] in ("0o", "0x") else int(value)
        except ValueError:
            raise _error(f"{value[:40]!r} is not a whole number", node) from None
        if abs(number) >= 2**63:
            raise _error(f"the number {value[:40]} has more than 63 bits", node)
        return number

    def real(self, node: yaml.Node) -> float:
        value = self.text(node)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _error(f"{value[:40]!r} is not a finite number", node)
        return number

    def listed(self, node: yaml.Node) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise _error("expected a list", node)
        return [self.construct_object(child, deep=True) for child in node.value]  # type: ignore[no-untyped-call]

    def mapped(self, node: yaml.Node) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _error("expected a mapping", node)
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, str):
                raise _error(f"the key {key!r:.40} is not a word", key_node)
            if key in content:
                raise _error(f"the key {key[:40]!r} stands twice", key_node)
            content[key] = self.construct_object(value_node, deep=True)  # type: ignore[no-untyped-call]
        return content

    def unknown(self, node: yaml.Node) -> Any:
        raise _error(f"the tag {node.tag[:60]!r} stands for more than plain values", node)


def _error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for, with aliases expanded."""
    if id(node) in counted:
        if not counted[id(node)]:
            raise _error("an alias of what it lies in", node)
        return counted[id(node)]
    counted[id(node)] = 0
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    total = 1 + sum(_count(child, counted) for child in children)
    if total > YAML_VALUES:
        raise _error(f"more than {YAML_VALUES:,} values, aliases expanded", node)
    counted[id(node)] = total
    return total


# The core schema, https://yaml.org/spec/1.2.2/#103-core-schema; what matches nothing is text.
for _name, _pattern, _starts in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _starts)
for _name, _construct in (
    ("null", _Loader.null),
    ("bool", _Loader.truth),
    ("int", _Loader.integer),
    ("float", _Loader.real),
    ("str", _Loader.text),
    ("seq", _Loader.listed),
    ("map", _Loader.mapped),
):
    _Loader.add_constructor(_TAG + _name, _construct)
_Loader.add_constructor(None, _Loader.unknown)  # type: ignore[arg-type]
