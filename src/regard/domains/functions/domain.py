"""Functions: numbers in, numbers out, from a few points of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from regard.domains.base import Domain, Reader
from regard.domains.options import EpisodeOptions

if TYPE_CHECKING:
    from regard.domains.data import GeneratedData


class FunctionEpisodeOptions(EpisodeOptions):
    """Options of episodes of functions: no classes."""

    n_way: Literal[0] = Field(0, description="functions have numbers for targets, and no classes")
    n_shot: int | tuple[int, int] = Field(10, description="points that are known; a pair is a range")
    n_query: int | tuple[int, int] = Field(15, description="points to predict; a pair is a range")


@dataclass(frozen=True)
class Functions(Domain):
    """The domain of functions."""

    name: ClassVar[str] = "functions"
    items: ClassVar[str] = "numbers"
    encoders: ClassVar[tuple[str, ...]] = ("MLP", "Fourier", "Flat")
    evaluation_options: ClassVar[type[FunctionEpisodeOptions]] = FunctionEpisodeOptions
    training_options: ClassVar[type[FunctionEpisodeOptions]] = FunctionEpisodeOptions

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
