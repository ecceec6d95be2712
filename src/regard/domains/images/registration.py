"""Pictures that are copies of one another although they were shifted, turned, mirrored, inverted or cropped.

    propose     magnitudes of low frequencies (no shift and no inversion changes them), of one picture turned in steps
                of 10 degrees, mirrored, and cropped, against those of all others: a matrix product for each view
    register    the shift of the best normalised cross-correlation; then turn, scale and shift refined by least squares
                (Lucas and Kanade), keeping the largest correlation of the pixels that overlap

What comes back is that correlation. Copies reach 0.98 and more; how near two different pictures come depends on the
data (two vertical strokes are one stroke), so `regard.domains.images.near_copies` judges it against the data itself.

Reddy, Chatterji 1996, "An FFT-based technique for translation, rotation, and scale-invariant image registration", IEEE
Transactions on Image Processing 5(8); Lucas, Kanade 1981, "An iterative image registration technique".

Left out: copies with a stretched axis, with parts painted over, or of less than half of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32  # larger pictures are reduced to this side
_MARGIN = 4  # pixels that a shift is looked for at once, on each side
_FREQUENCIES = 8
_DIMENSIONS = 64  # of a descriptor
_LIKELY = 0.6  # cosine of descriptors above which two pictures are registered; most copies have 0.73 and more
_AT_ONCE = 1024
_SELECTED = 400  # rows compared under the costly views too
_TURNS = range(0, 180, 10)  # degrees; magnitudes are the same after a half turn
_CROPS = (0.85, 0.7)  # share of the side that a cropped copy keeps; those between are near enough


@dataclass(frozen=True)
class Matches:
    """Pairs of rows and how alike they are.

    Args:
        row_a: (M,) row of the first set.
        row_b: (M,) row of the second set.
        likeness: (M,) correlation of the registered pixels, at most 1.
    """

    row_a: Tensor
    row_b: Tensor
    likeness: Tensor


@dataclass(frozen=True)
class _View:
    """One way in which a picture may have been changed before it was copied."""

    mirrored: bool
    degrees: int
    crop_a: float = 1.0
    crop_b: float = 1.0


_VIEWS = (
    *(_View(mirrored, degrees) for mirrored in (False, True) for degrees in _TURNS),
    *(_View(mirrored, degrees, crop_a=crop) for crop in _CROPS for mirrored in (False, True) for degrees in (0, 90)),
    *(_View(mirrored, degrees, crop_b=crop) for crop in _CROPS for mirrored in (False, True) for degrees in (0, 90)),
)


def grey_pictures(x: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, C) to (N, side, side) slightly smoothed grey floats, the side at most 32."""
    grey = x.detach().cpu().float()
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    side = min(SIDE, max(grey.shape[1:]))
    if tuple(grey.shape[1:]) != (side, side):
        grey = F.interpolate(grey[:, None], (side, side), mode="area")[:, 0]
    # The scale of pixels is no matter to any step but the guards against division by zero.
    grey = grey / grey.flatten().std().clamp_min(1e-12)
    kernel = torch.exp(-(torch.arange(-2, 3.0) ** 2))
    kernel = kernel / kernel.sum()
    padded = F.pad(grey[:, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))[:, 0]


