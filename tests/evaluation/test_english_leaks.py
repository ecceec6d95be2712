"""The doctor finds the English of test sentences in training."""

from __future__ import annotations

import dataclasses
import random
import string

import pytest
import torch

pytest.importorskip("regex", reason="needs the extra translation")

from regard.domains.translation.pairs import Pair
from regard.domains.translation.protocol import EnglishSides, fix_queries
from regard.evaluation.leaks import OF_ENGLISH, find_leaks
from regard.learners import Prototypical
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler

RNG = random.Random(0)
ENGLISH = [" ".join("".join(RNG.sample(string.ascii_lowercase, 6)) for _ in range(5)) for _ in range(190)]


def findings(sides: EnglishSides | None) -> dict[str, tuple[str, str]]:
    """Verdict and proof of each check; the learner does not matter to them."""
    sampler = EpisodeSampler(Dataset.of(torch.randn(40, 4), torch.arange(10).repeat_interleave(4)), n_query=1)
    found = find_leaks(Prototypical(MLP(4)), sampler, n_episodes=2, checks=OF_ENGLISH, english=sides)
    return {finding.check: (finding.verdict, finding.proof) for finding in found}


def clean() -> EnglishSides:
    protocol = fix_queries({"ces": [Pair(f"w{i}", e, "ces") for i, e in enumerate(ENGLISH[:90])]}, n_queries=20)
    return EnglishSides.of(protocol, protocol.english(ENGLISH[90:]))


def test_clean_data_passes_and_other_data_is_no_matter() -> None:
    assert {verdict for verdict, _ in findings(clean()).values()} == {"passed"}
    assert {verdict for verdict, _ in findings(None).values()} == {"does not apply"}


@pytest.mark.parametrize("place", ["train", "supports"])
def test_a_query_with_its_english_elsewhere_is_found(place: str) -> None:
    sides = clean()
    leaked = sides.queries["ces"][3].upper() + "!"
    leaky = (
        dataclasses.replace(sides, train=[*sides.train, leaked])
        if place == "train"
        else dataclasses.replace(sides, supports={"ces": [*sides.supports["ces"], leaked]})
    )
    verdict, proof = findings(leaky)["no English side of a query is trained on"]
    assert verdict == "failed" and "1 of 20 queries of ces" in proof


def test_near_copies_are_counted_and_many_of_them_are_a_leak() -> None:
    sides = clean()
    for n_near, expected in ((4, "passed"), (15, "failed")):
        near = [f"{query} today" for query in sides.queries["ces"][:n_near]]
        verdict, proof = findings(dataclasses.replace(sides, train=[*sides.train, *near]))[
            "few English sides of queries are nearly trained on"
        ]
        assert verdict == expected and f"{n_near} of 20 queries" in proof and "such as" in proof
