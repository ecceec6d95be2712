"""The in-context transformer for tables: no fitting, one forward pass over the labelled rows and the asked ones.

    cell (r, f)     number, rank, frequency and missing flag of x_rf, judged by the support   -> a vector
    target (r)      code of the class (or the number) of a support row, "unknown" of a query  -> one more cell
    table layers    attention across the cells of a row, then across the rows of a column
    pool            the target's cell asks the others of its row: a row becomes one vector
    experts         what a dozen kernel ridge regressions say of the row (of a support row: leave-one-out)
    row layers      attention across rows
    answer          the experts' opinions, mixed by gates that depend on the row, and a correction to them;
                    class scores, or a normal distribution

Support rows attend to support rows, queries to support rows only, as two calls; keys and values of the support are the
state, so that another question costs the queries alone.

Attention along both axes of the table: TabPFN v2, Hollmann et al. 2025, "Accurate predictions on small data with a
tabular foundation model", Nature 637. Cells first, then rows of one vector: TabICL, Qu et al. 2025 (arXiv:2502.05564).
Learning from tables that a prior generates: Mueller et al. 2022, "Transformers can do Bayesian inference"
(arXiv:2112.10510). Many classes by codes: Dietterich and Bakiri 1995, "Error-correcting output codes".

Differs from the papers: it does not learn all from nothing. Experts in closed form (`nn/kernel_experts.py`) are part
of it, and what is trained is whom to believe and how to correct them, so that two CPU cores are enough. Cells are
described by score and rank, so that units, monotone transforms and outliers matter little. Both stages see the targets.
A row weighs what its `weight` says, everywhere. The order of support rows does not matter. The order of columns and the
names of classes do, a little: each has a mark that means nothing, and averaging over several is the estimator's
`n_estimators`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from regard.episode import Episode, Items, Support, map_items
from regard.errors import ConfigError, EpisodeError, did_you_mean
from regard.learners.base import Learner, Output, hide_absent
from regard.nn.kernel_experts import (
    EXACT_ROWS,
    EXPERTS,
    N_ANCHORS,
    CellViews,
    Opinions,
    ask_again,
    choose_anchors,
    consult,
)
from regard.nn.table import (
    CellEmbedding,
    Columns,
    RowLayer,
    RowPool,
    TableContext,
    TableLayer,
    column_statistics,
    describe_cells,
    view_cells,
)
from regard.nn.transforms import is_recorded, values_are_known

Targets = Literal["classes", "numbers"]


@dataclass(frozen=True)
class TableState:
    """What is kept of the support: no rows, but what queries need of them.

    Args:
        columns: statistics of the columns.
        opinions: the experts.
        whole: the experts on all classes at once, where the classes have codes; None where they are their own.
        layers: keys and values, a table layer or row layer each.
        weight: (B, S), or None where every row weighs 1; of the anchors, where there are more than `EXACT_ROWS` rows.
        mass: (B, C) summed weight of each class; empty for regression.
        centre, spread: (B, 1, 1) of the targets; 0 and 1 for classes.
        codes: (B, W, C) the code of each class in each of W words; None where classes are their own codes.
    """

    columns: Columns
    opinions: Opinions
    whole: Opinions | None
    layers: tuple[TableContext, ...]
    weight: Tensor | None
    mass: Tensor
    centre: Tensor
    spread: Tensor
    codes: Tensor | None


@final
class TableTransformer(Learner):
    """Predicts the rows of a table from its labelled rows.

    Items are rows (F,) of numbers, or a dict of "x" (F,) and "missing" (F,), true where a cell is not known; what x
    holds there must be finite and is not looked at.

    Args:
        targets: "classes" or "numbers"; a model is trained for one of them.
        d_cell: width of a cell.
        n_table_layers: layers along both axes.
        d_row: width of a row.
        n_row_layers: layers across rows.
        n_cell_heads, n_row_heads: heads.
        n_codes: classes told apart at once; more are told apart by codes, in several passes.
        n_repeats: passes for each digit of a code.

    Raises:
        ConfigError: unknown targets, or heads that do not divide a width.
    """

    # Leave-one-out leaves out a unit: weight 2 is the row twice, but weight 1.4 is not the same as 0.7 twice.
    counts_weight = False
    relabels = False
    domain = "tables"
    regresses = True

    def __init__(
        self,
        *,
        targets: Targets = "classes",
        d_cell: int = 48,
        n_table_layers: int = 2,
        d_row: int = 128,
        n_row_layers: int = 3,
        n_cell_heads: int = 2,
        n_row_heads: int = 4,
        n_codes: int = 10,
        n_repeats: int = 3,
    ) -> None:
        super().__init__()
        if targets not in get_args(Targets):
            raise ConfigError(f"targets is {targets!r}: {did_you_mean(str(targets), get_args(Targets))}")
        self.classifies, self.regresses = targets == "classes", targets == "numbers"
        self.n_codes, self.n_repeats = n_codes, n_repeats
        n_inputs, n_outputs = (n_codes, n_codes) if self.classifies else (2, 1)
        self.cells = CellEmbedding(d_cell)
        self.cell_target, self.row_target = nn.Linear(n_inputs, d_cell), nn.Linear(n_inputs, d_row)
        self.unknown = nn.Parameter(0.02 * torch.randn(d_cell))
        self.table_layers = nn.ModuleList(TableLayer(d_cell, n_cell_heads) for _ in range(n_table_layers))
        self.pool = RowPool(d_cell, d_row, n_row_heads)
        self.told = nn.Linear(n_outputs * len(EXPERTS), d_row)
        self.size = nn.Linear(len(EXPERTS) + 3, d_row)
        self.row_layers = nn.ModuleList(RowLayer(d_row, n_row_heads) for _ in range(n_row_layers))
        self.norm = nn.LayerNorm(d_row)
        self.gate, self.head = nn.Linear(d_row, len(EXPERTS)), nn.Linear(d_row, n_codes if self.classifies else 2)
        self.log_trust = nn.Parameter(torch.tensor(3.2))
        if self.classifies:
            self.log_sharpness, self.log_floor = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(-3.0))
        for last in (self.gate, self.head):
            # It begins as the experts' mixture, and learns to do better.
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def adapt(self, support: Support) -> TableState:
        """Read the labelled rows."""
        return self._read(support.map(torch.clone), None)[-1]

    def predict(self, state: TableState, query_x: Items) -> Output:
        """(B, Q, C) logits, or a normal distribution over (B, Q, T)."""
        x, missing = _cells(query_x)
        n_copies = len(state.columns.x) // len(x)
        x = x.repeat_interleave(n_copies, 0)
        missing = None if missing is None else missing.repeat_interleave(n_copies, 0)
        with torch.autocast(x.device.type, enabled=False):
            views, common = view_cells(x, missing, state.columns)
            told = ask_again(state.opinions, views)
            told_whole = None if state.whole is None else ask_again(state.whole, _every(views, n_copies))
        tokens = self._tokens(describe_cells(views, common, missing), None)
        h, _ = self._through(tokens, told, state.opinions, None, state.layers, state.weight)
        return self._answer(h, told, told_whole, state)

    def forward(self, episode: Episode) -> Output:
        """As `predict(adapt(...))`, in one pass: twice as large products."""
        return self._answer(*self._read(episode.support, episode.query_x))

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read(self, given: Support, query_x: Items | None) -> tuple[Tensor, Tensor, Tensor | None, TableState]:
        """Support, with queries or without, through all layers: the queries' vectors and opinions, and the state."""
        self._require(given)
        support, mass, codes = self._coded(given)
        x, missing = _cells(support.x)
        known = x.shape[1]
        if query_x is not None:
            x, missing = _joined((x, missing), _cells(query_x), len(support.y))
        # Weights that are all 1 are left out, which saves a pass over every attention.
        may_read = values_are_known()
        all_one = may_read and not support.weight.requires_grad and bool((support.weight == 1).all())
        weight = None if all_one else support.weight
        # Sums and inverses are no work for bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            centre, spread = _target_statistics(support)
            columns = column_statistics(x[:, :known], None if missing is None else missing[:, :known], support.weight)
            target = self._targets(support, centre, spread)
            views, common = view_cells(x, missing, columns)
            wanted = target if self.classifies else target[..., :1]
            anchors = None
            # Rows of weight 0 do not count, here either.
            if may_read and known > EXACT_ROWS and int((support.weight > 0).sum(1).max()) > EXACT_ROWS:
                anchors = choose_anchors(views, wanted, support.weight, N_ANCHORS)
            opinions, told = consult(views, wanted, support.weight, anchors)
            whole, told_whole = None, None
            if codes is not None:
                rows = None if anchors is None else anchors[:: len(codes)]
                whole, told_whole = consult(_every(views, len(codes)), given.one_hot(), given.weight, rows)
                told_whole = told_whole[:, known:]
            if anchors is not None:
                # Beyond what it was trained on, the layers see rows that stand for all; the experts have seen all.
                rows = torch.cat([anchors, torch.arange(known, x.shape[1], device=x.device).expand(len(x), -1)], 1)
                views, common, told = views.gather(rows), _gathered(common, rows), _gathered(told, rows)
                missing = None if missing is None else _gathered(missing, rows)
                target, known = _gathered(target, anchors), anchors.shape[1]
                weight = None if weight is None else weight.gather(1, anchors)
        tokens = self._tokens(describe_cells(views, common, missing), self.cell_target(target))
        h, layers = self._through(tokens, told, opinions, self.row_target(target), None, weight)
        every = None if codes is None else codes.expand(len(mass), -1, -1)
        state = TableState(columns, opinions, whole, layers, weight, mass, centre, spread, every)
        return h[:, known:], told[:, known:], told_whole, state

    def _coded(self, support: Support) -> tuple[Support, Tensor, Tensor | None]:
        """Rows as they are learned from: a task for each target, or for each word of the codes."""
        n_classes, x, weight = support.n_classes, support.x, support.weight
        if support.is_regression:
            mass = weight.new_zeros(len(weight), 0)
            n_copies, y, codes = support.y.shape[-1], support.y.mT.flatten(0, 1)[..., None], None
        else:
            mass = support.membership().sum(1)
            if is_recorded() or n_classes <= self.n_codes:  # a file tells no more apart
                return support, mass, None
            codes = class_codes(n_classes, self.n_codes, self.n_repeats).to(support.y.device)
            n_copies, y = len(codes), codes[:, support.y].transpose(0, 1).flatten(0, 1)
        x = map_items(lambda t: t.repeat_interleave(n_copies, 0), x)
        return Support(x, y, weight.repeat_interleave(n_copies, 0), support.n_classes), mass, codes

    def _targets(self, support: Support, centre: Tensor, spread: Tensor) -> Tensor:
        """(B, S, n_inputs): what is known of the target of each row."""
        if not support.is_regression:
            codes = torch.arange(self.n_codes, device=support.y.device)
            return (support.y[..., None] == codes).to(support.weight.dtype)
        score = (support.y - centre) / spread
        return torch.cat([score, torch.tanh(score)], -1)

    def _tokens(self, cells: Tensor, target: Tensor | None) -> Float[Tensor, "B R M D"]:
        """Cells and, as the last of each row, what is known of its target: nothing, where it is a query."""
        h = self.cells(cells)
        last = self.unknown.to(h.dtype).expand(*h.shape[:2], 1, h.shape[-1])
        if target is not None:
            last = torch.cat([target[:, :, None].to(h.dtype), last[:, target.shape[1] :]], 1)
        return torch.cat([h, last], 2)

    def _through(
        self,
        tokens: Tensor,
        told: Tensor,
        opinions: Opinions,
        row_target: Tensor | None,
        kept: tuple[TableContext, ...] | None,
        weight: Tensor | None,
    ) -> tuple[Tensor, tuple[TableContext, ...]]:
        """All layers, on rows that are the context (and queries after them) or, with what was `kept`, queries."""
        n_context = 0 if row_target is None else row_target.shape[1]
        given = iter(kept or [None] * (len(self.table_layers) + len(self.row_layers)))
        layers: list[TableContext] = []
        h: Any = tokens
        for layer in self.table_layers:
            h, context = layer(h, next(given), n_context, weight)
            layers.append(context)
        # What is known of a table as a whole (B, K + 3): rows, features, spread of its targets, and who erred.
        rows, n_features = opinions.total, opinions.relevance.shape[1]
        features = torch.full_like(rows, n_features)
        variety = (opinions.mean * (1 - opinions.mean)).sum((1, 2))
        error = opinions.loss.clamp_max(4.0)
        size = torch.cat([rows.clamp_min(1).log() / 5, features.log() / 3, variety, error], -1)
        h = self.pool(h) + self.told(told.flatten(2)) + self.size(size)[:, None]
        if row_target is not None:
            h = torch.cat([h[:, :n_context] + row_target.to(h.dtype), h[:, n_context:]], 1)
        for layer in self.row_layers:
            h, context = layer(h, next(given), n_context, weight)
            layers.append(context)
        return self.norm(h), tuple(layers)

    # ---- answering ---------------------------------------------------------------------------------------------------

    def _answer(self, h: Tensor, told: Tensor, told_whole: Tensor | None, state: TableState) -> Output:
        """Rows (B * copies, Q, D) and opinions of them as logits or as a distribution."""
        share = torch.softmax(self.gate(h) + self._believed(state.opinions), -1)
        mixed = (told * share[:, :, None]).sum(-1)
        if self.regresses:
            error = (share * state.opinions.loss[:, None]).sum(-1, keepdim=True)
            # The experts' mean and error (B * T, Q, 1), corrected, as a distribution over (B, Q, T).
            correction = self.head(h)
            n_targets = len(correction) // len(state.mass)
            mean = state.centre + state.spread * (mixed + correction[..., :1])
            deviation = state.spread * ((error + 1e-6).sqrt() * torch.exp(correction[..., 1:].clamp(-7, 7)) + 1e-3)
            mean, deviation = (t.unflatten(0, (-1, n_targets)).squeeze(-1).mT for t in (mean, deviation))
            return Normal(mean, deviation, validate_args=False)
        logits = self._log_likely(mixed) + self.head(h)
        if state.codes is None or state.whole is None or told_whole is None:
            return hide_absent(logits[..., : state.mass.shape[-1]], state.mass)
        direct = (told_whole * torch.softmax(self._believed(state.whole), -1)[:, :, None]).sum(-1)
        direct = torch.log_softmax(self._log_likely(direct), -1)
        return hide_absent((direct + _decoded(logits, state.codes[0], state.mass)) / 2, state.mass)

    def _believed(self, opinions: Opinions) -> Float[Tensor, "B 1 K"]:
        """An expert is believed by its leave-one-out error, the more the more rows there were to err on."""
        return -(self.log_trust.exp() * opinions.total / 50 * opinions.loss)[:, None]

    def _log_likely(self, mixed: Tensor) -> Tensor:
        """Opinions, which may leave 0 .. 1 a little, as logits."""
        positive = (mixed + (mixed.square() + 0.02**2).sqrt()) / 2
        return self.log_sharpness.exp() * (positive + self.log_floor.exp()).log()


