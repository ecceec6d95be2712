"""Episodes are pure functions of (seed, i), drawn evenly, padded where they are ragged, and never overlap."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from regard.episode import Episode
from regard.errors import DataError
from regard.sampling import rows as rows_module
from regard.sampling import scaled as scaled_module
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler
from regard.sampling.manifest import read_manifest, write_manifest
from regard.sampling.rows import plain_rows
from regard.sampling.scaled import scaled_rows


def numbered(sizes: list[int], groups: list[str] | None = None) -> Dataset:
    """Items that carry their own row number; class c has sizes[c] of them, shuffled."""
    order = np.random.default_rng(0).permutation(sum(sizes))
    y = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)[order])
    x = torch.arange(len(y))[:, None].float()
    return Dataset(x, y, tuple(f"c{c}" for c in range(len(sizes))), tuple(groups or ()))


def same(a: EpisodeRows, b: EpisodeRows) -> bool:
    names = ("number", "support", "support_y", "query", "query_y")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


SMALL = numbered([9, 7, 12, 8, 30, 7, 7, 9])
LARGE = numbered([200, 150, 300, 129, 180])  # beyond what is drawn by a sort: Floyd's way
SETTINGS = [
    (SMALL, {"n_way": 5, "n_shot": 2, "n_query": 3}),
    (SMALL, {"n_way": (2, 5), "n_shot": (1, 4), "n_query": 3}),
    (LARGE, {"n_way": 3, "n_shot": (1, 5), "n_query": 10}),
]


@pytest.mark.parametrize(("dataset", "sizes"), SETTINGS)
def test_an_episode_is_the_same_in_any_batch_and_order(dataset: Dataset, sizes: dict[str, int]) -> None:
    sampler = EpisodeSampler(dataset, **sizes, seed=3)
    together = sampler.rows(np.arange(20))
    order = np.random.default_rng(1).permutation(20)
    assert same(sampler.rows(order), together[torch.from_numpy(order)])
    for i in range(20):
        alone = EpisodeSampler(dataset, **sizes, seed=3).rows([i])
        assert same(alone, together[i : i + 1])


def test_batches_are_the_same_whatever_their_size() -> None:
    sampler = EpisodeSampler(SMALL, 3, 1, 2)
    whole = sampler(np.arange(5, 2505))
    for batch in (1000, 7):
        parts = [(e.support.x.clone(), e.query_x.clone()) for e in sampler.batches(2500, batch, start=5)]
        assert torch.equal(torch.cat([s for s, _ in parts]), whole.support.x)
        assert torch.equal(torch.cat([q for _, q in parts]), whole.query_x)


def test_labels_of_the_data_name_the_same_rows_by_their_class_in_it() -> None:
    again, kept = (EpisodeSampler(SMALL, (2, 5), (1, 3), 2, labels=labels) for labels in ("episode", "data"))
    rows, named = again.rows(range(50)), kept.rows(range(50))
    assert torch.equal(rows.support, named.support) and torch.equal(rows.query, named.query)
    for index, y in ((named.support, named.support_y), (named.query, named.query_y)):
        assert torch.equal(SMALL.y[index[index >= 0]], y[index >= 0])
    assert named.n_classes == 8 and rows.n_classes == 5
    kept(range(50)).check()


def test_seeds_differ_and_any_integer_is_one() -> None:
    seen = {EpisodeSampler(SMALL, seed=s, n_query=3).rows([0]).query.numpy().tobytes() for s in (0, 1, -1, 2**70 + 5)}
    assert len(seen) == 4


@pytest.mark.parametrize(("dataset", "sizes"), SETTINGS)
def test_rows_belong_to_their_class_and_never_repeat(dataset: Dataset, sizes: dict[str, int]) -> None:
    rows = EpisodeSampler(dataset, **sizes).rows(np.arange(200))
    for i in range(200):
        index = torch.cat([rows.support[i], rows.query[i]])
        label = torch.cat([rows.support_y[i], rows.query_y[i]])
        index, label = index[index >= 0], label[index >= 0]
        assert len(set(index.tolist())) == len(index)
        classes = {(int(a), int(b)) for a, b in zip(label, dataset.y[index], strict=True)}
        assert len(classes) == len({a for a, _ in classes}) == len({b for _, b in classes})


def counts_are_even(drawn: Tensor, n_options: int) -> bool:
    return bool(chisquare(np.bincount(drawn.numpy().ravel(), minlength=n_options)).pvalue > 1e-3)


@pytest.mark.parametrize("size", [20, 200])
def test_classes_and_rows_are_drawn_evenly_at_every_place(size: int) -> None:
    dataset = numbered([size] * 12)
    rows = EpisodeSampler(dataset, 4, 1, 2, seed=5).rows(np.arange(6000))
    classes = dataset.y[rows.support]
    assert all(counts_are_even(classes[:, way], 12) for way in range(4))
    # Two ways in a row: every ordered pair of different classes, evenly.
    pair = classes[:, 0] * 12 + classes[:, 1]
    different = np.delete(np.bincount(pair.numpy(), minlength=144), np.arange(12) * 13)
    assert chisquare(different).pvalue > 1e-3
    # Support and query rows, each counted by place within its class.
    place = torch.empty(len(dataset), dtype=torch.int64)
    for c in range(12):
        place[dataset.y == c] = torch.arange(size)
    assert counts_are_even(place[rows.support], size)
    assert counts_are_even(place[rows.query[:, 0]], size)
    assert counts_are_even(place[rows.query[:, 1]], size)


def test_every_row_of_a_ragged_class_is_drawn_evenly() -> None:
    dataset = numbered([3, 5, 17])
    rows = EpisodeSampler(dataset, 3, 1, 1).rows(np.arange(5000))
    for c, size in enumerate((3, 5, 17)):
        drawn = rows.support[dataset.y[rows.support] == c]
        counts = np.bincount(drawn.numpy(), minlength=len(dataset))[dataset.y.numpy() == c]
        assert len(counts) == size
        assert chisquare(counts).pvalue > 1e-3


def test_ranges_of_ways_and_shots_are_padded_by_weight() -> None:
    sampler = EpisodeSampler(SMALL, (2, 5), (1, 4), 3)
    episode = sampler(np.arange(500)).check()
    assert episode.n_classes == 5
    shots = episode.support.membership().sum(1)
    assert Counter((shots > 0).sum(1).tolist()).keys() == {2, 3, 4, 5}
    assert Counter(shots.flatten().tolist()).keys() == {0, 1, 2, 3, 4}
    # Present ways come first, and a padded query asks for nothing.
    assert bool((shots[:, :2] > 0).all())
    assert torch.equal(episode.query_weight.view(500, 5, 3)[..., 0] > 0, shots > 0)
    assert bool((episode.query_y[episode.query_weight == 0] == 0).all())
    assert counts_are_even((shots > 0).sum(1) - 2, 4)


@pytest.mark.parametrize(("even", "expected"), [(False, [1000, 2000]), (True, [1500, 1500])])
def test_within_groups_keeps_to_one_group_in_proportion_to_its_classes_or_evenly(
    even: bool, expected: list[int]
) -> None:
    dataset = numbered([5] * 12, ["a"] * 3 + ["b"] * 6 + ["c"] * 2 + ["d"])
    sampler = EpisodeSampler(dataset, 3, 1, 2, within_groups=True, even_groups=even)
    classes = dataset.y[sampler.rows(np.arange(3000)).support]
    group = np.array(["abcd".index(g) for g in dataset.class_groups])[classes.numpy()]
    assert (group == group[:, :1]).all()
    # c and d are too small for three ways.
    assert chisquare(np.bincount(group[:, 0], minlength=4)[:2], expected).pvalue > 1e-3
    assert set(group[:, 0]) == {0, 1}


def test_rotations_are_classes_of_their_own() -> None:
    x = torch.randint(0, 256, (6, 5, 5), dtype=torch.uint8)
    plain = Dataset(x, torch.tensor([0, 0, 1, 1, 2, 2]), ("a", "b", "c"), ("g", "g", "h"))
    turned = plain.with_rotations()
    assert turned.n_classes == 12
    assert turned.class_groups == ("g", "g", "h") * 4
    index = turned.class_names.index("b@90")
    assert torch.equal(turned.x[turned.y == index], torch.rot90(x[2:4], 1, (1, 2)))
    with pytest.raises(DataError, match="square"):
        Dataset(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64), ("a",)).with_rotations()


class Shift:
    """Adds its noise, so that the noise can be seen."""

    n_noise = 2

    def __call__(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.cat([x, noise], 1)


def test_a_transform_gets_noise_of_its_episode_alone() -> None:
    sampler = EpisodeSampler(SMALL, 3, 1, 2, transform=Shift())
    together = sampler(np.arange(10))
    assert together.query_x.shape == (10, 6, 3)
    for i in (0, 7):
        alone = sampler([i])
        assert torch.equal(alone.query_x[0], together.query_x[i])
        assert torch.equal(alone.support.x[0], together.support.x[i])
    noise = torch.cat([together.support.x, together.query_x], 1)[..., 1:]
    assert noise.unique().numel() == noise.numel()
    assert 0 < float(noise.min()) < float(noise.max()) < 1


def bytes_dataset() -> Dataset:
    x = torch.randint(0, 256, (40, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Dataset(x, torch.arange(4).repeat_interleave(10), tuple("abcd"))


def test_float_pictures_are_the_bytes_over_255() -> None:
    plain, scaled = (EpisodeSampler(bytes_dataset(), 3, 2, 4, dtype=dtype)([0, 5]) for dtype in (None, torch.float64))
    assert plain.query_x.dtype == torch.uint8
    torch.testing.assert_close(scaled.query_x, plain.query_x.double() / 255)
    torch.testing.assert_close(scaled.support.x, plain.support.x.double() / 255)


@pytest.mark.parametrize("item", [(), (1,), (3, 5), (28, 28)])
def test_bytes_scaled_in_one_pass_are_those_of_several_bit_for_bit(item: tuple[int, ...]) -> None:
    x = torch.arange(40 * math.prod(item), dtype=torch.int64).to(torch.uint8).view(40, *item)
    scaled = scaled_rows(x)
    if scaled is None:
        pytest.skip("this PyTorch has no FBGEMM")
    index = torch.randint(0, 40, (300,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(scaled(index), x[index].float().mul_(1 / 255))
    assert torch.equal(pickle.loads(pickle.dumps(scaled))(index), scaled(index))


@pytest.mark.parametrize("why", ["no FBGEMM", "no such operator", "too many rows", "items too large"])
def test_where_one_pass_cannot_be_several_give_the_same(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_one = EpisodeSampler(bytes_dataset(), 3, 2, 4, dtype=torch.float32)([0, 5])
    engines = type("Engines", (), {"supported_engines": ["qnnpack"]})
    lacking = {
        "no FBGEMM": (torch.backends, "quantized", engines),
        "no such operator": (scaled_module, "_OPERATOR", "no_such_operator"),
        "too many rows": (scaled_module, "_LARGEST_RESULT", 10),
        "items too large": (scaled_module, "_LARGEST", 10),
    }
    monkeypatch.setattr(*lacking[why])
    sampler = EpisodeSampler(bytes_dataset(), 3, 2, 4, dtype=torch.float32)
    assert (sampler._scaled is not None) == (why == "too many rows")
    in_several = sampler([0, 5])
    assert torch.equal(in_several.support.x, in_one.support.x)
    assert torch.equal(in_several.query_x, in_one.query_x)


def test_a_batch_that_is_kept_keeps_its_pictures_though_memory_is_used_again() -> None:
    dataset = bytes_dataset()
    sampler = EpisodeSampler(dataset, 3, 2, 4, dtype=torch.float32)
    rows = [sampler.rows([i]) for i in range(50)]
    kept: list[Tensor] = []
    for i in range(50):
        episode: Episode = sampler([i])
        if i % 3 == 0:
            kept.append(episode.query_x[:, 1:])  # a view alone must hold the memory, too
    for i, query in zip(range(0, 50, 3), kept, strict=True):
        torch.testing.assert_close(query, dataset.x[rows[i].query[:, 1:]].float() / 255)


@pytest.mark.parametrize("small", [0, 2**22], ids=["other threads", "one thread"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("item", [(), (1,), (3, 5)])
def test_rows_gathered_are_those_of_indexing(
    item: tuple[int, ...], dtype: torch.dtype, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "_SMALL", small)
    x = torch.randint(0, 256, (40, *item), generator=torch.Generator().manual_seed(0)).to(dtype)
    plain = plain_rows(x)
    assert plain is not None
    for n in (300, 7, 0):
        index = torch.randint(0, 40, (n,), generator=torch.Generator().manual_seed(n))
        assert torch.equal(plain(index), x[index])
        assert torch.equal(pickle.loads(pickle.dumps(plain))(index), x[index])


@pytest.mark.parametrize("sizes", [[10] * 4, [9, 7, 12, 8]], ids=["equal", "unequal"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("kind", ["plain", "not contiguous", "with slopes", "a dict"])
def test_an_episode_holds_the_items_of_its_rows_however_they_lie_in_memory(
    sizes: list[int], shuffled: bool, kind: str
) -> None:
    order = np.random.default_rng(0).permutation(sum(sizes)) if shuffled else np.arange(sum(sizes))
    y = torch.from_numpy(np.repeat(np.arange(4), sizes)[order])
    x = torch.rand(len(y), 3, 5, generator=torch.Generator().manual_seed(0))
    lying = {"plain": x, "not contiguous": x.mT.contiguous().mT, "with slopes": x.clone().requires_grad_()}
    dataset = Dataset(lying.get(kind, {"x": x}), y, tuple("abcd"))
    sampler = EpisodeSampler(dataset, 3, (1, 2), 4, seed=1)
    assert (sampler._plain is not None) == (kind == "plain")
    rows, episode = sampler.rows(range(9)), sampler(range(9))
    for index, items in ((rows.support, episode.support.x), (rows.query, episode.query_x)):
        found = items["x"] if isinstance(items, dict) else items
        assert torch.equal(found, x[index.clamp_min(0)])


def test_rows_beyond_the_data_are_refused() -> None:
    sampler = EpisodeSampler(SMALL, 3, 1, 2)
    rows = sampler.rows([0])
    rows.query[0, 2] = len(SMALL)
    with pytest.raises(DataError, match=f"row {len(SMALL)} .* {len(SMALL)} items"):
        sampler.gather(rows)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_chosen_and_turned_classes_keep_their_items(dtype: torch.dtype) -> None:
    whole = bytes_dataset()
    dataset = Dataset(whole.x.to(dtype), whole.y, whole.class_names)  # type: ignore[union-attr]
    chosen = dataset.select_classes([3, 1])
    assert chosen.x.dtype == dtype  # type: ignore[union-attr]
    assert torch.equal(chosen.x[chosen.y == 0], dataset.x[dataset.y == 3])  # type: ignore[index]
    assert torch.equal(dataset.with_rotations().x[80:120], torch.rot90(dataset.x, 2, (1, 2)))  # type: ignore[index, arg-type]
    assert len(dataset.select_classes([])) == 0


def test_memory_is_used_again() -> None:
    sampler = EpisodeSampler(bytes_dataset(), 3, 2, 4)
    seen = {sampler([i]).query_x.data_ptr() for i in range(20)}
    assert len(seen) == 1
    first, second = sampler([0]), sampler([1])
    assert first.query_x.data_ptr() != second.query_x.data_ptr()


def test_a_sampler_travels_to_another_process() -> None:
    sampler = EpisodeSampler(bytes_dataset(), 3, 2, 4)
    sampler([0])
    again = pickle.loads(pickle.dumps(sampler))
    assert torch.equal(again([3]).query_x, sampler([3]).query_x)


def test_items_may_be_dicts() -> None:
    x = {"ids": torch.arange(40)[:, None].expand(40, 3), "mask": torch.ones(40, 3, dtype=torch.bool)}
    dataset = Dataset(x, torch.arange(4).repeat_interleave(10), tuple("abcd"))
    sampler = EpisodeSampler(dataset, 3, 2, 4)
    episode = sampler([0, 1])
    assert episode.query_x["ids"].shape == (2, 12, 3)  # type: ignore[index]
    assert torch.equal(episode.query_x["ids"][..., 0], sampler.rows([0, 1]).query)  # type: ignore[index]
    with pytest.raises(DataError, match="dict"):
        EpisodeSampler(dataset, 3, 2, 4, transform=Shift())([0])


def test_manifests_are_written_and_read_back(tmp_path) -> None:
    sampler = EpisodeSampler(SMALL, (2, 5), (1, 4), 3)
    rows = sampler.rows([3, 1, 4])
    write_manifest(tmp_path / "episodes.json", rows, SMALL)
    again = read_manifest(tmp_path / "episodes.json", SMALL)
    assert same(rows, again)
    assert again.n_classes == 5
    assert torch.equal(sampler.gather(again).query_x, sampler([3, 1, 4]).query_x)


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"format": "other"}', '{"format": "regard.manifest.1"}'])
def test_a_file_that_is_no_manifest_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "episodes.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"episodes\.json"):
        read_manifest(path, SMALL)


def test_a_manifest_of_other_data_or_with_rows_beyond_it_is_refused(tmp_path) -> None:
    path = tmp_path / "episodes.json"
    write_manifest(path, EpisodeSampler(SMALL, 3, 1, 2).rows([0]), SMALL)
    with pytest.raises(DataError, match="other data"):
        read_manifest(path, LARGE)
    content = json.loads(path.read_text())

    def edited(**changes: object) -> None:
        path.write_text(json.dumps(content | changes))
        read_manifest(path, SMALL)

    edited()
    query, first = content["query"][0], content["query"][0][0]
    for changes, said in (
        ({"query": [[len(SMALL), *query[1:]]]}, "query rows outside"),
        ({"support_y": [[3, 0, 0]]}, "support_y labels outside 0..2"),
        ({"query": [query[1:]]}, "do not fit"),
        ({"query": query}, "do not fit"),
        ({"number": [0, 1]}, "do not fit"),
        ({"query": [[str(first), *query[1:]]]}, "no table of integers"),
        ({"n_classes": 2**62}, "n_classes 4611686018427387904"),
        ({"n_classes": "3"}, "n_classes '3'"),
    ):
        with pytest.raises(DataError, match=said):
            edited(**changes)


BAD = [
    ({"n_way": 9}, "lower n_way"),
    ({"n_way": 0}, "n_way"),
    ({"n_shot": (3, 2)}, "n_shot"),
    ({"n_query": 0}, "n_query"),
    ({"n_query": 7}, "has 7 items, and n_shot \\+ n_query asks for 8 .3 classes"),
    ({"within_groups": True}, "groups"),
]


@pytest.mark.parametrize(("sizes", "message"), BAD)
def test_sizes_that_cannot_be_say_what_to_do(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        EpisodeSampler(SMALL, **{"n_query": 3, **sizes})  # type: ignore[arg-type]


def test_a_class_without_items_is_named_as_too_small() -> None:
    dataset = Dataset(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]), ("a", "b", "empty"))
    with pytest.raises(DataError, match="'empty' has 0"):
        EpisodeSampler(dataset, 2, 1, 1)
