"""Layers for tables: cells to vectors, and attention along both axes of a table.

    column_statistics     what the support says about each column: centre, spread, its values for ranks
    view_cells            score, rank and normal quantile of each cell
    CellEmbedding         these numbers, how common a value is, and whether it is missing, to a vector
    TableLayer            attention across the features of a row, then across the rows of a column, then an MLP
    RowLayer              attention across rows that are one vector each, then an MLP

Rows attend to the context (the support) only, so what a layer keeps of the context answers any number of queries.
Keys and values are kept, not the tokens: a second question costs the queries alone.

Shapes: F features, M = F + 1 tokens of a row (the last holds the target), R rows of any kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.errors import ConfigError
from regard.nn.attention import attention
from regard.nn.kernel_experts import EXACT_ROWS, CellViews
from regard.nn.recorded import normal_quantile
from regard.nn.transforms import inside_transform, is_recorded

_HARMONICS = (1, 2, 3, 4, 6, 8)
N_INPUTS = 4 + 2 * len(_HARMONICS)
"""Numbers that describe a cell."""
_N_MARKS = 1024  # more columns share marks, which costs a little accuracy and breaks nothing


@dataclass(frozen=True)
class Columns:
    """What the support says about each column.

    Args:
        x: (B, S, F) the support's cells.
        share: (B, S, F) each cell's share of its column's weight; 0 where it is missing.
        centre, spread: (B, 1, F) weighted mean and standard deviation.
        total: (B, 1, F) weight of the known cells.
    """

    x: Tensor
    share: Tensor
    centre: Tensor
    spread: Tensor
    total: Tensor


def column_statistics(
    x: Float[Tensor, "B S F"], missing: Bool[Tensor, "B S F"] | None, weight: Float[Tensor, "B S"]
) -> Columns:
    """Weighted, so that a row of weight 2 is the row twice; a column that does not vary has spread 1."""
    mass = weight[..., None].expand_as(x)
    if missing is not None:
        mass = mass.masked_fill(missing, 0.0)
    total = mass.sum(1, keepdim=True)
    share = mass / torch.where(total > 0, total, 1.0)
    centre = (share * x).sum(1, keepdim=True)
    variance = (share * (x - centre).square()).sum(1, keepdim=True)
    # Rounding leaves a constant column a variance of about (eps * centre)^2, which must not be divided by.
    least = (centre.square() + 1) * (torch.finfo(x.dtype).eps * 8) ** 2
    varies = variance > least
    return Columns(x, share, centre, torch.where(varies, variance, 1.0).sqrt(), total)


def view_cells(
    x: Float[Tensor, "B R F"], missing: Bool[Tensor, "B R F"] | None, columns: Columns
) -> tuple[CellViews, Float[Tensor, "B R F"]]:
    """Cells as score, rank and normal quantile, which do not change with the unit of a column; and how common each is.

    The score keeps distances and reaches beyond the support; the rank is blind to monotone transforms and outliers. A
    missing cell is in the middle of its column.
    """
    score = torch.asinh((x - columns.centre) / columns.spread)
    few = is_recorded() or columns.x.shape[1] <= EXACT_ROWS
    below, equal = (_shares if few else _sorted_shares)(x, columns)
    rank = below + equal / 2
    if missing is not None:
        score, rank = score.masked_fill(missing, 0.0), rank.masked_fill(missing, 0.5)
        equal = equal.masked_fill(missing, 0.0)
    normal = normal_quantile((rank * columns.total + 0.5) / (columns.total + 1))
    return CellViews(score, rank, normal), equal


def _shares(x: Tensor, columns: Columns) -> tuple[Tensor, Tensor]:
    """(B, R, F) shares of each column's weight in cells below and in equal ones."""
    known, share = columns.x[:, None], columns.share
    below = torch.einsum("brsf,bsf->brf", (known < x[:, :, None]).to(share.dtype), share)
    equal = torch.einsum("brsf,bsf->brf", (known == x[:, :, None]).to(share.dtype), share)
    return below, equal


