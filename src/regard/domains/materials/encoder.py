"""Compositions to vectors: statistics of elemental descriptors, what a network makes of them, and predicted properties.

    magpie        22 properties of the elements x (mean, mean deviation, largest, smallest, range, that of the main
                  element), and 7 numbers of the stoichiometry, as of Ward et al. 2016, "A general-purpose machine
                  learning framework for predicting properties of inorganic materials", npj Computational Materials 2
    z             a perceptron on these, and on mean and deviation of mat2vec's vectors (Tshitoyan et al. 2019,
                  "Unsupervised word embeddings capture latent knowledge from materials science literature", Nature 571)
    properties    what the network predicts for each property it was trained on

All statistics are matrix products or gathers over the few elements that are present. The descriptors of the elements
are read from the package elementembeddings when a network is made, and kept in its checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.domains.materials.formula import ELEMENTS
from regard.episode import Items
from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.extras import import_extra
from regard.nn.encoder import Encoder

N_ELEMENTS = len(ELEMENTS)
N_MAGPIE, N_MAT2VEC = 22, 200
N_STATISTICS = 6 * N_MAGPIE + 7
_CLIP = 5.0
_NORMS = (2, 3, 5, 7, 10)


def element_table(name: str, n_columns: int) -> Float[Tensor, "118 F"]:
    """Descriptors of the elements, NaN for an element that the table does not have.

    Args:
        name: of a file of elementembeddings, "magpie" or "mat2vec".
        n_columns: that it is to have.

    Raises:
        MissingExtraError: elementembeddings is not installed.
        ConfigError: its file is another one.
    """
    package = import_extra("elementembeddings", "materials")
    path = Path(package.__file__).parent / "data" / "element_representations" / f"{name}.csv"
    table = torch.full((N_ELEMENTS, n_columns), torch.nan)
    index = {element: i for i, element in enumerate(ELEMENTS)}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        element, *numbers = line.split(",")
        if element in index and len(numbers) == n_columns:
            table[index[element]] = torch.tensor([float(number) for number in numbers])
    if bool(table[: index["Bi"]].isnan().any()):
        raise ConfigError(
            f"{path} lacks elements up to bismuth: expected {n_columns} numbers each; update the package."
        )
    return table


def filled_table(table: Tensor) -> Tensor:
    """The mean of all elements where one is not in the table: heavy, short-lived ones."""
    return torch.where(table.isnan(), table.nanmean(0), table)


def magpie_statistics(fractions: Float[Tensor, "N 118"], table: Float[Tensor, "118 F"]) -> Float[Tensor, "N K"]:
    """(N, 6 F + 7): mean, mean deviation, largest, smallest, range, that of the main element, and the stoichiometry.

    Args:
        fractions: of the elements; each row sums to 1.
        table: of the elements.
    """
    most = max(1, int((fractions > 0).sum(1).max())) if len(fractions) else 1
    share, index = fractions.topk(most, dim=1)
    values, here = table[index], (share > 0)[..., None]
    mean = fractions @ table
    deviation = (share[..., None] * (values - mean[:, None]).abs()).sum(1)
    largest = values.masked_fill(~here, -torch.inf).amax(1)
    smallest = values.masked_fill(~here, torch.inf).amin(1)
    # Elements with equal largest shares count alike: none of them is first.
    is_main = (share >= share[:, :1] - 1e-6)[..., None].to(values.dtype)
    main = (values * is_main).sum(1) / is_main.sum(1)
    count = (fractions > 0).sum(1, keepdim=True).to(values.dtype)
    norms = [share.pow(p).sum(1, keepdim=True).pow(1 / p) for p in _NORMS]
    entropy = -(share * share.clamp_min(1e-12).log()).sum(1, keepdim=True)
    return torch.cat([mean, deviation, largest, smallest, largest - smallest, main, count, *norms, entropy], 1)


Output = Literal["all", "z", "magpie"]


class CompositionEncoder(Encoder):
    """Fractions of elements (N, 118) to Magpie statistics, learned features and predicted properties, side by side.

    Args:
        n_properties: that the network predicts, one linear map of z each.
        width: of the two hidden layers.
        n_learned: features of z.
        dropout: in training, of hidden units.
        output: "all" three, "z" alone, or "magpie" alone.
        tables: read the descriptors of the elements; False where a checkpoint brings them.

    Attributes:
        blocks: how many features each part of the output has.

    Raises:
        ConfigError: a width below 1, or another output.
        MissingExtraError: elementembeddings is not installed.
        EpisodeError: in `forward`, items of another shape.
    """

    parts = False
    magpie: Tensor
    mat2vec: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        n_properties: int = 0,
        *,
        width: int = 512,
        n_learned: int = 128,
        dropout: float = 0.1,
        output: Output = "all",
        tables: bool = True,
    ) -> None:
        super().__init__()
        if min(width, n_learned, n_properties + 1) < 1:
            raise ConfigError(
                f"width is {width}, n_learned {n_learned}, n_properties {n_properties}: expected 1 or more."
            )
        if output not in get_args(Output):
            raise ConfigError(f"output is {output!r}: {did_you_mean(str(output), get_args(Output))}")
        self.output: Output = output
        self.n_properties = n_properties
        sizes = {"all": (N_STATISTICS, n_learned, n_properties), "z": (n_learned,), "magpie": (N_STATISTICS,)}
        self.blocks = tuple(size for size in sizes[output] if size)
        self.n_features = sum(self.blocks)
        n_inputs = N_STATISTICS + 2 * N_MAT2VEC
        for name, n_columns in (("magpie", N_MAGPIE), ("mat2vec", N_MAT2VEC)):
            table = filled_table(element_table(name, n_columns)) if tables else torch.zeros(N_ELEMENTS, n_columns)
            self.register_buffer(name, table)
        self.register_buffer("centre", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(width, n_learned), nn.LayerNorm(n_learned), nn.GELU(),
        )  # fmt: skip
        self.heads = nn.Linear(n_learned, n_properties) if n_properties else None

    def statistics(self, x: Items) -> Float[Tensor, "N K"]:
        """(N, 539) standardised and clipped statistics: Magpie's first, then mean and deviation of mat2vec."""
        if isinstance(x, dict) or x.ndim != 2 or x.shape[1] != N_ELEMENTS:
            shape = "a dict" if isinstance(x, dict) else f"items of shape {tuple(x.shape[1:])}"
            raise EpisodeError(f"the encoder got {shape}: expected ({N_ELEMENTS},) fractions, as FormulaReader reads.")
        raw = self.raw_statistics(x)
        return ((raw - self.centre) / self.scale).clamp(-_CLIP, _CLIP)

    def fit_scale(self, x: Tensor) -> None:
        """Standardise by these items from now on; by training items, never by those of a task."""
        self.centre.zero_()
        self.scale.fill_(1.0)
        with torch.no_grad():
            raw = self.raw_statistics(x)
        self.centre.copy_(raw.mean(0))
        self.scale.copy_(raw.std(0).clamp_min(1e-6))

    def raw_statistics(self, x: Tensor) -> Tensor:
        """(N, 539) as `statistics`, as they are."""
        fractions = x.to(self.centre.dtype)
        mean = fractions @ self.mat2vec
        deviation = (fractions @ self.mat2vec.square() - mean.square()).clamp_min(0).sqrt()
        return torch.cat([magpie_statistics(fractions, self.magpie), mean, deviation], 1)

    def learned(self, statistics: Float[Tensor, "N K"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N P"]]:
        """z and the predicted properties."""
        z = self.layers(statistics)
        return z, z[:, :0] if self.heads is None else self.heads(z)

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        statistics = self.statistics(x)
        if self.output == "magpie":
            return statistics[:, :N_STATISTICS]
        z, properties = self.learned(statistics)
        return z if self.output == "z" else torch.cat([statistics[:, :N_STATISTICS], z, properties], 1)
