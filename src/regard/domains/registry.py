"""The domains there are: one line each, imported when first used; others come by the entry point `regard.domains`.

[project.entry-points."regard.domains"]
sounds = "my_package.domain:SOUNDS"     # an instance of a `Domain`
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from regard.domains.base import Domain
from regard.errors import ConfigError, did_you_mean

DOMAINS: dict[str, str] = {
    "images": "regard.domains.images.domain:IMAGES",
    "texts": "regard.domains.texts.domain:TEXTS",
    "tables": "regard.domains.tables.domain:TABLES",
    "functions": "regard.domains.functions.domain:FUNCTIONS",
    "molecules": "regard.domains.molecules.domain:MOLECULES",
    "robots": "regard.domains.robots.domain:ROBOTS",
    "materials": "regard.domains.materials.domain:MATERIALS",
    "translation": "regard.domains.translation.domain:TRANSLATION",
    "arrays": "regard.domains.arrays.domain:ARRAYS",
}

GROUP = "regard.domains"
"""Of the entry points."""


def domain_names() -> tuple[str, ...]:
    """Of all domains, those of other packages last."""
    return (*DOMAINS, *sorted({point.name for point in entry_points(group=GROUP)} - set(DOMAINS)))


@cache
def find_domain(name: str) -> Domain:
    """The domain of this name.

    Raises:
        ConfigError: there is none, or an entry point that gives something else.
    """
    if name in DOMAINS:
        module, _, attribute = DOMAINS[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        points = [point for point in entry_points(group=GROUP) if point.name == name]
        if not points:
            raise ConfigError(
                f"no domain is called {name!r}: {did_you_mean(name, domain_names())} Install the package that has it, "
                "or update regard."
            )
        found = points[0].load()
    if not isinstance(found, Domain) or found.name != name:
        raise ConfigError(f"the entry point {name!r} gives {found!r}: expected a Domain whose name is {name!r}.")
    return found


def all_domains() -> Iterator[Domain]:
    """Each domain; those of other packages are imported last."""
    return (find_domain(name) for name in domain_names())


def domain_of_data(data_set: str) -> Domain:
    """The domain that has a data set of this name.

    Raises:
        ConfigError: none has.
    """
    names: list[str] = []
    for domain in all_domains():
        if data_set in domain.data_sets():
            return domain
        names += domain.data_sets()
    raise ConfigError(f"no data set is called {data_set!r}: {did_you_mean(data_set, names)}")
