"""Molecules that are the same to a fingerprint: Tanimoto similarity 1."""

from __future__ import annotations

from collections import defaultdict

from regard.domains.base import NearCopy, digests
from regard.episode import Items


def equal_fingerprints(a: Items, b: Items) -> list[NearCopy] | None:
    """Pairs of equal counts; None where the items have none."""
    if not isinstance(a, dict) or not isinstance(b, dict) or "counts" not in a or "counts" not in b:
        return None
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests(b["counts"])):
        rows[digest].append(row)
    return [
        NearCopy(row, other, 1.0, "of equal fingerprint, Tanimoto")
        for row, digest in enumerate(digests(a["counts"]))
        for other in rows.get(digest, ())
    ]
