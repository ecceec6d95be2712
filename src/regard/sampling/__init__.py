"""From labelled data and from functions to episodes."""

from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler, Transform
from regard.sampling.functions import FunctionSampler, Oscillations, Sinusoids, Waves
from regard.sampling.gaussian_processes import GaussianProcesses, Process
from regard.sampling.manifest import read_manifest, write_manifest
from regard.sampling.source import EpisodeSource
from regard.sampling.splits import check_disjoint, split_by_group, split_by_name, split_classes

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
    "read_manifest",
    "split_by_group",
    "split_by_name",
    "split_classes",
    "write_manifest",
]
