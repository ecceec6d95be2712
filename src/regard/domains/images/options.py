"""What recipes may say of episodes of images."""

from __future__ import annotations

from pydantic import Field

from regard.domains.options import GroupedEpisodeOptions, GroupedTrainingOptions


class ImageEpisodeOptions(GroupedEpisodeOptions):
    """Options of episodes of images."""

    rotations: bool = Field(
        default=False, description="rotated images are classes of their own (four times the classes)"
    )


class ImageTrainingOptions(ImageEpisodeOptions, GroupedTrainingOptions):
    """Options of training episodes of images."""

    distortion: bool | dict[str, float] = Field(
        default=False, description="distort every image at random; a mapping changes strengths of `Distortion`"
    )