def _sorted_shares(x: Tensor, columns: Columns) -> tuple[Tensor, Tensor]:
    """As `_shares`, in S log S steps per column instead of R S."""
    known, order = columns.x.mT.contiguous().sort(-1)
    summed = columns.share.mT.gather(-1, order).double().cumsum(-1)
    summed = torch.cat([torch.zeros_like(summed[..., :1]), summed], -1)
    cells = x.mT.contiguous()
    below, up_to = (summed.gather(-1, torch.searchsorted(known, cells, right=right)) for right in (False, True))
    return below.mT.to(x.dtype), (up_to - below).mT.to(x.dtype)


def describe_cells(
    views: CellViews, common: Float[Tensor, "B R F"], missing: Bool[Tensor, "B R F"] | None
) -> Float[Tensor, "B R F I"]:
    """Each cell as `N_INPUTS` numbers.

    Sines of the rank let attention find *near* values by a product; how common a value is tells categories.
    """
    absent = torch.zeros_like(common) if missing is None else missing.to(common.dtype)
    angle = math.pi * views.rank
    waves = [wave(k * angle) for k in _HARMONICS for wave in (torch.cos, torch.sin)]
    return torch.stack([views.score, torch.tanh(views.score), common, absent, *waves], -1)


class CellEmbedding(nn.Module):
    """Described cells to vectors, with a mark that tells columns apart.

    A row is a set of cells, so two columns alike in everything would be confused without a mark. Marks are random: in
    training new ones each time, so that no mark means anything; in use always the same.

    Args:
        d_model: D.
        d_mark: numbers in a mark.
    """

    marks: Tensor

    def __init__(self, d_model: int, d_mark: int = 16) -> None:
        super().__init__()
        self.d_mark = d_mark
        self.cell = nn.Linear(N_INPUTS, d_model)
        self.mark = nn.Linear(d_mark, d_model, bias=False)
        marks = torch.randn(_N_MARKS, d_mark, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.register_buffer("marks", marks.to(torch.get_default_dtype()), persistent=False)

    def forward(self, cells: Float[Tensor, "B R F I"]) -> Float[Tensor, "B R F D"]:
        """(B, R, F, I) to (B, R, F, D)."""
        n_features = cells.shape[2]
        if self.training:
            marks = torch.randn(n_features, self.d_mark)
        else:
            marks = self.marks[torch.arange(n_features, device=self.marks.device) % _N_MARKS]
        return self.cell(cells) + self.mark(marks.to(cells))


@dataclass(frozen=True)
class TableContext:
    """What one layer keeps of the support: keys and values (B, ..., H, S, D / H)."""

    key: Tensor
    value: Tensor


class ContextAttention(nn.Module):
    """Multi-head attention of rows over the context's rows; all axes between are a batch.

    Args:
        d_model: D.
        n_heads: H; divides D.

    Raises:
        ConfigError: it does not.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ConfigError(f"d_model is {d_model} and n_heads {n_heads}: expected n_heads to divide d_model.")
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def remember(self, context: Float[Tensor, "B S *M D"]) -> TableContext:
        """Keys and values of the context, to be attended to any number of times."""
        key, value = self._heads(self.key_value(context)).chunk(2, -1)
        return TableContext(key, value)

    def forward(
        self, x: Float[Tensor, "B R *M D"], context: TableContext, weight: Float[Tensor, "B S"] | None
    ) -> Float[Tensor, "B R *M D"]:
        """Rows (B, R, ..., D) that look at the context's; `weight` None is ones."""
        mixed = attend(self._heads(self.query(x)), context.key, context.value, weight)
        return self.out(mixed.transpose(-3, -2).flatten(-2).movedim(-2, 1))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, R, ..., E) to (B, ..., H, R, E / H)."""
        return x.unflatten(-1, (self.n_heads, -1)).movedim(1, -2)


class FeatureAttention(nn.Module):
    """Multi-head attention among the tokens of each row.

    Args:
        d_model: D.
        n_heads: H.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "B R M D"]) -> Float[Tensor, "B R M D"]:
        """(B, R, M, D) to the same."""
        heads = self.query_key_value(x).unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)
        query, key, value = heads.chunk(3, -1)
        return self.out(attend(query, key, value, None).transpose(-3, -2).flatten(-2))


