"""N processes give what one gives, bit for bit, in the same order."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from regard.errors import ConfigError, EpisodeError
from regard.evaluation import METRICS, TARGET_METRICS, compare_learners, evaluate, to_json
from regard.evaluation.processes import map_in_order
from regard.learners import CrossTransformer, Matching, Prototypical
from regard.learners.base import Learner
from regard.nn.conv4 import Conv4
from regard.nn.flat import Flat
from regard.nn.mlp import MLP
from regard.sampling import Dataset, EpisodeSampler
from regard.sampling.functions import Sinusoids


def sampler(n_way: tuple[int, int] = (2, 5)) -> EpisodeSampler:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (90, 8, 8), generator=generator, dtype=torch.uint8)
    return EpisodeSampler(Dataset.of(x, torch.arange(10).repeat_interleave(9)), n_way, (1, 3), 2, seed=7)


def learners() -> dict[str, Learner]:
    torch.manual_seed(0)
    small = partial(Conv4, n_filters=8, n_halvings=2, image_size=8)
    return {
        "encoded vectors": Prototypical(small()),
        "encoded maps": CrossTransformer(small(parts=True), d_head=4),
        "transductive": Prototypical(small(norm="transductive")),
    }


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("name", list(learners()))
def test_processes_leave_no_trace_in_a_result(name: str, processes: int) -> None:
    one, several = (evaluate(learners()[name], sampler(), 21, processes=n) for n in (1, processes))
    assert list(several.per_episode) == list(METRICS)
    for metric in METRICS:
        assert np.array_equal(several.per_episode[metric], one.per_episode[metric]), metric
    documents = [to_json([result], raw=True)["results"][0] for result in (one, several)]
    for document in documents:
        del document["seconds"]
    assert documents[0] == documents[1]


def test_numbers_and_uneven_shares() -> None:
    learner, source = Matching(MLP(1, 8)), Sinusoids(n_shot=5, n_query=6, seed=2)
    one, several = (evaluate(learner, source, 5, batch=1, processes=n) for n in (1, 2))
    for metric in TARGET_METRICS:
        assert np.array_equal(several.per_episode[metric], one.per_episode[metric]), metric


def test_comparisons_are_the_same() -> None:
    chosen = {name: learners()[name] for name in ("encoded vectors", "encoded maps")}
    one, several = (compare_learners(chosen, sampler(), 9, processes=n)[1] for n in (1, 2))
    assert one == several


def test_the_mode_of_the_learner_travels_and_comes_back() -> None:
    learner = learners()["encoded vectors"].train()
    evaluate(learner, sampler(), 4, processes=2)
    assert learner.training


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(Prototypical(Flat()), sampler(), 5, batch=2, processes=2, progress=lambda *done: seen.append(done))
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 7])
def test_every_item_once_and_in_order(n_items: int) -> None:
    assert list(map_in_order(float, range(n_items), 3)) == [float(i) for i in range(n_items)]


def test_processes_compute_with_our_dtype_and_threads() -> None:
    def numerics(_: int) -> tuple[torch.dtype, int]:  # defined here: a learner of a notebook is, too
        return torch.get_default_dtype(), torch.get_num_threads()

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        got = list(map_in_order(numerics, range(2), 2))
    finally:
        torch.set_default_dtype(before)
    assert got == [(torch.float64, torch.get_num_threads())] * 2


def test_mistakes_of_a_process_are_ours() -> None:
    with pytest.raises(EpisodeError, match="classifies"):
        evaluate(Prototypical(Flat()), Sinusoids(n_shot=5, n_query=6), 4, batch=1, processes=2)
    with pytest.raises(ConfigError, match="processes is 0"):
        evaluate(Prototypical(Flat()), sampler(), 4, processes=0)
    with pytest.raises(ConfigError, match="processes is -1"):
        list(map_in_order(abs, [1, 2], -1))