def _gathered(x: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, M) of (B, R, ...)."""
    return x.gather(1, rows.view(*rows.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))


def _every(views: CellViews, step: int) -> CellViews:
    """One of `step` copies of each task."""
    return CellViews(views.score[::step], views.rank[::step], views.normal[::step])


def class_codes(n_classes: int, n_codes: int, n_repeats: int) -> Tensor:
    """(W, C) int64: as few digits as tell the classes apart, repeated under other names of the classes.

    The digits have as small a base as their number allows, so that each pass is as easy as can be.
    """
    n_digits = max(1, math.ceil(math.log(n_classes) / math.log(n_codes) - 1e-9))
    base = next(b for b in range(1, n_codes + 1) if b**n_digits >= n_classes)
    rng = np.random.default_rng(n_classes)
    words = []
    for _ in range(n_repeats):
        name = torch.from_numpy(rng.permutation(n_classes))
        words += [name // base**digit % base for digit in range(n_digits)]
    return torch.stack(words)


def _decoded(found: Tensor, codes: Tensor, mass: Tensor) -> Tensor:
    """(B * W, Q, n_codes) to (B, Q, C): log-probabilities of a class's letters, summed over the digits of a code."""
    n_words, n_classes = codes.shape
    found = found.unflatten(0, (-1, n_words))
    present = torch.zeros(*mass.shape[:1], n_words, found.shape[-1], dtype=mass.dtype, device=mass.device)
    present = present.scatter_add(2, codes.expand(len(mass), -1, -1), mass[:, None].expand(-1, n_words, -1))
    logits = torch.where((present > 0)[:, :, None], found, -torch.inf)
    # A task without any rows has no letter present; its answer is replaced, and must not be NaN before that.
    logits = torch.where((present > 0).any(-1)[:, :, None, None], logits, 0.0)
    index = codes[None, :, None].expand(len(found), -1, found.shape[2], -1)
    log_p = torch.log_softmax(logits, -1).gather(-1, index)
    n_digits = math.ceil(math.log(n_classes) / math.log(found.shape[-1]) - 1e-9)
    return log_p.sum(1) * n_digits / n_words


