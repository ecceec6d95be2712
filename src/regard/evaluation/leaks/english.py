"""Leaks of translation: the English of a test sentence that was trained on, in whatever language's pairs.

English sides repeat across languages, so that a learner may have seen the answer without having seen the question. An
oracle that returns the nearest training English already scores chrF 42 on Tatoeba, beside 20 for what is learned from
two hundred pairs.
"""

from __future__ import annotations

from regard.domains.translation.protocol import near_english
from regard.domains.translation.tokens import normalise_english
from regard.evaluation.leaks.context import Finding, LeakContext, judged

_NEAR, _USUAL = 0.8, 0.5
_ABSENT = "targets are no sentences"


def english_of_queries_is_new(context: LeakContext) -> Finding:
    """No query's English, normalised, stands in training or among the pairs of its own language."""
    check = "no English side of a query is trained on"
    sides = context.english
    if sides is None:
        return Finding(check, "does not apply", _ABSENT)
    train = {normalise_english(sentence) for sentence in sides.train}
    faults = []
    for language, queries in sides.queries.items():
        pool = {normalise_english(sentence) for sentence in sides.supports.get(language, ())}
        for place, known in (("in training", train), ("among its own pairs", pool)):
            shared = [query for query in queries if normalise_english(query) in known]
            if shared:
                faults.append(
                    f"{len(shared)} of {len(queries)} queries of {language} have their English {place}, such as "
                    f"{shared[0]!r:.60}"
                )
    n_queries = sum(map(len, sides.queries.values()))
    return judged(check, faults, f"{n_queries:,} queries, {len(train):,} training sentences of English; none shared")


def english_of_queries_has_few_near_copies(context: LeakContext) -> Finding:
    """Queries with a training sentence at cosine 0.8 are counted; where most have one, the data is no test."""
    check = "few English sides of queries are nearly trained on"
    sides = context.english
    if sides is None:
        return Finding(check, "does not apply", _ABSENT)
    queries = [query for of_language in sides.queries.values() for query in of_language]
    found = near_english(queries, list(sides.train), _NEAR)
    example = ""
    if found.count:
        i = int(found.nearest.argmax())
        example = f", such as {queries[i]!r:.50} near {sides.train[found.index[i]]!r:.50}"
    proof = f"{found}{example}"
    return judged(check, [proof] if found.count > _USUAL * len(queries) else [], proof)
