"""Items that are the same, or nearly, whatever they are called.

    exact      equal bytes, found by a digest of each item's content
    pictures   shifted, turned, mirrored, inverted and cropped copies: `regard.domains.images.near_copies`
    vectors    distances between standardised vectors
    tokens     weighted Jaccard likeness of the sets of token ids, rare ids counting more

How alike two different items can be depends on the data: two vertical strokes are one stroke, and points of the plane
lie close by accident. So a pair is a copy only where it is much nearer than either of the two comes to items of other
classes of its own data set.

Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood information" (for vectors:
in few dimensions a near neighbour proves little); Broder 1997, "On the resemblance and containment of documents".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from regard.domains.base import NearCopy, digests
from regard.domains.images.near_copies import LIKE_PICTURES, near_picture_copies
from regard.domains.images.registration import grey_pictures, picture_matches, register
from regard.episode import Items

_AT_ONCE = 1024
_LIKE_TEXTS = 0.6
_NEARER = 0.5
_NEARER_VECTORS = 0.35
_NEARER_IN_CLASS = 0.1  # of the usual distance of two items of a class
_NEARER_IN_CLASS_TEXTS = 0.4
_LIKE_TEXTS_IN_CLASS = 0.7
_LEAST_SHARE_OF_TEXTS = 0.1
_BY_ACCIDENT = 1e-3  # expected number of accidental copies among vectors
_MOST_FLAGGED = 400  # pairs of pictures looked at closely


def is_coarse(x: Items, y: Tensor) -> bool:
    """Whether more than 1% of the items equal one of another class, as in coarse tables and short texts."""
    if is_picture(x):
        return False  # clean renderings of two letters may be equal; a drawing of theirs is not
    first: dict[str, int] = {}
    known = digests(x)
    common = {d for d, label in zip(known, y.tolist(), strict=True) if first.setdefault(d, label) != label}
    return sum(d in common for d in known) > 0.01 * len(known)


def is_picture(x: Items) -> bool:
    """Whether items look like pictures: (N, H, W) or (N, H, W, 1 or 3) of at least 8 x 8."""
    if isinstance(x, dict) or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3)):
        return False
    return min(x.shape[1:3]) >= 8


def near_copies(a: Items, b: Items, y_a: Tensor | None = None, y_b: Tensor | None = None) -> list[NearCopy]:
    """Pairs of one item of each set that are copies of one another, equal ones included.

    Args:
        a: (N, *item).
        b: (M, *item).
        y_a: (N,) classes; near items of one class are no sign of how alike different items are. None: all differ.
        y_b: (M,).
    """
    y_a = torch.arange(_length(a)) if y_a is None else y_a.cpu()
    y_b = torch.arange(_length(b)) if y_b is None else y_b.cpu()
    if not len(y_a) or not len(y_b):
        return []
    if isinstance(a, Tensor) and isinstance(b, Tensor) and is_picture(a) and is_picture(b):
        return near_picture_copies(a, b, y_a, y_b)
    if is_tokens(a) and is_tokens(b):
        return _token_copies(a, b, y_a, y_b)
    return _vector_copies(vectors(a), vectors(b), y_a, y_b)


def is_tokens(x: Items) -> bool:
    """Whether items are token ids: integers of 32 bits or more, alone or in a dict without floating-point items."""
    tensor = token_ids(x)
    return tensor is not None and tensor.ndim >= 2


def token_ids(x: Items) -> Tensor | None:
    """The tensor of token ids, or None."""
    tensors = [x["ids"]] if isinstance(x, dict) and "ids" in x else list(x.values()) if isinstance(x, dict) else [x]
    whole = [t for t in tensors if t.dtype in (torch.int64, torch.int32)]
    return whole[0] if whole and len(whole) == len(tensors) else None


def vectors(x: Items) -> Tensor:
    """(N, D) floats: all numbers of each item side by side, 0 where they are missing."""
    tensors = [x[key] for key in sorted(x)] if isinstance(x, dict) else [x]
    flat = [t.detach().cpu().to(torch.float32).reshape(len(t), -1) for t in tensors]
    return torch.nan_to_num(torch.cat(flat, 1), 0.0, 0.0, 0.0)


def _length(x: Items) -> int:
    return len(next(iter(x.values())) if isinstance(x, dict) else x)


def _token_copies(a: Items, b: Items, y_a: Tensor, y_b: Tensor) -> list[NearCopy]:
    ids_a, ids_b = token_ids(a), token_ids(b)
    assert ids_a is not None and ids_b is not None
    set_a, set_b = token_sets(ids_a, ids_b)
    return _nearest_copies(
        lambda i: 1 - jaccard(set_a[i.numpy()], set_b),
        lambda i: 1 - jaccard(set_a[i.numpy()], set_a),
        lambda i: 1 - jaccard(set_b[i.numpy()], set_b),
        (y_a, y_b),
        _NEARER,
        1 - _LIKE_TEXTS,
        "share of tokens in common",
    )


def _vector_copies(a: Tensor, b: Tensor, y_a: Tensor, y_b: Tensor) -> list[NearCopy]:
    both = torch.cat([a, b])
    centre, scale = both.mean(0), both.std(0, correction=0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    a, b = (a - centre) / scale, (b - centre) / scale
    nearer = min(_NEARER_VECTORS, (_BY_ACCIDENT / len(a)) ** (1 / dimension(b)))
    return _nearest_copies(
        lambda i: torch.cdist(a[i], b, compute_mode="donot_use_mm_for_euclid_dist"),
        lambda i: torch.cdist(a[i], a, compute_mode="donot_use_mm_for_euclid_dist"),
        lambda i: torch.cdist(b[i], b, compute_mode="donot_use_mm_for_euclid_dist"),
        (y_a, y_b),
        nearer,
        float("inf"),
        "of the usual distance is missing",
    )


def dimension(x: Tensor) -> float:
    """The intrinsic dimension of (N, D) points, from the distances to the second and the fourth nearest.

    As Facco et al. take the first and the second: in d dimensions the mean of log(r4 / r2) is (1/2 + 1/3) / d. A copy
    of each point, which is what is looked for, moves the first alone.
    """
    some = torch.unique(x, dim=0)
    some = some[torch.linspace(0, len(some) - 1, min(len(some), 1000)).long()]
    if len(some) < 5:
        return float(x.shape[1])
    near = torch.cdist(some, some).fill_diagonal_(float("inf")).topk(4, 1, largest=False).values
    near = near[near[:, 1] > 1e-6 * near[:, 3].mean()]
    if len(near) < 3:
        return 1.0
    return float((5 / 6 / torch.log(near[:, 3] / near[:, 1]).mean().clamp_min(1e-3)).clamp(1.0, 40.0))


def token_sets(ids_a: Tensor, ids_b: Tensor) -> tuple[csr_matrix, csr_matrix]:
    """Two (N, L, ...) of token ids, 0 for padding, to sparse rows: for each token present, its inverse frequency."""
    n_tokens = int(max(ids_a.max(), ids_b.max())) + 1
    present = []
    for ids in (ids_a.cpu().flatten(1).numpy(), ids_b.cpu().flatten(1).numpy()):
        row, column = np.nonzero(ids > 0)
        matrix = csr_matrix((np.ones(len(row), np.float32), (row, ids[row, column])), (len(ids), n_tokens))
        matrix.data[:] = 1.0
        present.append(matrix)
    count = np.asarray(present[0].sum(0)).ravel() + np.asarray(present[1].sum(0)).ravel()
    rarity = np.log(1 + (len(ids_a) + len(ids_b)) / (1 + count)).astype(np.float32)
    first, second = (csr_matrix(matrix.multiply(rarity)) for matrix in present)
    return first, second


def jaccard(a: csr_matrix, b: csr_matrix) -> Tensor:
    """(N, M) weighted Jaccard likeness of rows whose entries are the weights of what they hold."""
    member = b.copy()
    member.data = np.ones_like(member.data)
    common = torch.from_numpy((a @ member.T).toarray())
    size_a, size_b = (torch.from_numpy(np.asarray(x.sum(1)).ravel().astype(np.float32)) for x in (a, b))
    return common / (size_a[:, None] + size_b - common).clamp_min(1e-6)


def _nearest_copies(
    between: Callable[[Tensor], Tensor],
    within_a: Callable[[Tensor], Tensor],
    within_b: Callable[[Tensor], Tensor],
    y: tuple[Tensor, Tensor],
    nearer: float,
    farthest: float,
    how: str,
) -> list[NearCopy]:
    """Rows of `a` whose nearest row of `b` is nearer than `nearer` times what other classes of their sets come."""
    y_a, y_b = y
    found: list[NearCopy] = []
    for i in torch.arange(len(y_a)).split(_AT_ONCE):
        distance, j = between(i).min(1)
        usual = within_a(i).masked_fill(y_a[i][:, None] == y_a, float("inf")).min(1).values
        # Items equal to one of another class are coarse, and their equals prove nothing.
        kept = ((distance <= farthest) & (distance <= nearer * usual) & (usual > 1e-6)).nonzero()[:, 0]
        if not len(kept):
            continue
        distance, j, i_kept, usual = distance[kept], j[kept], i[kept], usual[kept]
        usual = torch.minimum(usual, within_b(j).masked_fill(y_b[j][:, None] == y_b, float("inf")).min(1).values)
        close = (distance <= nearer * usual) & (usual > 1e-6)
        likeness = 1 - distance if farthest < float("inf") else 1 - distance / usual.clamp_max(1e30)
        found += _copies(i_kept[close], j[close], likeness[close], how)
    return found


def _copies(row_a: Tensor, row_b: Tensor, likeness: Tensor, how: str) -> list[NearCopy]:
    rows = zip(row_a.tolist(), row_b.tolist(), likeness.tolist(), strict=True)
    return [NearCopy(i, j, r, how) for i, j, r in rows]


def copies_in_episodes(episodes: list[tuple[Items, Items, Tensor, Tensor]]) -> list[tuple[int, NearCopy]]:
    """Support items (row_a) and queries (row_b) of one episode that are copies, and the number of the episode.

    Items of one class are alike, so a pair must be much nearer than two items of its class usually are.

    Args:
        episodes: support items (S, *item), query items (Q, *item), and the class of each, of every episode.
    """
    a, b = _stacked([episode[0] for episode in episodes]), _stacked([episode[1] for episode in episodes])
    y_a, y_b = torch.cat([episode[2] for episode in episodes]), torch.cat([episode[3] for episode in episodes])
    size_a, size_b = [len(episode[2]) for episode in episodes], [len(episode[3]) for episode in episodes]
    start_a, start_b = (np.concatenate([[0], np.cumsum(sizes)[:-1]]) for sizes in (size_a, size_b))
    same_item = _numbered(digests(a), digests(b))
    if is_picture(a) and isinstance(a, Tensor) and isinstance(b, Tensor):
        return _pictures_in_episodes(a, b, (y_a, y_b), (size_a, size_b), same_item)
    if (ids_a := token_ids(a)) is not None and (ids_b := token_ids(b)) is not None and is_tokens(a):
        sets = token_sets(ids_a, ids_b)
        distance, nearer, farthest = 1 - jaccard(*sets), _NEARER_IN_CLASS_TEXTS, 1 - _LIKE_TEXTS_IN_CLASS
    else:
        x, z = vectors(a), vectors(b)
        scale = torch.cat([x, z]).std(0, correction=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        distance = torch.cdist(x / scale, z / scale, compute_mode="donot_use_mm_for_euclid_dist")
        n_pairs = sum(n * m for n, m in zip(size_a, size_b, strict=True))
        nearer = min(_NEARER_IN_CLASS, (_BY_ACCIDENT / max(n_pairs, 1)) ** (1 / dimension(z / scale)))
        farthest = float("inf")
    different = same_item[0][:, None] != same_item[1]
    of_class = (y_a[:, None] == y_b) & different
    found: list[tuple[int, NearCopy]] = []
    n_queries = 0
    for e, (i, n, j, m) in enumerate(zip(start_a, size_a, start_b, size_b, strict=True)):
        usual = distance[i : i + n].masked_fill(~of_class[i : i + n], float("nan")).nanmedian(1).values[:, None]
        here = distance[i : i + n, j : j + m]
        copies = (here <= nearer * usual) & (here <= farthest) & different[i : i + n, j : j + m]
        n_queries += m
        for s, q in copies.nonzero().tolist():
            found.append(
                (e, NearCopy(s, q, float(1 - here[s, q] / usual[s, 0].clamp_min(1e-9)), "nearer by a share of"))
            )
    # Short texts repeat each other by nature: some pairs are no leak.
    least = _LEAST_SHARE_OF_TEXTS * n_queries if farthest < 1 else 0
    return found if len(found) > least else []


def _pictures_in_episodes(
    a: Tensor, b: Tensor, y: tuple[Tensor, Tensor], sizes: tuple[list[int], list[int]], items: tuple[Tensor, Tensor]
) -> list[tuple[int, NearCopy]]:
    """As `copies_in_episodes`; rows of `a` and `b` are those of all episodes."""
    grey_a, grey_b = grey_pictures(a), grey_pictures(b)
    episode_a, episode_b = (torch.repeat_interleave(torch.arange(len(s)), torch.tensor(s)) for s in sizes)
    # Equal items are another check's matter; copies in another class (a turned class) do not help the learner.
    allowed = (episode_a[:, None] == episode_b) & (y[0][:, None] == y[1]) & (items[0][:, None] != items[1])
    found = picture_matches(grey_a, grey_b, allowed=allowed, at_most=400)
    flagged = (found.likeness >= LIKE_PICTURES).nonzero()[:, 0][:_MOST_FLAGGED]
    copies: list[tuple[int, NearCopy]] = []
    for k in flagged.tolist():
        i, j = int(found.row_a[k]), int(found.row_b[k])
        # Copies of either are among the others perhaps: half of them may be.
        others = ((y[1] == y[0][i]) & (items[1] != items[0][i]) & (items[1] != items[1][j])).nonzero()[:, 0]
        others = others[torch.linspace(0, len(others) - 1, min(len(others), 9)).long()] if len(others) else others
        usual = (
            register(grey_a[i].expand(len(others), -1, -1), grey_b[others]).median()
            if len(others)
            else torch.tensor(0.5)
        )
        if 1 - float(found.likeness[k]) <= _NEARER_IN_CLASS * (1 - float(usual)):
            row = (i - sum(sizes[0][: int(episode_a[i])]), j - sum(sizes[1][: int(episode_b[j])]))
            copy = NearCopy(row[0], row[1], float(found.likeness[k]), "details after registration correlate")
            copies.append((int(episode_a[i]), copy))
    return copies


def _numbered(a: list[str], b: list[str]) -> tuple[Tensor, Tensor]:
    """Equal digests, equal numbers."""
    number = {digest: i for i, digest in enumerate(dict.fromkeys([*a, *b]))}
    return torch.tensor([number[d] for d in a]), torch.tensor([number[d] for d in b])


def _stacked(items: list[Items]) -> Items:
    """Items of several episodes, one after another; sequences of different lengths are padded by 0."""
    first = items[0]
    if isinstance(first, dict):
        return {key: _joined([x[key] for x in items if isinstance(x, dict)]) for key in first}
    return _joined([x for x in items if isinstance(x, Tensor)])


def _joined(tensors: list[Tensor]) -> Tensor:
    if tensors[0].ndim < 2 or len({t.shape[1:] for t in tensors}) == 1:
        return torch.cat(tensors)
    longest = max(t.shape[1] for t in tensors)
    return torch.cat([torch.cat([t, t.new_zeros(len(t), longest - t.shape[1], *t.shape[2:])], 1) for t in tensors])
