"""Domains by name, by data set and by entry point; and what a domain answers by default."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard.domains import registry
from regard.domains.arrays.reader import ArrayReader
from regard.domains.base import Domain, LearnerContext, Reader, digests
from regard.domains.options import EpisodeOptions
from regard.domains.registry import DOMAINS, all_domains, domain_names, domain_of_data, find_domain
from regard.domains.views import Identity
from regard.errors import ConfigError


class Plain(Domain):
    """Answers only what it must."""

    name = "plain"

    def data_sets(self) -> Mapping[str, Callable[..., Any]]:
        return {}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        return ArrayReader()


class Point:
    """An entry point."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def load(self) -> Any:
        return self.value


def with_points(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: list(points) if group == "regard.domains" else [])
    find_domain.cache_clear()


def test_every_domain_is_found_under_its_own_name_and_pickles_as_it() -> None:
    names = [domain.name for domain in all_domains()]
    assert tuple(names[: len(DOMAINS)]) == tuple(DOMAINS) and set(names) == set(domain_names())
    for domain in all_domains():
        assert find_domain(domain.name) is domain
        assert pickle.loads(pickle.dumps(domain)) == domain
        assert repr(domain) == f"<domain {domain.name}>"


def test_every_data_set_leads_to_its_domain_and_belongs_to_one_alone() -> None:
    seen: dict[str, str] = {}
    for domain in all_domains():
        for name in domain.data_sets():
            assert name not in seen, f"{name} is of {seen.get(name)} and {domain.name}"
            seen[name] = domain.name
            assert domain_of_data(name) is domain
    assert {"glyphs", "folder", "sinusoids"} <= set(seen)
    with pytest.raises(ConfigError, match="no data set is called 'glyps': did you mean 'glyphs'"):
        domain_of_data("glyps")


def test_recipes_of_all_domains_have_names_of_their_own() -> None:
    names = [name for domain in all_domains() for name in domain.recipes()]
    assert len(set(names)) == len(names)
    assert all(file.read_text().strip() for domain in all_domains() for file in domain.recipes().values())


def test_domains_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Plain()
    with_points(monkeypatch, Point("zebra", None), Point("plain", plain), Point("images", None))
    assert domain_names() == (*DOMAINS, "plain", "zebra")
    assert find_domain("plain") is plain
    assert find_domain("images").name == "images", "what ships cannot be replaced"
    with pytest.raises(ConfigError, match="entry point 'zebra' gives None: expected a Domain"):
        find_domain("zebra")
    with pytest.raises(ConfigError, match="no domain is called 'plian': did you mean 'plain'"):
        find_domain("plian")
    with_points(monkeypatch, Point("other", plain))
    with pytest.raises(ConfigError, match="expected a Domain whose name is 'other'"):
        find_domain("other")
    find_domain.cache_clear()


# ---- defaults --------------------------------------------------------------------------------------------------------


def test_one_view_by_default_and_no_more() -> None:
    items = torch.arange(6.0).view(2, 3)
    views = Plain().views(1, ArrayReader(), items, torch.ones(2), 2)
    assert isinstance(views, Identity) and views.n == 1
    assert torch.equal(views.support(items), items[None]) and torch.equal(views.queries(items), items[None])  # type: ignore[arg-type]
    assert views.class_order(3).tolist() == [[0, 1, 2]]
    both = views.queries({"a": items, "b": items[:, 0]})
    assert both["a"].shape == (1, 2, 3) and both["b"].shape == (1, 2)  # type: ignore[index]
    with pytest.raises(ConfigError, match="n_estimators is 2: expected 1"):
        Plain().views(2, ArrayReader(), items, torch.ones(2), 2)


def test_other_defaults() -> None:
    plain = Plain()
    assert not plain.in_double(torch.zeros(2, 2)) and plain.untrained_baseline() is None
    assert plain.learners(LearnerContext({}, {}, 5)) == {} and plain.class_title("x") == "x"
    assert (plain.has_columns, plain.allows_missing, plain.file_hint) == (False, False, None)
    with pytest.raises(ConfigError, match="a learner of items reads no files"):
        plain.read_files(Path("a"), Path("b"))


def test_near_copies_are_left_to_the_doctor_by_default() -> None:
    a, y = torch.zeros(3, 2), torch.arange(3)
    assert Plain().near_copies(a, a, y, y) is None


def test_digests_are_of_content_alone() -> None:
    x = torch.arange(12).view(4, 3)
    assert digests(x) == digests(x.clone().t().contiguous().t())
    assert len(set(digests(x))) == 4 and len(digests(x)[0]) == 24
    pair = {"ids": x, "mask": torch.ones(4, 3)}
    assert digests(pair) == digests(dict(reversed(pair.items())))
    masked = {"ids": x, "mask": torch.tensor([[1.0, 1.0, 0.0]]).expand(4, 3)}
    assert not set(digests(pair)) & set(digests(masked))


def test_an_item_is_shown_in_short_and_escaped() -> None:
    shown = Plain().render(np.array([1.23456, 2.0]))
    assert shown.text == "1.23, 2" and shown.html == "<code>1.23, 2</code>"
    assert Plain().render(torch.arange(9)).text == "0, 1, 2, 3, 4, 5, 6, 7, ..."
    assert Plain().render(torch.arange(8)).text == "0, 1, 2, 3, 4, 5, 6, 7"
    assert Plain().render(["<b>"]).html == "<code>&lt;b&gt;</code>"


def test_titles_of_episodes() -> None:
    assert EpisodeOptions(n_way=20, n_shot=1).title() == "20-way 1-shot"
    assert EpisodeOptions(n_way=(2, 5), n_shot=(1, 3)).title() == "2 to 5-way 1 to 3-shot"
    assert EpisodeOptions(n_way=0, n_shot=10).title() == "10-shot"
