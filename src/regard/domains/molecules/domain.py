"""Molecules: SMILES, measured in assays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regard.domains.base import Domain, LabelledFiles, NearCopy, PartSaliency, Reader, Rendering
from regard.domains.options import AssayTrainingOptions, EpisodeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from regard.domains.molecules.data import AssayData
    from regard.episode import Items


@dataclass(frozen=True, repr=False)
class Molecules(Domain):
    """The domain of molecules; the extra `molecules` installs RDKit."""

    name: ClassVar[str] = "molecules"
    items: ClassVar[str] = "molecules"
    encoders: ClassVar[tuple[str, ...]] = ("FingerprintNetwork", "AssayNetwork", "GIN", "GraphAttention")
    own_encoders: ClassVar[Mapping[str, str]] = {
        "FingerprintNetwork": "regard.domains.molecules.encoders:FingerprintNetwork",
        "AssayNetwork": "regard.domains.molecules.encoders:AssayNetwork",
    }
    # Assays have two classes, of n_shot molecules each; targets are numbers where n_way is 0.
    evaluation_options: ClassVar[type[EpisodeOptions]] = EpisodeOptions
    # labels: data draws molecules alike, for a network that is trained on all of their labels at once.
    training_options: ClassVar[type[EpisodeOptions]] = AssayTrainingOptions
    file_hint: ClassVar[tuple[str, str] | None] = ("EXAMPLES.csv", "QUERIES.csv")
    needs_two_classes: ClassVar[bool] = True

    def data_sets(self) -> Mapping[str, Callable[..., AssayData]]:
        return {"assays": _assays}

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.molecules.reader import MoleculeReader

        return MoleculeReader.from_dict(content)

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """CSV with a header: a column of SMILES and a column label, and SMILES to be labelled."""
        from regard.domains.molecules.assays import LABEL_COLUMNS, read_smiles_column
        from regard.errors import DataError

        smiles, names, cells = read_smiles_column(support)
        lower = [name.strip().lower() for name in names]
        found = next((lower.index(name) for name in LABEL_COLUMNS if name in lower), 0 if len(names) == 1 else None)
        if found is None:
            raise DataError(
                f"{support} has the columns {names} beside SMILES: expected one called {' or '.join(LABEL_COLUMNS)}."
            )
        queries, _, _ = read_smiles_column(query)
        return LabelledFiles(smiles, [row[found] for row in cells], smiles, queries, queries)

    def near_copies(self, a: Items, b: Items, y_a: Tensor, y_b: Tensor) -> list[NearCopy] | None:
        """Molecules of equal fingerprints: the same, its stereoisomers, or its isotopes."""
        from regard.domains.molecules.near_copies import equal_fingerprints

        return equal_fingerprints(a, b)

    def part_saliency(self, model: Any, read: LabelledFiles) -> list[PartSaliency]:
        """Atoms, by deleting the environments that contain them."""
        from regard.domains.molecules.atoms import explained_atoms

        return [explained_atoms(model, query) for query in read.queries]

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        """The molecule as RDKit draws it, atoms the darker the more they mattered."""
        from regard.domains.molecules.render import render_molecule

        return render_molecule(thing, saliency)

    def untrained_baseline(self) -> tuple[str, dict[str, Any]] | None:
        return None


MOLECULES = Molecules()


def _assays(
    folder: str,
    files: tuple[str, ...] | list[str] = ("tox21", "toxcast450"),
    test: tuple[str, ...] | list[str] = ("SR-HSE", "SR-MMP", "SR-p53"),
    protocol: str = "disjoint",
    validation_share: float = 0.1,
    shares: dict[str, float] | None = None,
    cache: str | None = None,
    with_graphs: bool = False,
    test_file: str | None = None,
) -> AssayData:
    """Assays from CSV files, see `regard.domains.molecules.data.load_assays`."""
    from regard.domains.molecules.data import load_assays
    from regard.errors import ConfigError

    if protocol not in ("disjoint", "usual"):
        raise ConfigError(f"data.protocol is {protocol!r}: expected disjoint or usual.")
    return load_assays(
        MOLECULES,
        folder,
        tuple(files),
        tuple(test),
        "usual" if protocol == "usual" else "disjoint",
        validation_share,
        shares,
        cache,
        with_graphs,
        test_file,
    )
