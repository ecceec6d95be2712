"""Splits of a data set of images, with what only images have: classes by rotation, and random distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from regard.domains.data import LabelledData
from regard.domains.images.distort import Distortion
from regard.domains.images.folder import ImageReader
from regard.domains.images.options import ImageEpisodeOptions, ImageTrainingOptions
from regard.domains.options import EpisodeOptions
from regard.domains.registry import find_domain
from regard.sampling.dataset import Dataset
from regard.signatures import call_checked


@dataclass(frozen=True)
class ImageData(LabelledData):
    """Splits of a data set of images."""

    @classmethod
    def of(cls, title: str, splits: dict[str, Dataset], reader: ImageReader, n_views: int = 1) -> Self:
        """With the encoder's options from the reader's."""
        encoder = {"n_channels": reader.n_channels, "image_size": reader.size}
        return cls(find_domain("images"), title, splits, reader, encoder, n_views)

    def classes(self, split: str, episodes: EpisodeOptions) -> Dataset:
        rotated = isinstance(episodes, ImageEpisodeOptions) and episodes.rotations
        return self.split(split).with_rotations() if rotated else self.split(split)

    def transform(self, episodes: EpisodeOptions) -> Distortion | None:
        if not isinstance(episodes, ImageTrainingOptions) or episodes.distortion is False:
            return None
        strengths = {} if episodes.distortion is True else episodes.distortion
        return call_checked(Distortion, strengths, "episodes.distortion")

    def split_title(self, split: str, episodes: EpisodeOptions) -> str:
        rotated = isinstance(episodes, ImageEpisodeOptions) and episodes.rotations
        return super().split_title(split, episodes) + (", rotated too" if rotated else "")


def drawing_reader() -> ImageReader:
    """How the glyphs lie: white ink on black, 20 of 28 pixels; which is ink is found out in a user's files."""
    return ImageReader(28, 1, "auto", 20 / 28)
