"""AssayPrototypes: structure is trusted as far as leaving out the examples one by one bears it out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from regard.episode import Items, Support
from regard.learners.assay_prototypes import AssayPrototypes, left_out
from regard.nn.encoder import Encoder

N_COUNTS, N_ANSWERS = 6, 3


class Blocks(Encoder):
    """Vectors as they are: counts, the answers of one group, and the kind."""

    parts = False
    n_features = N_COUNTS + N_ANSWERS + 1
    n_fixed_features = N_COUNTS
    blocks: ClassVar[dict[str, tuple[int, int]]] = {"counts": (0, 6), "file 0": (6, 9), "kind": (9, 10)}

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        return x


def support(counts: Tensor, answers: Tensor, y: Tensor) -> Support:
    x = torch.cat([counts, answers, torch.zeros(len(y), 1)], -1)[None].double()
    return Support(x, y[None], torch.ones(1, len(y)).double(), int(y.max()) + 1)


def random_support(n: int, n_classes: int = 2, seed: int = 0) -> Support:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 3, (n, N_COUNTS), generator=generator).double()
    return support(counts, torch.randn(n, N_ANSWERS, generator=generator), torch.arange(n) % n_classes)


def trust(learner: AssayPrototypes, rows: Support) -> float:
    """The share of structure in the answer to the first row."""
    return float(learner.trust(learner.adapt_encoded(rows), rows.x)[0, 0])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_left_out_equals_prototypes_of_the_other_rows(n_classes: int) -> None:
    rows, learner = random_support(7, n_classes), AssayPrototypes(Blocks())
    logits, left = left_out(rows, learner.kernels(rows.x, rows.x))
    assert left.all()
    for i in range(7):
        rest = [j for j in range(7) if j != i]
        k = learner.kernels(rows.x, rows.x)[0]
        for c in range(n_classes):
            of_class = [j for j in rest if rows.y[0, j] == c]
            expected = k[:, i, of_class].mean(-1) - k[:, of_class][:, :, of_class].mean((1, 2)) / 2
            torch.testing.assert_close(logits[0, :, i, c], expected, rtol=1e-12, atol=1e-12)


def test_an_item_is_left_out_with_its_repeats() -> None:
    rows = random_support(6)
    weight = torch.tensor([[1.0, 2.0, 0.5, 1.0, 1.0, 0.0]]).double()
    heavy = replace(rows, weight=weight)
    where = [0, 1, 1, 2, 2, 3, 4]
    apart = Support(rows.x[:, where], rows.y[:, where], torch.tensor([[1, 1, 1, 0.25, 0.25, 1, 1]]).double(), 2)
    learner = AssayPrototypes(Blocks())
    assert trust(learner, heavy) == pytest.approx(trust(learner, apart), abs=1e-12)


def test_structure_is_trusted_where_it_foretells_the_examples_and_learned_answers_where_these_do() -> None:
    y = torch.arange(20) % 2
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20, N_ANSWERS, generator=generator)
    told = torch.where(y[:, None] == 1, 2.0, -2.0) + 0.1 * noise
    same = torch.randint(0, 2, (20, N_COUNTS), generator=generator).double()
    apart = torch.cat([3 * y[:, None].double(), 3 - 3 * y[:, None].double(), same[:, 2:]], -1)
    learner = AssayPrototypes(Blocks())
    by_structure, by_answers = trust(learner, support(apart, noise, y)), trust(learner, support(same, told, y))
    before = 1 / (1 + math.exp(-1))
    assert by_structure > 0.8 > before > 0.5 > by_answers
    never = AssayPrototypes(Blocks(), structure_evidence=0.0)
    assert trust(never, support(apart, noise, y)) == pytest.approx(before)


def test_one_example_per_class_leaves_the_prior() -> None:
    rows = random_support(2)
    assert trust(AssayPrototypes(Blocks()), rows) == pytest.approx(1 / (1 + math.exp(-1)))
    assert trust(AssayPrototypes(Blocks(), structure=0.5), rows) == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_an_empty_support_answers_evenly() -> None:
    rows = replace(random_support(4), weight=torch.zeros(1, 4).double())
    learner = AssayPrototypes(Blocks())
    state = learner.adapt_encoded(rows)
    assert torch.equal(learner.predict_encoded(state, rows.x), torch.zeros(1, 4, 2).double())


class Familiar(Blocks):
    """With the familiarity and two descriptors besides."""

    n_features = 13
    blocks: ClassVar = {**Blocks.blocks, "familiarity": (10, 11), "descriptors": (11, 13)}


def with_more(rows: Support, familiarity: Tensor, descriptors: Tensor) -> Support:
    return replace(rows, x=torch.cat([rows.x, familiarity[None, :, None], descriptors[None]], -1))


def test_structure_is_trusted_where_support_and_query_are_unlike_the_training_set() -> None:
    rows = random_support(2)
    known = torch.tensor([1.0, 0.35, 0.1]).double()
    queries = torch.cat([rows.x[:, [0, 0, 0]], known[None, :, None], torch.zeros(1, 3, 2).double()], -1)
    learner = AssayPrototypes(Familiar())
    for familiarity, weight, mean in (([0.3, 0.5], [1.0, 1.0], 0.4), ([0.2, 0.6], [3.0, 1.0], 0.3)):
        more = with_more(rows, torch.tensor(familiarity).double(), torch.zeros(2, 2).double())
        state = learner.adapt_encoded(replace(more, weight=torch.tensor([weight]).double()))
        expected = torch.sigmoid(1 + 24 * (0.35 - mean) + 4 * (mean - known))
        torch.testing.assert_close(learner.trust(state, queries)[0], expected)
    assert learner.blocks == ((6, 9),)


def test_descriptors_have_their_share_in_the_likeness_of_structures() -> None:
    descriptors = torch.tensor([[0.0, 0.0], [1.0, 2.0]]).double()
    rows = with_more(random_support(2), torch.ones(2).double(), descriptors)
    bare, none, some = (
        AssayPrototypes(encoder, descriptors=share).kernels(rows.x, rows.x)[0, -1]
        for encoder, share in ((Blocks(), 0.3), (Familiar(), 0.0), (Familiar(), 0.3))
    )
    assert torch.equal(bare, none)
    torch.testing.assert_close(some[0, 1], 0.7 * none[0, 1] + 0.3 * math.exp(-5 / 4))
    torch.testing.assert_close(some.diagonal(), torch.ones(2).double())


def test_the_share_of_descriptors_grows_with_the_familiarity_of_the_support() -> None:
    learner, rows = AssayPrototypes(Familiar()), random_support(2)
    for familiarity in (0.1, 0.35, 0.6):
        more = with_more(rows, torch.full((2,), familiarity).double(), torch.ones(2, 2).double())
        expected = 0.2 / (1 + math.exp(-20 * (familiarity - 0.35)))
        assert float(learner.adapt_encoded(more).descriptors) == pytest.approx(expected)
    assert float(AssayPrototypes(Blocks()).adapt_encoded(rows).descriptors) == 0
