"""Regard learns from a few examples by attending to them.

A dataset is sampled into episodes; an encoder turns items into vectors; a learner adapts on the support and predicts
the queries; the prediction is evaluated with an interval, trained on, wrapped as an estimator, and explained.

Names are imported when first used, so that `import regard` and `regard --help` cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.episode import Episode, Support
    from regard.estimators import FewShotClassifier, FewShotPolicy, FewShotRegressor, FewShotTranslator, next_experiment
    from regard.evaluation import compare, evaluate
    from regard.recipes.trained import load
    from regard.sampling import Dataset, EpisodeSampler
    from regard.training import TrainConfig, train

_HOME = {
    "Dataset": "regard.sampling",
    "Episode": "regard.episode",
    "EpisodeSampler": "regard.sampling",
    "FewShotClassifier": "regard.estimators",
    "FewShotPolicy": "regard.estimators",
    "FewShotRegressor": "regard.estimators",
    "FewShotTranslator": "regard.estimators",
    "Support": "regard.episode",
    "TrainConfig": "regard.training",
    "compare": "regard.evaluation",
    "evaluate": "regard.evaluation",
    "load": "regard.recipes.trained",
    "next_experiment": "regard.estimators",
    "train": "regard.training",
}

__all__ = [
    "Dataset",
    "Episode",
    "EpisodeSampler",
    "FewShotClassifier",
    "FewShotPolicy",
    "FewShotRegressor",
    "FewShotTranslator",
    "Support",
    "TrainConfig",
    "compare",
    "evaluate",
    "load",
    "next_experiment",
    "train",
]


_lazy = lazy(__name__, _HOME)


def __getattr__(name: str) -> object:
    if name != "__version__":
        return _lazy(name)
    # Only when asked for: the metadata of packages take longer to import than all else here.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("regard")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
