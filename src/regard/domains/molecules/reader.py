"""SMILES to items: counts of substructures, descriptors, and where a graph encoder needs them, graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.domains.base import Reader
from regard.domains.molecules.chemistry import Mixtures, Molecule, as_column, read_molecule, read_molecules
from regard.domains.molecules.features import N_DESCRIPTORS, descriptors, fingerprints, graphs
from regard.errors import ConfigError

_CLIP = 5.0


@dataclass(frozen=True)
class DescriptorScale:
    """Mean and deviation of each descriptor over the training molecules; learned there, and never from a support.

    Args:
        mean, deviation: N_DESCRIPTORS of each; those without spread have deviation 1.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.floating[Any]]) -> Self:
        """From (N, N_DESCRIPTORS), NaN where a molecule has no value."""
        known = ~np.isnan(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0).sum(0, dtype=np.float64) / count
        deviation = np.sqrt(np.where(known, np.square(values - mean), 0).sum(0) / count)
        deviation[deviation < 1e-3] = 1.0  # all but constant
        return cls(tuple(np.round(mean, 6).tolist()), tuple(np.round(deviation, 6).tolist()))

    def __call__(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Scaled, clipped at 5 deviations; 0, the mean, where there is no value."""
        scaled = (values - np.array(self.mean)) / np.array(self.deviation)
        return np.nan_to_num(np.clip(scaled, -_CLIP, _CLIP), nan=0.0).astype(np.float32)


@dataclass(frozen=True)
class MoleculeReader(Reader):
    """SMILES (a list, an array, a column) to items {"counts", "descriptors"} and perhaps {"atoms", "bonds", "mask"}.

    Args:
        scale: of the descriptors; None leaves them as they are, clipped.
        with_graphs: whether items have graphs too.
        mixtures: "error" refuses a mixture, "largest" keeps its largest molecule. Salts lose their counter-ion always.
    """

    scale: DescriptorScale | None = None
    with_graphs: bool = False
    mixtures: Mixtures = "error"

    def __call__(self, things: Any) -> dict[str, Tensor]:
        """N SMILES to (N, ...) tensors; items that were read before stay as they are.

        Raises:
            DataError: rows that are no molecules, each with its number and the reason.
        """
        if isinstance(things, dict):
            return things
        column = as_column(things)
        features = [_features(thing, self.mixtures) for thing in column if _is_read(thing, self.mixtures)]
        if len(features) < len(column):
            read_molecules(column, self.mixtures)  # names the rows
        counts = np.stack([f[0] for f in features]) if features else np.zeros((0, 2048), np.uint8)
        raw = np.stack([f[1] for f in features]) if features else np.zeros((0, N_DESCRIPTORS), np.float32)
        items = self.items(counts, raw)
        if self.with_graphs:
            items |= graph_items(read_molecules(column, self.mixtures))
        return items

    def items(self, counts: NDArray[np.uint8], raw: NDArray[np.float32]) -> dict[str, Tensor]:
        """Of fingerprints and descriptors that are there already."""
        identity = DescriptorScale((0.0,) * N_DESCRIPTORS, (1.0,) * N_DESCRIPTORS)
        scaled = (self.scale or identity)(raw)
        return {"counts": torch.from_numpy(counts), "descriptors": torch.from_numpy(scaled)}

    def to_dict(self) -> dict[str, Any]:
        content: dict[str, Any] = {"with_graphs": self.with_graphs, "mixtures": self.mixtures}
        if self.scale is not None:
            content |= {"mean": list(self.scale.mean), "deviation": list(self.scale.deviation)}
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Undo `to_dict`.

        Raises:
            ConfigError: a description that is none.
        """
        scale = None
        try:
            if "mean" in content:
                mean, deviation = (tuple(float(v) for v in content[key]) for key in ("mean", "deviation"))
                if len(mean) != N_DESCRIPTORS or len(deviation) != N_DESCRIPTORS or min(deviation) <= 0:
                    raise ValueError(f"{len(mean)} means and {len(deviation)} deviations")
                scale = DescriptorScale(mean, deviation)
            mixtures = content.get("mixtures", "error")
            if mixtures not in ("error", "largest"):
                raise ValueError(f"mixtures {mixtures!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the reader of molecules is described in an unknown way ({error!r:.100}).") from error
        return cls(scale, bool(content.get("with_graphs", False)), mixtures)


def graph_items(molecules: Sequence[Molecule], n_atoms: int | None = None) -> dict[str, Tensor]:
    """Graphs as items; see `regard.domains.molecules.features.graphs`."""
    return {
        name: torch.from_numpy(array)
        for name, array in zip(("atoms", "bonds", "mask"), graphs(molecules, n_atoms), strict=True)
    }


def _is_read(thing: Any, mixtures: Mixtures) -> bool:
    try:
        _features(thing, mixtures)
    except (ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=2**14)
def _features(thing: str | Molecule, mixtures: Mixtures) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Of one molecule: they are read again and again while somebody tries things, and take 3 ms."""
    molecule = read_molecule(thing, mixtures)
    return fingerprints([molecule])[0], descriptors([molecule])[0]
