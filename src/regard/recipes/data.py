"""The data that a recipe names."""

from __future__ import annotations

from regard.domains.data import Data, LabelledData
from regard.domains.registry import all_domains, domain_of_data
from regard.errors import ConfigError
from regard.recipes.config import Component
from regard.signatures import call_checked

DATA = {name: data_set for domain in all_domains() for name, data_set in domain.data_sets().items()}
"""Every data set that a recipe can name."""


def load_data(component: Component) -> Data:
    """The data set, or the family of generated tasks, that a recipe names.

    Any labelled data takes `n_training_classes`, how many of its training classes to train on, and
    `training_classes_seed`, which of them.

    Raises:
        ConfigError: an unknown name or option.
        DataError: it cannot be read.
    """
    data_set = domain_of_data(component.name).data_sets()[component.name]
    options = component.options()
    n_classes, seed = options.pop("n_training_classes", None), options.pop("training_classes_seed", 0)
    data = call_checked(data_set, options, f"data {component.name}")
    if n_classes is None:
        return data
    if not isinstance(data, LabelledData):
        raise ConfigError(f"data.n_training_classes is {n_classes}: {data.title} has no classes to choose from.")
    return data.training_on(n_classes, seed)
