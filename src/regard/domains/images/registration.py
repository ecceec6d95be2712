"""Pictures that are copies of one another although they were shifted, turned, mirrored, inverted or cropped.

    propose     magnitudes of low frequencies (no shift and no inversion changes them), of one picture turned in steps
                of 10 degrees, mirrored, and cropped, against those of all others: a matrix product for each view
    register    the shift of the best normalised cross-correlation; then turn, scale and shift refined by least squares
                (Lucas and Kanade), keeping the largest correlation of the pixels that overlap
    verify      the correlation of their details, which are what is left without the local mean: two round signs have
                the same shape and other details

What comes back is the last one. Copies reach 0.95 and more, different pictures seldom 0.9; how near those come depends
on the data (two vertical strokes are one stroke), so `regard.domains.images.near_copies` judges it against the data.

Reddy, Chatterji 1996, "An FFT-based technique for translation, rotation, and scale-invariant image registration", IEEE
Transactions on Image Processing 5(8); Lucas, Kanade 1981, "An iterative image registration technique".

Left out: copies with a stretched axis, with parts painted over, or of less than half of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32  # larger pictures are reduced to this side
_MARGIN = 4  # pixels that a shift is looked for at once, on each side
_FREQUENCIES = 6
_DIMENSIONS = 64  # of a descriptor
_LIKELY = 0.5  # cosine of descriptors above which two pictures are registered
_PROPOSED = 3  # the nearest ones of each row under each view
_NEIGHBOURS = 12  # against the last of which those are judged
_AT_ONCE = 1024
_TURNS = range(0, 180, 10)  # degrees; magnitudes are the same after a half turn
_CROPS = (0.85, 0.7)  # share of the side that a cropped copy keeps about its centre; those between are near enough
_CORNER = 0.8  # and at a corner
_SMOOTHING = 0.5**0.5  # in pixels, of all pictures
_BLUR = 2.0  # standard deviation in pixels of the local mean that details are seen against


@dataclass(frozen=True)
class Matches:
    """Pairs of rows and how alike they are.

    Args:
        row_a: (M,) row of the first set.
        row_b: (M,) row of the second set.
        likeness: (M,) correlation of the details of the registered pictures, at most 1.
    """

    row_a: Tensor
    row_b: Tensor
    likeness: Tensor


@dataclass(frozen=True)
class _View:
    """One way in which a picture may have been changed before it was copied.

    Args:
        mirrored: left and right exchanged.
        degrees: it was turned by.
        crop: share of its side that was kept.
        place: where what was kept lies, right and down, from -1 to 1.
    """

    mirrored: bool = False
    degrees: int = 0
    crop: float = 1.0
    place: tuple[int, int] = (0, 0)


_WHOLE = _View()
_CROPPED = (
    *(_View(crop=crop) for crop in _CROPS),
    *(_View(crop=_CORNER, place=(right, down)) for right in (-1, 1) for down in (-1, 1)),
)
_VIEWS = (
    *((_View(mirrored, degrees), _WHOLE) for mirrored in (False, True) for degrees in _TURNS),
    *((replace(view, mirrored=mirrored), _WHOLE) for view in _CROPPED for mirrored in (False, True)),
    *((_View(mirrored), view) for view in _CROPPED for mirrored in (False, True)),
    *(
        (_View(crop=0.9, place=(x, y)), _View(crop=0.9, place=(-x, -y)))
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
        if x or y
    ),
)
"""What is done to a picture of the first set and to one of the second before they are compared."""


def grey_pictures(x: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, C) to (N, side, side) slightly smoothed grey floats, the side at most 32."""
    grey = x.detach().cpu().float()
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    side = min(SIDE, max(grey.shape[1:]))
    if tuple(grey.shape[1:]) != (side, side):
        grey = F.interpolate(grey[:, None], (side, side), mode="area")[:, 0]
    # The scale of pixels is no matter to any step but the guards against division by zero.
    grey = grey / grey.flatten().std().clamp_min(1e-12)
    return _smoothed(grey, _SMOOTHING)


