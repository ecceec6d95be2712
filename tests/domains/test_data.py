"""Data of a recipe: splits, samplers and generated tasks, each with its options and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.domains.arrays.reader import ArrayReader
from regard.domains.data import GeneratedData, LabelledData, describe_items
from regard.domains.options import EpisodeOptions, GroupedEpisodeOptions, GroupedTrainingOptions
from regard.domains.registry import find_domain
from regard.errors import ConfigError, DataError, RegardError
from regard.sampling import Dataset, EpisodeSampler
from regard.sampling.functions import Sinusoids

ARRAYS = find_domain("arrays")


def dataset(n_classes: int, start: float = 0.0) -> Dataset:
    y = torch.arange(n_classes).repeat_interleave(4)
    x = start + torch.arange(float(4 * n_classes))[:, None]
    groups = tuple("even" if c % 2 == 0 else "odd" for c in range(n_classes))
    return Dataset(x, y, tuple(f"c{c:02d}" for c in range(n_classes)), groups)


def labelled(**changes: Any) -> LabelledData:
    splits = {"train": dataset(12), "validation": dataset(6, 100.0), "test": dataset(8, 200.0)}
    return LabelledData(ARRAYS, "toy", **{"splits": splits, "reader": ArrayReader(), **changes})


SMALL = GroupedEpisodeOptions(n_way=3, n_shot=1, n_query=2)


def test_each_split_gives_episodes_of_its_own_items() -> None:
    data = labelled()
    for split, low, high in (("train", 0, 48), ("validation", 100, 124), ("test", 200, 232)):
        source = data.source(split, SMALL, seed=3)
        x = source(range(20)).support.x
        assert isinstance(source, EpisodeSampler) and source.seed == 3
        assert (source.n_way, source.n_shot, source.n_query) == ((3, 3), (1, 1), 2)
        assert low <= float(x.min()) and float(x.max()) < high  # type: ignore[union-attr]
    assert torch.equal(data.training(SMALL, 3)(range(4)).query_x, data.source("train", SMALL, 3)(range(4)).query_x)


def test_options_reach_the_sampler() -> None:
    data = labelled()
    grouped = data.source("train", GroupedEpisodeOptions(n_way=3, within_groups=True, n_query=2), 0)
    rows = grouped.rows(range(30))
    chosen = data.splits["train"].y[rows.support] % 2
    assert grouped.within_groups and bool((chosen == chosen[:, :1]).all())
    assert not data.source("train", SMALL, 0).within_groups
    numbered = data.training(GroupedTrainingOptions(n_way=3, n_query=2, labels="data"), 0)
    assert numbered.rows(range(2)).n_classes == 12
    assert data.training(GroupedTrainingOptions(n_way=3, n_query=2), 0).rows(range(2)).n_classes == 3


def test_a_transform_changes_training_items_alone() -> None:
    class Shifting(LabelledData):
        def transform(self, episodes: EpisodeOptions) -> Any:
            class Shift:
                n_noise = 1

                def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
                    return x + 1000

            return Shift()

    splits = {"train": dataset(12), "test": dataset(12)}
    data = Shifting(ARRAYS, "toy", splits, ArrayReader())
    assert float(data.training(SMALL, 0)([0]).support.x.min()) >= 1000  # type: ignore[union-attr]
    assert float(data.source("train", SMALL, 0)([0]).support.x.max()) < 1000  # type: ignore[union-attr]


def test_the_split_that_is_evaluated() -> None:
    assert labelled().evaluation_split == "test"
    assert labelled(splits={"train": dataset(4), "validation": dataset(4)}).evaluation_split == "validation"
    assert labelled().split_title("test", SMALL) == "toy/test"


def test_an_unknown_split_is_named() -> None:
    for call in (lambda d: d.split("tset"), lambda d: d.source("tset", SMALL, 0)):
        with pytest.raises(DataError, match="no split 'tset': did you mean 'test'"):
            call(labelled())


def test_labelled_items_need_classes_and_one_number_of_queries() -> None:
    for episodes in (EpisodeOptions(n_way=0), EpisodeOptions(n_way=3, n_query=(1, 2))):
        with pytest.raises(ConfigError, match="labelled items need an n_way"):
            labelled().source("test", episodes, 0)


def test_fewer_training_classes_are_among_more() -> None:
    data = labelled()
    names = [set(data.training_on(n, seed=1).split("train").class_names) for n in (2, 5, 12)]
    assert [len(n) for n in names] == [2, 5, 12] and names[0] < names[1] < names[2]
    assert set(data.training_on(5, seed=2).split("train").class_names) != names[1]
    assert data.training_on(2).split("test") is data.split("test")
    for n in (1, 13):
        with pytest.raises(ConfigError, match=f"n_training_classes is {n}: expected 2 to 12"):
            data.training_on(n)


def test_things_show_better_than_items_where_there_are_some() -> None:
    data = labelled(things={"test": ["a", "b", "c"]})
    assert data.thing("test", 2) == "c"
    assert float(data.thing("validation", 3)) == 103.0


def test_items_are_described_with_views_only_where_there_are_several() -> None:
    assert describe_items(ARRAYS, ArrayReader()) == {"domain": "arrays", "reader": {}}
    assert labelled(n_views=3).items == {"domain": "arrays", "reader": {}, "n_views": 3}


# ---- generated -------------------------------------------------------------------------------------------------------


def generated(**options: Any) -> GeneratedData:
    return GeneratedData(find_domain("functions"), "sinusoids", Sinusoids, ArrayReader(), options)


NUMBERS = EpisodeOptions(n_way=0, n_shot=4, n_query=3)


def test_splits_of_generated_tasks_share_none() -> None:
    data = generated()
    made = {s: data.source(s, NUMBERS, 7)(range(50)).support.x.numpy() for s in ("train", "validation", "test")}
    points = [set(np.round(x.ravel(), 9).tolist()) for x in made.values()]
    assert all(len(p) == 200 for p in points)
    for i in range(3):
        for j in range(i):
            assert len(points[i] & points[j]) < 5, "two splits draw the same numbers"
    np.testing.assert_array_equal(made["train"], data.training(NUMBERS, 7)(range(50)).support.x.numpy())
    # The tests of a seed are those of the sampler by itself.
    np.testing.assert_array_equal(made["test"], Sinusoids(4, 3, seed=7)(range(50)).support.x.numpy())


def test_options_of_generated_tasks() -> None:
    flat = generated(amplitude=(0.0, 0.0)).source("test", NUMBERS, 0)([0])
    assert float(flat.support.y.abs().max()) == 0.0
    assert flat.support.y.shape == (1, 4, 1) and flat.query_y.shape == (1, 3, 1)
    assert generated().items == {"domain": "functions", "reader": {}}


@pytest.mark.parametrize("option", ["n_shot", "n_query", "seed", "stream"])
def test_rows_and_seeds_are_set_elsewhere(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{option}: numbers of rows and classes are set in episodes"):
        generated(**{option: 3})


def test_mistakes_of_generated_data_are_named() -> None:
    with pytest.raises(RegardError, match="did you mean 'amplitude'"):
        generated(amplitud=(1.0, 2.0))
    with pytest.raises(DataError, match="no split 'tran': did you mean 'train'"):
        generated().source("tran", NUMBERS, 0)