def picture_matches(a: Tensor, b: Tensor, *, at_most: int = 1200, allowed: Tensor | None = None) -> Matches:
    """The most alike pairs between two sets of pictures, registered.

    All rows are compared upright, mirrored and by quarter turns; a spread selection of 400 rows of `a` also turned by
    other angles and cropped, which takes ten times as long.

    Args:
        a: (N, S, S) from `grey_pictures`.
        b: (M, S, S).
        at_most: how many pairs are registered, the likeliest ones.
        allowed: (N, M) which pairs are compared; all by default.
    """
    if not len(a) or not len(b):
        return Matches(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    describe = _Descriptor(b)
    described_b = {crop: describe(_changed(b, _View(False, 0, crop))) for crop in (1.0, *_CROPS)}
    proposed: list[Tensor] = []
    selected = torch.linspace(0, len(a) - 1, min(len(a), _SELECTED)).long()
    for number, view in enumerate(_VIEWS):
        all_rows = view.degrees % 90 == 0 and view.crop_a == view.crop_b == 1
        rows = torch.arange(len(a)) if all_rows else selected
        for some in rows.split(_AT_ONCE):
            cosine = describe(_changed(a[some], view)) @ described_b[view.crop_b].T
            if allowed is not None:
                cosine[~allowed[some]] = -1.0
            best, row_b = cosine.max(1)
            kept = (best > _LIKELY).nonzero()[:, 0]
            columns = (some[kept], row_b[kept], torch.full_like(kept, number), best[kept])
            proposed.append(torch.stack([column.double() for column in columns], 1))
    table = torch.cat(proposed)
    table = table[table[:, 3].argsort(descending=True)]
    # One view of each pair: the likeliest, which comes first.
    first_of = {pair: i for i, pair in reversed(list(enumerate((table[:, 0] * len(b) + table[:, 1]).tolist())))}
    table = table[sorted(first_of.values())[:at_most]]
    return _registered(a, b, table[:, 0].long(), table[:, 1].long(), table[:, 2].long())


class _Descriptor:
    """Magnitudes of low frequencies, in coordinates in which the pictures it was made from differ equally much."""

    def __init__(self, x: Tensor) -> None:
        some = x[torch.linspace(0, len(x) - 1, min(len(x), 4000)).long()]
        # Magnitudes near 0 are noise: what is added to all before the root takes their weight away.
        self._added = 0.3 * float((_magnitudes(some, 0.0) ** 2).mean())
        z = _magnitudes(some, self._added)
        self._mean = z.mean(0)
        spread = z.std(0, correction=0)
        self._scale = 1 / (spread + 0.3 * spread.mean() + 1e-12)
        z = (z - self._mean) * self._scale
        # Rotated to their main directions, of which 64 keep what matters; the cosines are hardly changed.
        _, vectors = torch.linalg.eigh(z.T @ z)
        self._basis = vectors[:, -_DIMENSIONS:]

    def __call__(self, x: Tensor) -> Tensor:
        return F.normalize(((_magnitudes(x, self._added) - self._mean) * self._scale) @ self._basis, dim=1)


def _magnitudes(x: Tensor, added: float) -> Tensor:
    """(N, S, S) to (N, F) square roots of the magnitudes of low frequencies, under a window."""
    side = x.shape[-1]
    n = min(_FREQUENCIES, side // 2 - 1)
    line = torch.hann_window(side + 2, periodic=False)[1:-1]
    window = line[:, None] * line
    mean = (x * window).sum((1, 2), keepdim=True) / window.sum()
    spectrum = torch.fft.rfft2((x - mean) * window).abs().add(added).sqrt()
    return torch.cat([spectrum[:, : n + 1, : n + 1], spectrum[:, -n:, : n + 1]], 1).flatten(1)


def _changed(x: Tensor, view: _View) -> Tensor:
    """The pictures mirrored, turned and cropped about their centre."""
    if view.mirrored:
        x = x.flip(2)
    if view.degrees == 90 and view.crop_a == 1:
        return torch.rot90(x, 1, (1, 2))
    if view.degrees == 0 and view.crop_a == 1:
        return x
    angle = math.radians(view.degrees)
    c, s = view.crop_a * math.cos(angle), view.crop_a * math.sin(angle)
    grid = F.affine_grid(torch.tensor([[[c, s, 0.0], [-s, c, 0.0]]]), [1, 1, *x.shape[1:]], align_corners=False)
    return F.grid_sample(x[None], grid, align_corners=False, padding_mode="border")[0]


def _registered(a: Tensor, b: Tensor, row_a: Tensor, row_b: Tensor, number: Tensor) -> Matches:
    """Pairs of rows, each under the view of its number, with the likeness that registration finds."""
    likeness = torch.zeros(len(row_a))
    for v in torch.unique(number).tolist():
        view, members = _VIEWS[v], (number == v).nonzero()[:, 0]
        for some in members.split(_AT_ONCE):
            x = _changed(a[row_a[some]], view)
            y = b[row_b[some]]
            y = _changed(y, _View(False, 0, view.crop_b)) if view.crop_b != 1 else y
            likeness[some] = register(x, y)
    return Matches(row_a, row_b, likeness)


def register(a: Tensor, b: Tensor) -> Tensor:
    """(N,) correlation of each picture with its partner after the best shift, half turn, inversion, turn and zoom.

    Args:
        a: (N, S, S).
        b: (N, S, S).
    """
    likeness, sign, dy, dx = _best_shift(a, b)
    turned = torch.rot90(a, 2, (1, 2))
    likeness_t, sign_t, dy_t, dx_t = _best_shift(turned, b)
    better = likeness_t > likeness
    x = torch.where(better[:, None, None], turned, a) * torch.where(better, sign_t, sign)[:, None, None]
    shift = torch.stack([torch.where(better, dx_t, dx), torch.where(better, dy_t, dy)], -1) * 2 / a.shape[-1]
    result = torch.maximum(likeness, likeness_t)
    # Most pairs are no copies, and a few steps show it.
    theta = torch.cat([torch.eye(2).expand(len(a), 2, 2), shift[..., None]], 2)
    r, theta = _refined(x, b, theta, n_steps=4)
    promising = (r > 0.9).nonzero()[:, 0]
    if len(promising):
        r[promising] = _refined(x[promising], b[promising], theta[promising], n_steps=8)[0]
    return torch.where(result > 0.3, r, result)


def _best_shift(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(N,) largest correlation of the middle of `a` within `b`, its sign, and the shift down and to the right."""
    n, side = len(a), a.shape[-1]
    margin = min(_MARGIN, side // 4)
    width = side - 2 * margin
    middle = a[:, margin : side - margin, margin : side - margin]
    middle = middle - middle.mean((1, 2), keepdim=True)
    norm = middle.flatten(1).norm(dim=1)[:, None, None]
    product = F.conv2d(b[None], middle[:, None], groups=n)[0]
    first, second = (F.avg_pool2d(x[:, None], width, stride=1)[:, 0] * width**2 for x in (b, b * b))
    norm_b = (second - first**2 / width**2).clamp_min(0).sqrt()
    # A window that is nearly blank is like anything.
    correlation = torch.where(norm_b > 0.2 * norm, product / (norm * norm_b + 1e-6), 0.0).flatten(1)
    best, index = correlation.abs().max(1)
    sign = torch.where(correlation.gather(1, index[:, None])[:, 0] < 0, -1.0, 1.0)
    span = 2 * margin + 1
    return best, sign, (index // span - margin).float(), (index % span - margin).float()


def _refined(a: Tensor, b: Tensor, theta: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """(N,) best correlation over the overlap, and where: pixel p of `a` lies at theta p in `b`, from -1 to 1.

    Gauss-Newton steps over zoom, turn and shift; the contrast of `b` is fitted in each.
    """
    n, side = len(a), a.shape[-1]
    centre = (2 * torch.arange(side) + 1) / side - 1
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    # What a shift brought in, and what smoothing made of the border, is no part of the overlap.
    edge = side // 10
    interior = (torch.maximum(x.abs(), y.abs()) <= 1 - 2 * edge / side).expand(n, -1, -1)
    slope_x, slope_y = torch.zeros_like(b), torch.zeros_like(b)
    slope_x[:, :, 1:-1] = (b[:, :, 2:] - b[:, :, :-2]) * side / 4
    slope_y[:, 1:-1] = (b[:, 2:] - b[:, :-2]) * side / 4
    layers = torch.stack([b, slope_x, slope_y], 1)
    best, best_theta = torch.full((n,), -1.0), theta
    for _ in range(n_steps):
        grid = F.affine_grid(theta, [n, 1, side, side], align_corners=False)
        warped, warped_x, warped_y = F.grid_sample(layers, grid, align_corners=False, padding_mode="border").unbind(1)
        inside = (interior & (grid.abs() <= 1 - 2 * edge / side).all(-1)).float()
        area = inside.sum((1, 2)).clamp_min(1)
        u, w = _centred(a, inside, area).flatten(1), _centred(warped, inside, area).flatten(1)
        norm_u, norm_w = u.norm(dim=1), w.norm(dim=1)
        product = (u * w).sum(1)
        r = torch.where(area >= 0.4 * side**2, product / (norm_u * norm_w + 1e-6), -1.0)
        better = r > best
        best, best_theta = torch.where(better, r, best), torch.where(better[:, None, None], theta, best_theta)
        gain = product / (norm_w**2 + 1e-6)
        slopes = (warped_x * x + warped_y * y, warped_y * x - warped_x * y, warped_x, warped_y)
        jacobian = torch.stack([_centred(s, inside, area).flatten(1) for s in slopes], 2) * gain[:, None, None]
        error = u - gain[:, None] * w
        normal = jacobian.transpose(1, 2) @ jacobian
        damping = 1e-3 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2)) + 1e-4 * torch.eye(4)
        step = torch.linalg.solve(normal + damping, jacobian.transpose(1, 2) @ error[..., None])[..., 0]
        zoom, turn, right, down = step.clamp(-0.15, 0.15).unbind(1)
        change = torch.stack([torch.stack([zoom, -turn, right], 1), torch.stack([turn, zoom, down], 1)], 1)
        theta = theta + change
    return best, best_theta


def _centred(x: Tensor, inside: Tensor, area: Tensor) -> Tensor:
    """Minus the mean over the overlap, and 0 outside it."""
    return (x - ((x * inside).sum((1, 2)) / area)[:, None, None]) * inside