def _smoothed(x: Tensor, deviation: float) -> Tensor:
    """(N, S, S) under a Gaussian of this standard deviation in pixels; the border is repeated."""
    reach = round(3 * deviation)
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * deviation**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(x[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


def picture_matches(a: Tensor, b: Tensor, *, at_most: int = 1200, allowed: Tensor | None = None) -> Matches:
    """The most alike pairs between two sets of pictures, registered.

    Args:
        a: (N, S, S) from `grey_pictures`.
        b: (M, S, S).
        at_most: how many pairs are registered, the likeliest ones.
        allowed: (N, M) which pairs are compared; all by default.
    """
    if not len(a) or not len(b):
        return Matches(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    describe = _Descriptor(b)
    described = {view: describe(_changed(b, view)) for view in {view for _, view in _VIEWS}}
    proposed: list[Tensor] = []
    for number, (view_a, view_b) in enumerate(_VIEWS):
        for rows in torch.arange(len(a)).split(_AT_ONCE):
            cosine = describe(_changed(a[rows], view_a)) @ described[view_b].T
            if allowed is not None:
                cosine[~allowed[rows]] = -1.0
            near, nearest = cosine.topk(min(_NEIGHBOURS, len(b)), 1)
            # A copy is nearer than the others by far, whatever the view makes of all of them.
            stands_out = (1 - near[:, -1:]) / (1 - near[:, :_PROPOSED]).clamp_min(1e-6)
            kept, rank = (near[:, :_PROPOSED] > _LIKELY).nonzero(as_tuple=True)
            columns = (rows[kept], nearest[kept, rank], torch.full_like(kept, number), stands_out[kept, rank])
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
    """The pictures mirrored, turned and cropped."""
    if view.mirrored:
        x = x.flip(2)
    if view.degrees == 90 and view.crop == 1:
        return torch.rot90(x, 1, (1, 2))
    if view.degrees == 0 and view.crop == 1:
        return x
    angle = math.radians(view.degrees)
    c, s = view.crop * math.cos(angle), view.crop * math.sin(angle)
    right, down = ((1 - view.crop) * place for place in view.place)
    grid = F.affine_grid(torch.tensor([[[c, s, right], [-s, c, down]]]), [1, 1, *x.shape[1:]], align_corners=False)
    return F.grid_sample(x[None], grid, align_corners=False, padding_mode="border")[0]


def _registered(a: Tensor, b: Tensor, row_a: Tensor, row_b: Tensor, number: Tensor) -> Matches:
    """Pairs of rows, each under the views of its number, with the likeness that registration finds."""
    likeness = torch.zeros(len(row_a))
    for v in torch.unique(number).tolist():
        view_a, view_b = _VIEWS[v]
        for some in (number == v).nonzero()[:, 0].split(_AT_ONCE):
            likeness[some] = register(_changed(a[row_a[some]], view_a), _changed(b[row_b[some]], view_b))
    return Matches(row_a, row_b, likeness)


def register(a: Tensor, b: Tensor) -> Tensor:
    """(N,) correlation of the details of each picture and its partner after the best shift, half turn, inversion, turn
    and zoom.

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
    # Most pairs are no copies, and a few steps show it.
    theta = torch.cat([torch.eye(2).expand(len(a), 2, 2), shift[..., None]], 2)
    r, theta = _refined(x, b, theta, n_steps=4)
    result = _details(x, b, theta)
    promising = ((r > 0.9) | (result > 0.7)).nonzero()[:, 0]
    if len(promising):
        x, b = x[promising], b[promising]
        result[promising] = torch.maximum(
            result[promising], _details(x, b, _refined(x, b, theta[promising], n_steps=8)[1])
        )
    return result


def _details(a: Tensor, b: Tensor, theta: Tensor) -> Tensor:
    """(N,) correlation of what is left of both pictures without their local means, pixel p of `a` at theta p in `b`.

    Over the square in which they overlap or over the disc, whichever is more: a turned copy has no corners of its own.
    """
    n, side = len(a), a.shape[-1]
    grid = F.affine_grid(theta, [n, 1, side, side], align_corners=False)
    warped = F.grid_sample(b[:, None], grid, align_corners=False, padding_mode="border")[:, 0]
    u, w = a - _smoothed(a, _BLUR), warped - _smoothed(warped, _BLUR)
    centre = (2 * torch.arange(side) + 1) / side - 1
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    edge = 1 - 2 * (side // 10) / side
    square = (torch.maximum(x.abs(), y.abs()) <= edge) & (grid.abs() <= edge).all(-1)
    disc = (torch.hypot(x, y) <= 1 - 2 / side) & (grid.norm(dim=-1) <= 1 - 2 / side)
    best = torch.zeros(n)
    for inside in (square.float(), disc.float()):
        area = inside.sum((1, 2))
        first, second = (_centred(z, inside, area.clamp_min(1)).flatten(1) for z in (u, w))
        r = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1) + 1e-6)
        best = torch.maximum(best, torch.where(area >= 0.4 * side**2, r, 0.0))
    return best


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
