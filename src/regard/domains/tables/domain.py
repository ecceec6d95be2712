"""Tables: rows of numbers and words, some of them missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, PartSaliency, Reader, Rendering
from regard.domains.options import EpisodeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from regard.domains.data import GeneratedData
    from regard.domains.views import Views
    from regard.episode import Items

_FEW_CELLS = 4096
"""Up to which double precision costs nothing noticeable, and the order of rows changes no digit."""


_LONG = 5.0
_TRAINED_ROWS, _TRAINED_COLUMNS = 180, 30
"""Up to which the prior's tables go, see tables.yaml."""


def estimated_seconds(n_rows: int, n_columns: int) -> float:
    """Of `fit` on one core, within a factor of 3; measured at 60 to 3,000 rows and 8 to 2,000 columns."""
    from regard.nn.kernel_experts import EXACT_ROWS, N_ANCHORS

    context = n_rows if n_rows <= EXACT_ROWS else N_ANCHORS
    kernels = 2e-9 * n_rows**3 if n_rows <= EXACT_ROWS else 2e-3 * n_rows
    return 1.5e-7 * context**2 * n_columns + 2e-7 * context * n_columns**2 + kernels


@dataclass(frozen=True, repr=False)
class Tables(Domain):
    """The domain of tables."""

    name: ClassVar[str] = "tables"
    items: ClassVar[str] = "rows of a table"
    encoders: ClassVar[tuple[str, ...]] = ()
    # n_shot is the number of support rows of a table and n_query that of its query rows, over all classes.
    evaluation_options: ClassVar[type[EpisodeOptions]] = EpisodeOptions
    training_options: ClassVar[type[EpisodeOptions]] = EpisodeOptions
    has_columns: ClassVar[bool] = True
    allows_missing: ClassVar[bool] = True
    lengths_vary: ClassVar[bool] = True

    def data_sets(self) -> Mapping[str, Callable[..., GeneratedData]]:
        return {"tables": _synthetic}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.tables.reader import TableReader

        return TableReader.from_dict(content)

    def synthetic_things(self, n: int, seed: int) -> Sequence[Any] | None:
        """Noise, of which some is missing."""
        import numpy as np

        rng = np.random.default_rng(seed)
        cells = rng.normal(size=(n, 2 + seed % 5))
        return np.where(rng.random(cells.shape) < 0.1, np.nan, cells).tolist()

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """Two tables with a header: examples with a column label (or target, class, or else the last), and queries."""
        from regard.domains.tables.reader import read_examples

        return read_examples(support, query)

    def part_saliency(self, model: Any, read: LabelledFiles) -> list[PartSaliency] | None:
        """Columns, by answering without each, where there are not too many."""
        from regard.domains.tables.occlusion import explained_columns

        return explained_columns(model, read)

    def views(self, n_views: int, reader: Reader, items: Items, weight: Tensor, n_classes: int) -> Views:
        """Columns in another order, classes under other indices, and in every second view ranks instead of numbers."""
        from regard.domains.tables.views import TableViews

        return TableViews(n_views, items, weight, n_classes)

    def in_double(self, items: Items) -> bool:
        from regard.episode import first_tensor

        return first_tensor(items).numel() <= _FEW_CELLS

    def size_warning(self, n_rows: int, n_columns: int, n_views: int) -> str | None:
        """Beyond some seconds: how many, and for what sizes the models that ship were made."""
        seconds = n_views * estimated_seconds(n_rows, n_columns)
        if seconds < _LONG:
            return None
        return (
            f"{n_rows} examples of {n_columns} columns take about {seconds:.0f} s on one core. Tables were made for "
            f"{_TRAINED_ROWS} examples and {_TRAINED_COLUMNS} columns; beyond, they still answer, and a forest or "
            "boosted trees may be as good and quicker."
        )

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.tables.render import render_row

        return render_row(thing, saliency)

    def render_from(self, read: LabelledFiles, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.tables.render import render_row

        return render_row(thing, saliency, read.columns)


TABLES = Tables()


def _synthetic(**options: Any) -> GeneratedData:
    """Synthetic tables of the documented prior; with an n_way of 0 there are numbers to be predicted."""
    from regard.domains.data import GeneratedData
    from regard.domains.tables.prior import TablePrior
    from regard.domains.tables.reader import TableReader

    return GeneratedData(TABLES, "tables", TablePrior, TableReader(), options, has_classes=True)
