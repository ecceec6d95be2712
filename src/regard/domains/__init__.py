"""A domain is one folder with one registration: everything that is particular to one kind of data.

    base        what a domain answers
    options     what an episode is, as recipes write it
    data        splits of labelled items, or generated tasks, as sources of episodes
    views       several ways to see one task, for test-time augmentation
    registry    one line per domain, imported when first used
    acting/     what domains share whose learners act: demonstrations, environments, data that can be rolled out
    images/ texts/ tables/ functions/ molecules/ materials/ robots/ arrays/

Nothing outside this folder asks what kind a thing is. Other packages add a domain by the entry point `regard.domains`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard.lazy import lazy

if TYPE_CHECKING:
    from regard.domains.base import Domain, LabelledFiles, LearnerContext, NearCopy, Reader, Rendering
    from regard.domains.data import Data, GeneratedData, LabelledData
    from regard.domains.options import EpisodeOptions, GroupedEpisodeOptions
    from regard.domains.registry import domain_names, domain_of_data, find_domain
    from regard.domains.views import Identity, Views

_HOME = {
    "Data": ".data",
    "Domain": ".base",
    "EpisodeOptions": ".options",
    "GeneratedData": ".data",
    "GroupedEpisodeOptions": ".options",
    "Identity": ".views",
    "LabelledData": ".data",
    "LabelledFiles": ".base",
    "LearnerContext": ".base",
    "NearCopy": ".base",
    "Reader": ".base",
    "Rendering": ".base",
    "Views": ".views",
    "domain_names": ".registry",
    "domain_of_data": ".registry",
    "find_domain": ".registry",
}

__all__ = [
    "Data",
    "Domain",
    "EpisodeOptions",
    "GeneratedData",
    "GroupedEpisodeOptions",
    "Identity",
    "LabelledData",
    "LabelledFiles",
    "LearnerContext",
    "NearCopy",
    "Reader",
    "Rendering",
    "Views",
    "domain_names",
    "domain_of_data",
    "find_domain",
]

__getattr__ = lazy(__name__, _HOME)
