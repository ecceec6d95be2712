"""Words in the tokens of a model: which token may come next, if one of them is being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class SpellingTree:
    """Weighted words as a tree of tokens.

    Args:
        starts: tokens of each word at the start of a sentence, with its weight.
        inside: tokens of each word after another one, with its weight; the first of them may be a space.
    """

    def __init__(self, starts: Mapping[tuple[int, ...], float], inside: Mapping[tuple[int, ...], float]) -> None:
        self._starts, self._inside = _tree(starts), _tree(inside)

    def next_tokens(self, written: Sequence[int]) -> dict[int, float]:
        """Shares of the tokens that continue the word being written, or begin another one where it is complete.

        Args:
            written: tokens of the sentence so far.

        Returns:
            Shares that sum to 1; empty where what was written last is no beginning of a word.
        """
        if not written:
            return _shares(self._starts)
        found: dict[int, float] = {}
        for start in range(len(written)):  # the longest word that is being written comes first
            node = _walk(self._starts if start == 0 else self._inside, written[start:])
            if node is not None:
                for token, share in _shares(node).items():
                    found[token] = found.get(token, 0.0) + share
                if node.get("ends"):
                    for token, share in _shares(self._inside).items():
                        found[token] = found.get(token, 0.0) + share
                break
        total = sum(found.values())
        return {token: share / total for token, share in found.items()} if total else {}


def _tree(words: Mapping[tuple[int, ...], float]) -> dict[Any, Any]:
    root: dict[Any, Any] = {"weight": 0.0}
    for tokens, weight in words.items():
        if tokens and weight > 0:
            node = root
            node["weight"] += weight
            for token in tokens:
                node = node.setdefault(token, {"weight": 0.0})
                node["weight"] += weight
            node["ends"] = True
    return root


def _walk(node: dict[Any, Any], tokens: Sequence[int]) -> dict[Any, Any] | None:
    for token in tokens:
        if token not in node:
            return None
        node = node[token]
    return node


def _shares(node: Mapping[Any, Any]) -> dict[int, float]:
    children = {token: child["weight"] for token, child in node.items() if isinstance(token, int)}
    total = sum(children.values())
    return {token: weight / total for token, weight in children.items()} if total else {}
