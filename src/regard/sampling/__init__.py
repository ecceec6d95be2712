"""From labelled data to episodes."""

from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeRows, EpisodeSampler, Transform
from regard.sampling.manifest import read_manifest, write_manifest
from regard.sampling.splits import check_disjoint, split_by_group, split_by_name, split_classes

__all__ = [
    "Dataset",
    "EpisodeRows",
    "EpisodeSampler",
    "Transform",
    "check_disjoint",
    "read_manifest",
    "split_by_group",
    "split_by_name",
    "split_classes",
    "write_manifest",
]
