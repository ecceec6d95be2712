"""Encoders of molecules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.domains.molecules.features import N_BITS, N_DESCRIPTORS
from regard.episode import Items
from regard.errors import ConfigError, EpisodeError
from regard.nn.encoder import Encoder
from regard.nn.tanimoto import tanimoto

_MOMENTUM = 0.02
_KIND_WEIGHT = 0.1


class FingerprintNetwork(Encoder):
    """Counts of substructures and descriptors, each through a linear layer, to one hidden layer and a vector.

        z = W3 dropout( gelu( norm( W1 dropout(log(1 + counts)) + W2 descriptors ) ) )

    Args:
        n_features: D of the learned vector.
        hidden: width of the hidden layer.
        dropout: of hidden units in training.
        input_dropout: of counts in training.
        keep_counts: put the counts before the learned vector, for learners that compare structures as they are; they
            are then `n_fixed_features` of N_BITS.
        n_counts, n_descriptors: of an item.
    """

    parts = False

    def __init__(
        self,
        n_features: int = 256,
        hidden: int = 512,
        *,
        dropout: float = 0.5,
        input_dropout: float = 0.1,
        keep_counts: bool = False,
        n_counts: int = N_BITS,
        n_descriptors: int = N_DESCRIPTORS,
    ) -> None:
        super().__init__()
        self.n_fixed_features = n_counts if keep_counts else 0
        self.n_features = n_features + self.n_fixed_features
        self.keep_counts = keep_counts
        self.counts, self.descriptors = nn.Linear(n_counts, hidden), nn.Linear(n_descriptors, hidden, bias=False)
        self.norm, self.out = nn.LayerNorm(hidden), nn.Linear(hidden, n_features)
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(input_dropout)

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        """{"counts": (N, n_counts), "descriptors": (N, n_descriptors)} to (N, D).

        Raises:
            EpisodeError: items of another kind.
        """
        if not isinstance(x, dict) or not {"counts", "descriptors"} <= x.keys():
            raise EpisodeError(
                "FingerprintNetwork reads molecules, a dict of counts and descriptors: use the reader of the domain "
                "molecules."
            )
        counts = x["counts"].to(self.counts.weight.dtype)
        hidden = self.counts(self.input_dropout(counts.log1p())) + self.descriptors(x["descriptors"])
        z = self.out(self.dropout(F.gelu(self.norm(hidden))))
        return torch.cat([counts, z], -1) if self.keep_counts else z


class AssayNetwork(Encoder):
    """A network that is trained to predict every training assay side by side; its answers are the vector.

        z = FingerprintNetwork(x)     o = W gelu(z) + b, one number per training assay     m: the same, one per file
        vector = counts, (o - mean) / deviation, m - mean, familiarity, descriptors

    The training labels stand in the items ("assays": +1, -1, 0 for not measured; of values "assays" and "measured"),
    and `label_loss` reads them there: the masked binary cross-entropy, of values the squared error, each assay weighted
    by n^(-1/2), so that one of 8,000 measurements does not drown one of 300. m says whether a molecule is of the kind
    that a file measures. Means and deviations are running averages over training, so that a strong assay does not drown
    weak ones in a distance. Familiarity, with `n_context` only, is the largest Tanimoto similarity of a molecule to so
    many of the training set, whose substructures are kept in the checkpoint: where it is low, the answers are guesses.
    Counts and descriptors (with `keep_descriptors` only) stand in the vector as they are.

    Args:
        groups: numbers of assays of each file, in the order of the labels; the data set assays fills them in.
        n_features, hidden, dropout, input_dropout, n_counts, n_descriptors: as `FingerprintNetwork`.
        assay_weights: of each assay's loss; ones by default.
        values: labels are values, of mean 0 and deviation 1, instead of classes.
        n_context: molecules of the training set that are kept; training gives them, see `remember`.
        keep_descriptors: whether the vector ends with the descriptors.

    Raises:
        ConfigError: no group, or another number of weights.
    """

    parts = False
    mean: Tensor
    deviation: Tensor
    kind_mean: Tensor

    def __init__(
        self,
        groups: Sequence[int] = (1,),
        n_features: int = 256,
        hidden: int = 512,
        *,
        dropout: float = 0.5,
        input_dropout: float = 0.1,
        n_counts: int = N_BITS,
        n_descriptors: int = N_DESCRIPTORS,
        assay_weights: Sequence[float] | None = None,
        values: bool = False,
        n_context: int = 0,
        keep_descriptors: bool = False,
    ) -> None:
        super().__init__()
        self.values, self.n_descriptors = values, n_descriptors if keep_descriptors else 0
        self.groups = tuple(int(n) for n in groups)
        self.n_assays = sum(self.groups)
        if not self.groups or min(self.groups) < 1:
            raise ConfigError(f"groups is {self.groups}: expected the number of assays of each file, at least 1.")
        self.network = FingerprintNetwork(
            n_features,
            hidden,
            dropout=dropout,
            input_dropout=input_dropout,
            keep_counts=True,
            n_counts=n_counts,
            n_descriptors=n_descriptors,
        )
        self.head = nn.Linear(n_features, self.n_assays + len(self.groups))
        self.n_fixed_features = n_counts
        self.n_features = n_counts + self.n_assays + len(self.groups) + (n_context > 0) + self.n_descriptors
        weights = (
            torch.ones(self.n_assays) if assay_weights is None else torch.tensor([float(w) for w in assay_weights])
        )
        if len(weights) != self.n_assays:
            raise ConfigError(f"{len(weights)} assay_weights for {self.n_assays} assays: expected one per assay.")
        self.register_buffer("assay_weights", weights)
        self.register_buffer("mean", torch.zeros(self.n_assays))
        self.register_buffer("deviation", torch.ones(self.n_assays))
        self.register_buffer("kind_mean", torch.zeros(len(self.groups)))
        kept = torch.zeros(n_context, -(-n_counts // 8), dtype=torch.uint8)
        self.register_buffer("context", kept, persistent=n_context > 0)

    assay_weights: Tensor
    context: Tensor

    @property
    def n_context(self) -> int:
        """Molecules of the training set that are kept."""
        return len(self.context)

    def remember(self, items: Items) -> None:
        """Keep which substructures molecules of the training set have, eight to a byte.

        Args:
            items: {"counts": (n_context, n_counts), ...}.

        Raises:
            EpisodeError: another number of them, or items of another kind.
        """
        if not isinstance(items, dict) or len(items.get("counts", ())) != self.n_context:
            raise EpisodeError(f"expected counts of {self.n_context} molecules, n_context.")
        present = (items["counts"] > 0).to(torch.uint8)
        padded = F.pad(present, (0, 8 * self.context.shape[1] - present.shape[1])).unflatten(1, (-1, 8))
        self.context.copy_((padded << _bits_of(padded)).sum(-1))

    def familiarity(self, counts: Float[Tensor, "N C"]) -> Float[Tensor, "N 1"]:
        """The largest Tanimoto similarity, of presence, to a molecule of the training set."""
        present = ((self.context[..., None] >> _bits_of(self.context)) & 1).flatten(1)[:, : counts.shape[1]]
        return tanimoto(counts, present.to(counts.dtype), 1).amax(1, keepdim=True)

    @property
    def blocks(self) -> dict[str, tuple[int, int]]:
        """Where in a vector what stands: the counts, the assays of each file, of what kind the molecule is, how
        familiar, and the descriptors."""
        sizes = {"counts": self.n_fixed_features} | {f"file {i}": size for i, size in enumerate(self.groups)}
        sizes |= {"kind": len(self.groups), "familiarity": int(self.n_context > 0), "descriptors": self.n_descriptors}
        found, edge = {}, 0
        for name, size in sizes.items():
            if size:
                found[name] = (edge, edge + size)
            edge += size
        return found

    def forward(self, x: Items) -> Float[Tensor, "N D"]:
        """(N, *item) molecules to (N, D)."""
        counts, assays, kind = self._answers(x)
        parts = [counts, (assays - self.mean) / self.deviation, kind - self.kind_mean]
        if self.n_context:
            parts.append(self.familiarity(counts))
        if self.n_descriptors:
            assert isinstance(x, dict)
            parts.append(x["descriptors"].to(counts.dtype))
        return torch.cat(parts, -1)

    def label_loss(self, x: Items) -> Float[Tensor, " N"]:
        """(N,) of labelled training molecules; in training the running mean and deviation move along.

        Raises:
            EpisodeError: items without labels, or of other assays.
        """
        needed = {"assays", "measured"} if self.values else {"assays"}
        if not isinstance(x, dict) or not needed <= x.keys() or x["assays"].shape[-1] != self.n_assays:
            raise EpisodeError(
                f"items hold no labels of {self.n_assays} assays: expected the training split of the data set assays, "
                "with the files that this encoder was made for."
            )
        label = x["assays"].to(self.head.weight.dtype)
        known = (x["measured"] if self.values else label != 0).to(label.dtype)
        _, assays, kind = self._answers(x)
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(assays.mean(0), _MOMENTUM)
                self.kind_mean.lerp_(kind.mean(0), _MOMENTUM)
                self.deviation.lerp_(assays.std(0).clamp_min(1e-3), _MOMENTUM)
        error = (assays - label).square() if self.values else F.softplus(-label * assays)
        loss = error * known * self.assay_weights
        of_file = torch.stack([part.amax(-1) for part in known.split(self.groups, -1)], -1)
        kinds = F.binary_cross_entropy_with_logits(kind, of_file, reduction="none")
        return loss.sum(-1) + _KIND_WEIGHT * kinds.mean(-1)

    def _answers(self, x: Items) -> tuple[Tensor, Tensor, Tensor]:
        counts, z = self.network(x).split([self.n_fixed_features, self.network.n_features - self.n_fixed_features], -1)
        assays, kind = self.head(F.gelu(z)).split([self.n_assays, len(self.groups)], -1)
        return counts, assays, kind


def _bits_of(bytes_: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=bytes_.device)
