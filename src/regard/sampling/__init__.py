"""From labelled data and from functions to episodes.

Names are imported when first used, so that what a recipe says can be read without PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.sampling.dataset import Dataset
    from regard.sampling.episodes import EpisodeRows, EpisodeSampler, Transform
    from regard.sampling.functions import FunctionSampler, Oscillations, Sinusoids, Waves
    from regard.sampling.gaussian_processes import GaussianProcesses, Process
    from regard.sampling.manifest import read_manifest, write_manifest
    from regard.sampling.memory import keep_freed_memory
    from regard.sampling.source import EpisodeSource
    from regard.sampling.splits import check_disjoint, split_by_group, split_by_name, split_classes

_HOME = {
    "Dataset": ".dataset",
    "EpisodeRows": ".episodes",
    "EpisodeSampler": ".episodes",
    "EpisodeSource": ".source",
    "FunctionSampler": ".functions",
    "GaussianProcesses": ".gaussian_processes",
    "Oscillations": ".functions",
    "Process": ".gaussian_processes",
    "Sinusoids": ".functions",
    "Transform": ".episodes",
    "Waves": ".functions",
    "check_disjoint": ".splits",
    "keep_freed_memory": ".memory",
    "read_manifest": ".manifest",
    "split_by_group": ".splits",
    "split_by_name": ".splits",
    "split_classes": ".splits",
    "write_manifest": ".manifest",
}

__all__ = [
    "Dataset",
    "EpisodeRows",
    "EpisodeSampler",
    "EpisodeSource",
    "FunctionSampler",
    "GaussianProcesses",
    "Oscillations",
    "Process",
    "Sinusoids",
    "Transform",
    "Waves",
    "check_disjoint",
    "keep_freed_memory",
    "read_manifest",
    "split_by_group",
    "split_by_name",
    "split_classes",
    "write_manifest",
]

__getattr__ = lazy(__name__, _HOME)
