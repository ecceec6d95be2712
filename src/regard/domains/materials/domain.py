"""Materials: chemical formulas, whose properties are predicted from a few measurements."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, Reader, Rendering
from regard.domains.options import EpisodeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.domains.data import Data

_MANY_ROWS = 700
"""Measurements beyond which `fit` takes some seconds."""


@dataclass(frozen=True, repr=False)
class Materials(Domain):
    """The domain of materials."""

    name: ClassVar[str] = "materials"
    items: ClassVar[str] = "chemical formulas"
    encoders: ClassVar[tuple[str, ...]] = ("CompositionEncoder",)
    own_encoders: ClassVar[Mapping[str, str]] = {
        "CompositionEncoder": "regard.domains.materials.encoder:CompositionEncoder",
        "ElementAttention": "regard.domains.materials.attention:ElementAttention",
    }
    evaluation_options: ClassVar[type[EpisodeOptions]] = EpisodeOptions
    training_options: ClassVar[type[EpisodeOptions]] = EpisodeOptions
    file_hint: ClassVar[tuple[str, str] | None] = ("MEASURED.csv", "CANDIDATES.csv")

    def data_sets(self) -> Mapping[str, Callable[..., Data]]:
        return {"materials": _properties}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.materials.reader import FormulaReader

        return FormulaReader()

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """CSV with the columns formula and target, and CSV with a column formula."""
        from regard.domains.materials.data import read_columns

        formulas, values = read_columns(support)
        queries, _ = read_columns(query, None)
        return LabelledFiles(formulas, values, formulas, queries, queries)

    def size_warning(self, n_rows: int, n_columns: int, n_views: int) -> str | None:
        """Beyond some hundred measurements."""
        if n_rows <= _MANY_ROWS:
            return None
        seconds = 4e-8 * n_rows**3
        return (
            f"{n_rows} measurements take about {seconds:.0f} s: this model is made for tens to hundreds. With "
            "thousands, a forest or a network trained on all of them is as good."
        )

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        """A formula with its amounts as subscripts."""
        import numpy as np

        from regard.domains.materials.formula import ELEMENTS

        if isinstance(thing, str):
            text = thing
        else:
            amounts = np.asarray(thing, dtype=float).ravel()
            text = "".join(f"{ELEMENTS[i]}{amounts[i]:.3g}" for i in np.flatnonzero(amounts > 0))
        shown = re.sub(r"(\d+\.?\d*)", r"<sub>\1</sub>", html.escape(text))
        return Rendering(f"<span>{shown}</span>", text)


MATERIALS = Materials()


def _properties(**options: Any) -> Data:
    """Files of properties as tasks; see `regard.domains.materials.tasks.load_properties`."""
    from regard.domains.materials.tasks import load_properties
    from regard.signatures import call_checked

    return call_checked(load_properties, options, "data materials")
