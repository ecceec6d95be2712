"""What an episode is, as recipes write it. A domain adds the options that only its items have.

Nothing here imports PyTorch: a recipe is read and checked at once.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from regard.sampling.counts import Count


class Strict(BaseModel):
    """No unknown keys, no changes, and true is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # `info` is pydantic's ValidationInfo, a protocol that no checker of annotations can check while the program runs.
    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: Any) -> object:
        allowed = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (allowed, *get_args(allowed)):
            raise ValueError(f"expected something else than {str(value).lower()}")
        return value


class EpisodeOptions(Strict):
    """Options of every episode."""

    n_way: Count = Field(default=5, description="classes per episode; a pair is a range; 0 where targets are numbers")
    n_shot: Count = Field(
        default=1, description="examples per class, or per task where there are no classes; a pair is a range"
    )
    n_query: Count = Field(default=15, description="queries, counted likewise")

    def title(self) -> str:
        """For people: '20-way 1-shot', or '10-shot' where targets are numbers."""
        way, shot = (f"{v[0]} to {v[1]}" if isinstance(v, tuple) else str(v) for v in (self.n_way, self.n_shot))
        return f"{way}-way {shot}-shot" if self.n_way else f"{shot}-shot"


class GroupedEpisodeOptions(EpisodeOptions):
    """Options of episodes whose classes may have groups, such as alphabets or domains of intents."""

    within_groups: bool = Field(
        default=False, description="draw all classes of an episode from one group, such as an alphabet"
    )
    even_groups: bool = Field(
        default=False,
        description="with within_groups: all groups are equally likely, instead of in proportion to their classes",
    )


class LabelledTrainingOptions(Strict):
    """What training episodes of labelled items have besides; mixed into a domain's own options."""

    labels: Literal["episode", "data"] = Field(
        default="episode",
        description='"data" keeps the number of each class in the training set, for a classifier over all of them',
    )


class AssayTrainingOptions(EpisodeOptions, LabelledTrainingOptions):
    """Training episodes of items with many tasks each."""


class GroupedTrainingOptions(GroupedEpisodeOptions, LabelledTrainingOptions):
    """Training episodes of labelled items."""