def attend(query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None) -> Tensor:
    """Softmax attention, as `attention`, made for many small ones; `weight` is (B, S) or None.

    The fused kernel is slow on thousands of tables with ten columns, and in bfloat16 on a CPU five times slower than
    two plain products. Where a derivative by the weight is asked for, the explicit formula of `attention` is used.
    """
    if weight is not None and (weight.requires_grad or inside_transform()):
        spread = weight.view(weight.shape[0], *(1,) * (key.ndim - 3), weight.shape[1])
        return attention(query, key, value, spread.expand(key.shape[:-1]), keep=True)[0]
    score = (query / math.sqrt(query.shape[-1])) @ key.mT
    if weight is not None:
        # Minus infinity for absent rows; 0 in a task that has none, whose answer is not used, rather than NaN.
        is_present = weight > 0
        is_empty = ~is_present.any(-1, keepdim=True)
        log_weight = torch.where(is_present, weight, 1.0).log().masked_fill(~(is_present | is_empty), -torch.inf)
        score = score + log_weight.to(score.dtype).view(weight.shape[0], *(1,) * (key.ndim - 2), weight.shape[1])
    return torch.softmax(score, -1, dtype=score.dtype) @ value


def _mlp(d_model: int, factor: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d_model, factor * d_model), nn.GELU(), nn.Linear(factor * d_model, d_model))


class TableLayer(nn.Module):
    """Attention across features, across rows, and an MLP; each with a norm before it and a residual around it.

    Args:
        d_model: D.
        n_heads: H, for both attentions.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(3))
        self.features, self.rows = FeatureAttention(d_model, n_heads), ContextAttention(d_model, n_heads)
        self.mlp = _mlp(d_model, 2)

    def forward(
        self, x: Float[Tensor, "B R M D"], context: TableContext | None, n_context: int, weight: Tensor | None
    ) -> tuple[Float[Tensor, "B R M D"], TableContext]:
        """Where `context` is None, it is the first `n_context` rows of `x`; it is returned."""
        x = x + self.features(self.norms[0](x))
        h = self.norms[1](x)
        context = context or self.rows.remember(h[:, :n_context])
        x = x + self.rows(h, context, weight)
        return x + self.mlp(self.norms[2](x)), context


class RowLayer(nn.Module):
    """Attention across rows and an MLP; each with a norm before it and a residual around it.

    Args:
        d_model: D.
        n_heads: H.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.rows, self.mlp = ContextAttention(d_model, n_heads), _mlp(d_model, 2)

    def forward(
        self, x: Float[Tensor, "B R D"], context: TableContext | None, n_context: int, weight: Tensor | None
    ) -> tuple[Float[Tensor, "B R D"], TableContext]:
        """As `TableLayer.forward`, on rows of one vector."""
        h = self.norms[0](x)
        context = context or self.rows.remember(h[:, :n_context])
        x = x + self.rows(h, context, weight)
        return x + self.mlp(self.norms[1](x)), context


class RowPool(nn.Module):
    """A row's tokens to one vector: its last token asks, the others answer.

    Args:
        d_model: D, of the tokens.
        d_row: E, of the vector.
        n_heads: H; divides E.
    """

    def __init__(self, d_model: int, d_row: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(d_model)
        self.last = nn.Linear(d_model, d_row)
        self.query = nn.Linear(d_model, d_row, bias=False)
        self.key_value = nn.Linear(d_model, 2 * d_row, bias=False)
        self.out = nn.Linear(d_row, d_row, bias=False)

    def forward(self, x: Float[Tensor, "B R M D"]) -> Float[Tensor, "B R E"]:
        """(B, R, M, D) to (B, R, E)."""
        x = self.norm(x)
        last = x[:, :, -1:]
        query = self.query(last).unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)
        key, value = self.key_value(x).unflatten(-1, (self.n_heads, -1)).transpose(-3, -2).chunk(2, -1)
        found = attend(query, key, value, None).transpose(-3, -2).flatten(-2)
        return (self.last(last) + self.out(found)).squeeze(-2)
