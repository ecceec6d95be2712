"""The in-context transformer for tables; the laws are in tests/test_laws.py."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from regard.episode import Episode, Support
from regard.errors import ConfigError, EpisodeError
from regard.learners import table_transformer
from regard.learners.table_transformer import TableTransformer, class_codes
from regard.nn import table
from regard.testing import LAWS, check_learner, random_episode

SMALL = {"d_cell": 8, "n_table_layers": 2, "d_row": 12, "n_row_layers": 1, "n_row_heads": 2}


def small(**options: object) -> TableTransformer:
    return TableTransformer(**{**SMALL, **options}).double().eval()  # type: ignore[arg-type]


def episode(**options: int) -> Episode:
    return random_episode(0, **options).to(dtype=torch.float64)


def with_missing(rows: Episode, share: float = 0.2) -> Episode:
    generator = torch.Generator().manual_seed(0)

    def cells(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"x": x, "missing": torch.rand(x.shape, generator=generator) < share}

    s = rows.support
    support = Support(cells(s.x), s.y, s.weight, s.n_classes)  # type: ignore[arg-type]
    return Episode(support, cells(rows.query_x), rows.query_y, rows.query_weight)  # type: ignore[arg-type]


def test_missing_cells_keep_the_laws() -> None:
    check_learner(small, lambda seed: with_missing(random_episode(seed)))


def test_what_a_missing_cell_holds_is_not_looked_at() -> None:
    torch.manual_seed(0)
    learner, asked = small(), with_missing(episode())
    other = Episode(
        Support({**asked.support.x, "x": _filled(asked.support.x)}, asked.support.y, asked.support.weight),  # type: ignore[arg-type,dict-item]
        {**asked.query_x, "x": _filled(asked.query_x)},  # type: ignore[dict-item,arg-type]
        asked.query_y,
        asked.query_weight,
    )
    torch.testing.assert_close(learner(other), learner(asked))


def _filled(x: dict[str, torch.Tensor]) -> torch.Tensor:
    return x["x"].masked_fill(x["missing"], 1e3)


def test_codes_keep_the_laws() -> None:
    # A task with fewer classes has shorter codes when it is alone, and may answer otherwise.
    laws = [law for law in LAWS if law.__name__ != "a_batch_is_a_loop"]
    check_learner(lambda: small(n_codes=3, n_repeats=2), lambda seed: random_episode(seed, n_way=5), laws=laws)


@pytest.mark.parametrize("n_classes", [3, 10, 11, 26, 100, 101])
def test_codes_tell_classes_apart_with_few_digits(n_classes: int) -> None:
    codes = class_codes(n_classes, 10, 2)
    digits = 1 if n_classes <= 10 else 2 if n_classes <= 100 else 3
    assert codes.shape == (2 * digits, n_classes)
    assert codes.max() < 10
    for repeat in codes.chunk(2):
        assert len({tuple(code) for code in repeat.T.tolist()}) == n_classes


def test_more_classes_than_codes_are_learned() -> None:
    # Fifteen well separated groups: the untrained learner's experts know them already.
    torch.manual_seed(0)
    centre = torch.randn(15, 4, dtype=torch.float64) * 9
    y = torch.arange(15).repeat(4)
    x = centre[y] + torch.randn(60, 4, dtype=torch.float64)
    weight = torch.ones(1, 45, dtype=torch.float64)
    support = Support(x[None, :45], y[None, :45], weight, 15)
    learner = small()
    guess = learner.predict(learner.adapt(support), x[None, 45:])
    assert isinstance(guess, torch.Tensor)
    assert (guess.argmax(-1)[0] == y[45:]).double().mean() > 0.8


def test_a_column_of_another_unit_gives_the_same_answer() -> None:
    torch.manual_seed(0)
    learner, asked = small(), episode()
    unit = torch.tensor([1.0, 1e3, 1e-3, -2.0, 5.0, 1.0], dtype=torch.float64).abs()
    other = Episode(
        Support(asked.support.x * unit + 3, asked.support.y, asked.support.weight),  # type: ignore[operator]
        asked.query_x * unit + 3,  # type: ignore[operator]
        asked.query_y,
        asked.query_weight,
    )
    torch.testing.assert_close(learner(other), learner(asked))


def test_regression_follows_the_unit_of_its_target() -> None:
    torch.manual_seed(0)
    learner, asked = small(targets="numbers"), episode(n_targets=2)
    s = asked.support
    other = Support(s.x, 100 * s.y + 7, s.weight, 0)
    a, b = (learner.predict(learner.adapt(t), asked.query_x) for t in (s, other))
    torch.testing.assert_close(b.mean, 100 * a.mean + 7)  # type: ignore[union-attr]
    torch.testing.assert_close(b.stddev, 100 * a.stddev)  # type: ignore[union-attr]


def test_what_is_no_table_is_refused() -> None:
    asked = episode()
    with pytest.raises(EpisodeError, match="rows of at least one number"):
        small().adapt(Support(asked.support.x[..., None], asked.support.y))  # type: ignore[index]
    with pytest.raises(EpisodeError, match="a dict of 'x' and 'missing'"):
        small().adapt(Support({"ids": asked.support.x}, asked.support.y))  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="expected n_heads to divide"):
        small(n_row_heads=5)


@pytest.mark.parametrize("options", [{}, {"n_codes": 2, "n_repeats": 2}, {"targets": "numbers"}])
def test_many_rows_are_answered_from_rows_that_stand_for_them(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_transformer, "EXACT_ROWS", 20)
    monkeypatch.setattr(table_transformer, "N_ANCHORS", 12)
    monkeypatch.setattr(table, "EXACT_ROWS", 20)
    torch.manual_seed(0)
    learner, generator = small(**options), torch.Generator().manual_seed(0)
    x, query = (torch.randn(2, n, 3, dtype=torch.float64, generator=generator) for n in (30, 5))
    y = x[..., :1] if learner.regresses else torch.arange(30).remainder(3).expand(2, -1)
    weight = (torch.arange(30) % 7 > 0).double().expand(2, -1)

    def answer(rows: torch.Tensor) -> torch.Tensor:
        support = Support(x[:, rows], y[:, rows], weight[:, rows])
        output = learner.predict(learner.adapt(support), query)
        joined = learner(Episode(support, query, query[..., :1] if learner.regresses else torch.zeros(2, 5).long()))
        found = [torch.stack([o.mean, o.stddev]) if isinstance(o, Normal) else o for o in (output, joined)]
        torch.testing.assert_close(found[0], found[1])
        return found[0]

    whole = answer(torch.arange(30))
    torch.testing.assert_close(answer(torch.randperm(30, generator=generator)), whole)
    torch.testing.assert_close(answer(torch.arange(30)[weight[0] > 0]), whole)
    state = learner.adapt(Support(x, y, weight))
    assert state.opinions.known.rank.shape[1] == state.layers[0].key.shape[-2] == 12