def _target_statistics(support: Support) -> tuple[Tensor, Tensor]:
    """(B, 1, 1) centre and spread of the targets; 0 and 1 for classes."""
    if not support.is_regression:
        zero = support.weight.new_zeros(len(support.y), 1, 1)
        return zero, zero + 1
    columns = column_statistics(support.y, None, support.weight)
    return columns.centre, columns.spread


def _cells(items: Items) -> tuple[Tensor, Tensor | None]:
    """Numbers (B, R, F), and which of them are missing.

    Raises:
        EpisodeError: other items than rows of a table.
    """
    if isinstance(items, dict):
        if items.keys() != {"x", "missing"}:
            raise EpisodeError(
                f"items are a dict of {sorted(items)}: expected rows of numbers, or a dict of 'x' and 'missing'."
            )
        x, missing = items["x"], items["missing"].bool()
    else:
        x, missing = items, None
    if x.ndim != 3 or x.shape[-1] == 0:
        raise EpisodeError(
            f"items have shape {tuple(x.shape[2:])}: expected rows of at least one number, (features,); flatten them."
        )
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    return (x if missing is None else x.masked_fill(missing, 0.0)), missing


def _joined(
    support: tuple[Tensor, Tensor | None], query: tuple[Tensor, Tensor | None], n_tasks: int
) -> tuple[Tensor, Tensor | None]:
    """Support and query one after the other, queries repeated for as many tasks as the support was made into."""
    copies = n_tasks // len(query[0])
    x = torch.cat([support[0], query[0].repeat_interleave(copies, 0)], 1)
    if support[1] is None and query[1] is None:
        return x, None
    known = [torch.zeros_like(t, dtype=torch.bool) if m is None else m for t, m in (support, query)]
    return x, torch.cat([known[0], known[1].repeat_interleave(copies, 0)], 1)
