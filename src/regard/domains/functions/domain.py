"""Functions: numbers in, numbers out, from a few points of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from regard.domains.base import Domain, Reader
from regard.domains.options import EpisodeOptions
from regard.sampling.counts import Count

if TYPE_CHECKING:
    from regard.domains.data import GeneratedData


class FunctionEpisodeOptions(EpisodeOptions):
    """Options of episodes of functions: no classes."""

    n_way: Count = Field(default=0, description="functions have numbers for targets, and no classes")
    n_shot: Count = Field(default=10, description="points that are known; a pair is a range")
    n_query: Count = Field(default=15, description="points to predict; a pair is a range")

    @field_validator("n_way")
    @classmethod
    def _no_classes(cls, n_way: Count) -> Count:
        if n_way != 0:
            raise ValueError("functions have numbers for targets, and no classes: expected 0, or leave it out")
        return n_way


@dataclass(frozen=True, repr=False)
class Functions(Domain):
    """The domain of functions."""

    name: ClassVar[str] = "functions"
    items: ClassVar[str] = "numbers"
    encoders: ClassVar[tuple[str, ...]] = ("MLP", "Fourier", "Flat")
    evaluation_options: ClassVar[type[EpisodeOptions]] = FunctionEpisodeOptions
    training_options: ClassVar[type[EpisodeOptions]] = FunctionEpisodeOptions

    def data_sets(self) -> Mapping[str, Callable[..., GeneratedData]]:
        return {
            "sinusoids": lambda **options: _functions("sinusoids", "Sinusoids", options),
            "gaussian_processes": lambda **options: _functions("gaussian_processes", "GaussianProcesses", options),
            "oscillations": lambda **options: _functions("oscillations", "Oscillations", options),
        }

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.arrays.reader import NumberReader

        return NumberReader()


FUNCTIONS = Functions()


def _functions(title: str, sampler: str, options: Mapping[str, Any]) -> GeneratedData:
    import regard.sampling
    from regard.domains.arrays.reader import NumberReader
    from regard.domains.data import GeneratedData

    return GeneratedData(
        FUNCTIONS, title, getattr(regard.sampling, sampler), NumberReader(), options, encoder={"n_inputs": 1}
    )
