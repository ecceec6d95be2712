"""Words by their letters: hashed character n-grams to a vector, and a fixed sketch of how alike two words look.

A source word is seen twice, as it is written (code points) and in Latin letters; target words in Latin letters only, by
n-grams of the same table, so that names and cognates begin alike. Frequent target words have a vector of their own too.

    z(word) = MLP( sum over n-grams g of row[hash(g)] / sqrt(number of them) )
    sketch(word)[h(g)] += sign(g)        the dot product of two sketches is about the number of n-grams they share

The rows of n-grams are hashed (Svenstrup et al. 2017, arXiv:1709.03933); subwords as in Bojanowski et al. 2017
(arXiv:1607.04606); the sketch is that of Charikar et al. 2002, and not trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Items
from regard.errors import EpisodeError
from regard.nn.attention import unit
from regard.nn.encoder import Encoder
from regard.nn.spelling import END, digits_of, spell

N_CHARACTERS = 16
"""Code points of a source word that items hold."""

_FIRST, _LAST = 1_200_001, 1_200_002  # beyond all code points
_MIX = (2_654_435_761, 40_503, 2_246_822_519, 3_266_489_917, 668_265_263)
_PRIME = 2_147_483_647
_N_SKETCH = 256


@final
class WordEncoder(Encoder):
    """Tokens of source sentences to vectors, and the same for target words.

    Items are {"characters": (N, P, 16) int64 code points, 0 for padding; "latin": (N, P) numbers of `spell`}.

    Args:
        vocabulary: target words with a vector of their own.
        n_features: D.
        n_rows: of the table of n-grams.
        d_row: numbers of a row.
        dropout: share of n-grams that are left out in training.

    Examples:
        >>> words = WordEncoder(["cat"], n_features=8, n_rows=64, d_row=4)
        >>> x = {"characters": torch.zeros(1, 2, 16, dtype=torch.int64), "latin": torch.tensor([[5, 0]])}
        >>> tuple(words(x).shape)
        (1, 2, 8)
    """

    parts = True

    def __init__(
        self,
        vocabulary: Sequence[str] = (),
        n_features: int = 128,
        n_rows: int = 16_384,
        d_row: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_features, self.n_rows, self.dropout = n_features, n_rows, dropout
        numbers = torch.tensor(sorted({END, *map(spell, vocabulary)}), dtype=torch.int64)
        self.register_buffer("vocabulary", numbers, persistent=False)
        self.vocabulary: Tensor
        self.row = nn.EmbeddingBag(n_rows, d_row, mode="sum")
        nn.init.normal_(self.row.weight)
        self.source = nn.Sequential(nn.Linear(d_row, n_features), nn.GELU(), nn.Linear(n_features, n_features))
        self.target = nn.Sequential(nn.Linear(d_row, n_features), nn.GELU(), nn.Linear(n_features, n_features))
        self.own = nn.Embedding(len(numbers) + 1, n_features)  # the last is of all other words
        nn.init.normal_(self.own.weight, std=0.5)
        self.source_norm, self.target_norm = nn.LayerNorm(n_features), nn.LayerNorm(n_features)

    def forward(self, x: Items) -> Float[Tensor, "N P D"]:
        characters, latin = token_tensors(x)
        z = self.source_words(characters.flatten(0, 1), latin.flatten()).view(*latin.shape, -1)
        return z * (characters[..., :1] > 0)

    def part_weight(self, z: Float[Tensor, "*N P D"]) -> Float[Tensor, "*N P"]:
        return (z != 0).any(-1).to(z.dtype)

    def source_words(self, characters: Int[Tensor, "U W"], latin: Int[Tensor, " U"]) -> Float[Tensor, "U D"]:
        """(U, D) of U source words."""
        grams = torch.cat([n_grams(characters, (2, 3, 4), 0), n_grams(digits_of(latin), (1, 2, 3, 4), 1)], 1)
        return self.source_norm(self.source(self._sum(grams)))

    def target_words(self, number: Int[Tensor, " V"]) -> Float[Tensor, "V D"]:
        """(V, D) of V target words."""
        grams = n_grams(digits_of(number), (1, 2, 3, 4), 1)
        return self.target_norm(self.target(self._sum(grams)) + self.own(self.position(number)))

    def position(self, number: Int[Tensor, "*V"]) -> Int[Tensor, "*V"]:
        """Where words stand in the vocabulary; its length for other words."""
        at = torch.searchsorted(self.vocabulary, number.contiguous()).clamp_max(len(self.vocabulary) - 1)
        return torch.where(self.vocabulary[at] == number, at, len(self.vocabulary))

    def _sum(self, grams: Int[Tensor, "U G"]) -> Float[Tensor, "U R"]:
        dtype = self.row.weight.dtype
        there = (grams > 0).to(dtype)
        if self.training and self.dropout:
            there = there * (torch.rand_like(there) >= self.dropout)
        total = self.row(grams % self.n_rows, per_sample_weights=there)
        return total / there.sum(1, keepdim=True).clamp_min(1).sqrt()


def token_tensors(x: Items) -> tuple[Tensor, Tensor]:
    """Code points (..., P, 16) and Latin numbers (..., P) of sentences.

    Raises:
        EpisodeError: items of another kind.
    """
    if not isinstance(x, dict) or {"characters", "latin"} - x.keys():
        kind = f"a dict of {sorted(x)}" if isinstance(x, dict) else f"a tensor {tuple(x.shape)}"
        raise EpisodeError(
            f"items are {kind}: expected sentences as a dict of characters and latin, as SentenceReader makes them."
        )
    return x["characters"], x["latin"]


def n_grams(letters: Int[Tensor, "U W"], lengths: Sequence[int], salt: int) -> Int[Tensor, "U G"]:
    """(U, G) hashes above 0 of the n-grams of words with marks at both ends; 0 where there is none.

    Args:
        letters: numbers of letters; 0 after the last one.
        lengths: n, 4 at most.
        salt: another alphabet, other hashes.
    """
    n_words, width = letters.shape
    marked = F.pad(letters, (1, 1))
    size = (letters > 0).sum(1)
    marked[:, 0] = _FIRST
    marked.scatter_(1, (size + 1)[:, None], _LAST)
    marked[size == 0] = 0
    grams = []
    for n in lengths:
        code = torch.full((n_words, width + 3 - n), (n * 7 + salt) * _MIX[4] % _PRIME, device=letters.device)
        for i in range(n):
            code = (code * 31 + marked[:, i : i + width + 3 - n] * _MIX[i]) % _PRIME
        grams.append(torch.where(marked[:, n - 1 :] > 0, (code ^ (code >> 13)) + 1, 0))
    return torch.cat(grams, 1)


def sketches(grams: Int[Tensor, "U G"], dtype: torch.dtype) -> Float[Tensor, "U 256"]:
    """(U, 256) unit vectors whose dot product is about the cosine of the words' bags of n-grams."""
    bucket = (grams * _MIX[0] >> 7) % _N_SKETCH
    sign = ((grams * _MIX[2] >> 11) % 2 * 2 - 1) * (grams > 0)
    return unit(
        torch.zeros(len(grams), _N_SKETCH, dtype=dtype, device=grams.device).scatter_add_(1, bucket, sign.to(dtype))
    )


def sketch_source(
    characters: Int[Tensor, "U W"], latin: Int[Tensor, " U"], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Two sketches (U, 256) of source words: as written, and in Latin letters."""
    return sketches(n_grams(characters, (1, 2, 3), 0), dtype), sketch_latin(latin, dtype)


def sketch_latin(number: Int[Tensor, " U"], dtype: torch.dtype) -> Float[Tensor, "U 256"]:
    """(U, 256) sketches of words by their numbers."""
    return sketches(n_grams(digits_of(number), (1, 2, 3), 1), dtype)


def distinct_words(characters: Int[Tensor, "N W"], latin: Int[Tensor, " N"]) -> tuple[Tensor, Tensor]:
    """The different words among N: where one of each stands (U,), and which word each is (N,)."""
    mixed = latin * 1_000_003
    for place in range(characters.shape[1]):
        mixed = (mixed ^ (mixed >> 29)) * 6_364_136_223_846_793_005 + characters[:, place]
    _, word = cast("tuple[Tensor, Tensor]", torch.unique(mixed, return_inverse=True))
    first = torch.zeros(int(word.max()) + 1 if len(word) else 0, dtype=torch.int64, device=word.device)
    return first.scatter_(0, word, torch.arange(len(word), device=word.device)), word
