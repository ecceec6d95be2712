"""The prior over tables, and rows as people keep them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.domains.tables.draws import Draws
from regard.domains.tables.prior import TablePrior
from regard.domains.tables.reader import numbers_and_words, read_csv
from regard.errors import ConfigError, DataError
from regard.evaluation import evaluate
from regard.learners.nearest_neighbour import NearestNeighbour
from regard.nn.flat import Flat
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.sampling import EpisodeSource


def prior(**options: object) -> TablePrior:
    return TablePrior(**{"n_shot": (10, 30), "n_query": 20, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("n_way", [(2, 10), 0])
def test_a_table_is_a_function_of_its_number_alone(n_way: object) -> None:
    source = prior(n_way=n_way)
    assert isinstance(source, EpisodeSource)
    together = source(np.arange(16, 32))
    for number in (16, 23, 31):
        alone, one = source([number]), together.tasks(slice(number - 16, number - 15))
        for a, b in ((alone.support, one.support), (alone, one)):
            assert torch.equal(getattr(a, "x", alone.query_x)["x"], getattr(b, "x", one.query_x)["x"])
        assert torch.equal(alone.support.y, one.support.y)
        assert torch.equal(alone.query_y, one.query_y)
    other = prior(n_way=n_way, seed=1)(np.arange(16, 32))
    assert other.support.y.shape != together.support.y.shape or not torch.equal(other.support.y, together.support.y)


def test_tables_are_of_many_kinds_and_all_are_legal() -> None:
    source = prior(n_shot=(10, 180))
    shapes, classes, missing, constant = set(), set(), 0, 0
    for group in range(30):
        episode = source(np.arange(16 * group, 16 * group + 16))
        support = episode.support
        support.check()
        asked = episode.query_weight > 0
        assert bool((support.one_hot().sum(1).gather(1, episode.query_y) > 0)[asked].all())
        # Names are 0, 1, ... without a gap.
        there = support.one_hot().sum(1) > 0
        assert bool((there == (torch.arange(10) < there.sum(1, keepdim=True))).all())
        x = support.x["x"]  # type: ignore[index]
        shapes.add(x.shape[1:])
        classes |= set(there.sum(1).tolist())
        missing += int(support.x["missing"].any((1, 2)).sum())  # type: ignore[index]
        constant += int((x.std(1) == 0).all(1).sum())
    assert len(shapes) > 25
    assert classes >= set(range(2, 10))
    assert 30 < missing < 200
    assert constant == 0


def test_targets_can_be_learned_and_are_not_given_away() -> None:
    right, chance = [], []
    for group in range(20):
        episode = prior(n_shot=100, n_query=40)(np.arange(16 * group, 16 * group + 16))
        learner = NearestNeighbour(Flat(), n_neighbours=5)
        x = {k: v.nan_to_num().float() for k, v in episode.query_x.items()}  # type: ignore[union-attr]
        state = learner.adapt(type(episode.support)(episode.support.x["x"], episode.support.y, n_classes=10))  # type: ignore[index]
        guess = learner.predict(state, x["x"]).argmax(-1)  # type: ignore[union-attr]
        right.append((guess == episode.query_y).double().mean(1))
        chance.append(episode.support.one_hot().mean(1).amax(1))
    above = (torch.cat(right) - torch.cat(chance)).mean()
    assert 0.05 < above < 0.6


def test_ranges_and_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="a group of 16"):
        prior()(np.arange(10, 20))
    with pytest.raises(DataError, match="from 2 to 10"):
        prior(n_way=(2, 11))
    with pytest.raises(DataError, match="n_shot"):
        prior(n_shot=(5, 2))
    with pytest.raises(ConfigError, match="are set in episodes"):
        load_data(Recipe.read("tables", ["data.n_way=3"]).data)
    with pytest.raises(ConfigError, match="did you mean 'n_features'"):
        load_data(Recipe.read("tables", ["data.n_feature=3"]).data)


@pytest.mark.parametrize("name", ["tables", "tables-regression"])
def test_the_recipe_has_parts_that_share_no_table(name: str) -> None:
    recipe = Recipe.read(name, ["evaluation.0.n_shot=20"])
    data = load_data(recipe.data)
    parts = [data.source(part, recipe.evaluation[0], 0)([0]) for part in ("train", "validation", "test")]
    seen = {float(p.support.x["x"].double().sum()) for p in parts}  # type: ignore[index]
    assert len(seen) == 3
    learner = recipe.learner.spec()
    assert learner.get("targets", "classes") == ("classes" if name == "tables" else "numbers")


def test_made_up_tables_are_evaluated_like_anything_else() -> None:
    from regard.learners.table_transformer import TableTransformer

    torch.manual_seed(0)
    learner = TableTransformer(d_cell=8, n_table_layers=1, d_row=8, n_row_layers=1, n_row_heads=2)
    result = evaluate(learner, prior(), 32, name="untrained")
    assert result.metrics["accuracy"].mean > 0.4


def test_draws_are_even_and_normal() -> None:
    draws = Draws(0, np.arange(200))
    normal = draws.normal(101)
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert np.bincount(draws.choice((1, 3), 100).ravel())[1] / 20_000 == pytest.approx(0.75, abs=0.02)
    assert sorted(draws.order(5, 2)[3, 1].tolist()) == [0, 1, 2, 3, 4]
    assert draws.below(3, 50).max() == 2


def test_csv_files_with_and_without_names(tmp_path: Path) -> None:
    plain = tmp_path / "a.csv"
    plain.write_text("1,red,?\n2,blue,3\n")
    names, rows = read_csv(plain)
    assert names == ["column 0", "column 1", "column 2"]
    assert numbers_and_words(rows)[1].tolist() == [2.0, "blue", 3.0]
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(b"size,colour\n1,red\n"))
    assert read_csv(packed) == (["size", "colour"], [["1", "red"]])
    plain.write_text("1,2\n3\n")
    with pytest.raises(DataError, match="each line as long"):
        read_csv(plain)
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(tmp_path / "absent.csv")
