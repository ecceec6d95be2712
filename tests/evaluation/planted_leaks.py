"""Planted leaks, and clean pairs that look like leaks: what the doctor is measured by.

A case is a learner, a sampler and splits; a leak is found where any check fails, and a clean pair is a false alarm
where any does. The small cases are made here; no data set is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.episode import Episode, Items, Support, map_items
from regard.learners import Prototypical
from regard.learners.base import EncodingLearner, Learner, hide_absent
from regard.learners.prototypical import Prototypes, class_means
from regard.nn.attention import scores
from regard.nn.flat import Flat
from regard.nn.norm import TransductiveNorm
from regard.sampling.dataset import Dataset
from regard.sampling.episodes import EpisodeSampler
from regard.sampling.source import EpisodeSource, Numbers


@dataclass(frozen=True)
class Case:
    """One pair of a learner and data.

    Args:
        name: what was planted, or what looks like a leak and is none.
        leak: whether there is one.
        make: learner, sampler and splits, made when they are needed.
    """

    name: str
    leak: bool
    make: Callable[[], tuple[Learner, EpisodeSource, dict[str, Dataset]]]


class Bag(nn.Module):
    """(N, L) token ids to (N, V) counts."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens

    def forward(self, x: Tensor) -> Tensor:
        bag = torch.zeros(len(x), self.n_tokens)
        return bag.scatter_add_(1, x, (x > 0).float())


# ---- data ------------------------------------------------------------------------------------------------------------


def pictures(n_classes: int, seed: int, side: int = 20, n_items: int = 8, n_channels: int = 0) -> Dataset:
    """Smooth random pictures; those of a class are deformed versions of one."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_classes, max(n_channels, 1))
    kind = torch.randn(*shape, 7, 7, generator=generator).repeat_interleave(n_items, 0)
    own = kind + 0.5 * torch.randn(kind.shape, generator=generator)
    x = F.interpolate(own, (side, side), mode="bicubic", align_corners=False)
    x = ((x + 3) * 42).clamp(0, 255).to(torch.uint8)
    y = torch.arange(n_classes).repeat_interleave(n_items)
    names = tuple(f"p{seed}-{c}x" for c in range(n_classes))
    return Dataset(x.permute(0, 2, 3, 1).contiguous() if n_channels else x[:, 0], y, names)


def points(n_classes: int, seed: int, width: int = 16, n_items: int = 12) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randn(n_classes, 1, width, generator=generator)
    x = (kind + 0.4 * torch.randn(n_classes, n_items, width, generator=generator)).flatten(0, 1)
    return Dataset(
        x, torch.arange(n_classes).repeat_interleave(n_items), tuple(f"v{seed}-{c}x" for c in range(n_classes))
    )


def texts(n_classes: int, seed: int, n_tokens: int = 400, n_items: int = 10, length: int = 12) -> Dataset:
    """Token ids: a few words of the class among words that all use; 0 is padding."""
    generator = np.random.default_rng(seed)
    x = np.zeros((n_classes * n_items, length + 2), np.int64)
    for c in range(n_classes):
        own = generator.choice(np.arange(100, n_tokens), 12, replace=False)
        for i in range(n_items):
            n = int(generator.integers(7, length + 1))
            words = np.where(generator.random(n) < 0.4, generator.choice(own, n), generator.integers(1, 200, n))
            x[c * n_items + i, :n] = words
    y = torch.arange(n_classes).repeat_interleave(n_items)
    return Dataset(torch.from_numpy(x), y, tuple(f"t{seed}-{c}x" for c in range(n_classes)))


KINDS: dict[str, tuple[Callable[..., Dataset], Callable[[], Learner]]] = {
    "pictures": (pictures, lambda: Prototypical(Flat())),
    "vectors": (points, lambda: Prototypical(Flat())),
    "texts": (texts, lambda: _Spoiled(Bag(401))),
}


def with_rows(data: Dataset, rows: Tensor, x: Tensor) -> Dataset:
    """The data with these items put at these rows."""
    assert isinstance(data.x, Tensor)
    changed = data.x.clone()
    changed[rows] = x.to(changed.dtype)
    return replace(data, x=changed)


def with_names(data: Dataset, names: Sequence[str]) -> Dataset:
    return replace(data, class_names=(*names, *data.class_names[len(names) :]))


# ---- changes of items ------------------------------------------------------------------------------------------------


def affine(x: Tensor, degrees: float = 0, crop: float = 1, right: float = 0, down: float = 0) -> Tensor:
    """Pictures turned and cropped, as bytes."""
    planes = x.float().permute(0, 3, 1, 2) if x.ndim == 4 else x.float()[:, None]
    c, s = crop * math.cos(math.radians(degrees)), crop * math.sin(math.radians(degrees))
    theta = torch.tensor([[[c, -s, right], [s, c, down]]]).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    out = F.grid_sample(planes, grid, align_corners=False, padding_mode="border").round()
    return (out.permute(0, 2, 3, 1) if x.ndim == 4 else out[:, 0]).to(torch.uint8)


def _noisy(x: Tensor, strength: float) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    return (x.float() + strength * noise).clamp(0, 255).to(x.dtype) if x.dtype == torch.uint8 else x + strength * noise


PICTURE_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "equal": lambda x: x,
    "1 pixel right": lambda x: torch.roll(x, 1, 2),
    "1 pixel down and right": lambda x: torch.roll(x, (1, 1), (1, 2)),
    "3 pixels up, 2 right": lambda x: torch.roll(x, (-3, 2), (1, 2)),
    "mirrored": lambda x: x.flip(2),
    "upside down": lambda x: x.flip(1),
    "inverted": lambda x: 255 - x,
    "a quarter turn": lambda x: torch.rot90(x, 1, (1, 2)),
    "a half turn": lambda x: torch.rot90(x, 2, (1, 2)),
    "turned by 7 degrees": lambda x: affine(x, 7),
    "turned by 15 degrees": lambda x: affine(x, 15),
    "cropped to 90%": lambda x: affine(x, crop=0.9),
    "cropped to 80%": lambda x: affine(x, crop=0.8),
    "a corner of 85%": lambda x: affine(x, crop=0.85, right=0.15, down=0.15),
    "noisy": lambda x: _noisy(x, 4),
    "brighter": lambda x: (x.float() * 0.7 + 60).to(torch.uint8),
    "mirrored and shifted": lambda x: torch.roll(x.flip(2), (1, 2), (1, 2)),
    "inverted and shifted": lambda x: torch.roll(255 - x, (1, -1), (1, 2)),
}


def _one_word(x: Tensor) -> Tensor:
    out = x.clone()
    out[:, 2] = 399
    return out


def _shuffled_words(x: Tensor) -> Tensor:
    out = x.clone()
    out[:, :6] = out[:, [3, 1, 5, 0, 2, 4]]
    return out


def _one_more(x: Tensor) -> Tensor:
    return torch.cat([torch.full_like(x[:, :1], 398), x[:, :-1]], 1)


CHANGES: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "pictures": PICTURE_CHANGES,
    "vectors": {
        "equal": lambda x: x,
        "noise of 1%": lambda x: _noisy(x, 0.01),
        "noise of 5%": lambda x: _noisy(x, 0.05),
        "rounded": lambda x: (x * 20).round() / 20,
        "one number changed": lambda x: torch.cat([x[:, :1] + 0.3, x[:, 1:]], 1),
    },
    "texts": {
        "equal": lambda x: x,
        "one word changed": _one_word,
        "in another order": _shuffled_words,
        "one word more": _one_more,
        "last word lost": lambda x: torch.cat([x[:, :6], torch.zeros_like(x[:, 6:])], 1),
    },
}


# ---- samplers and learners that are at fault -------------------------------------------------------------------------


class Changed(EpisodeSampler):
    """A sampler whose episodes are changed after they were drawn; its rows do not tell."""

    change: Callable[[Episode], Episode]

    def __call__(self, episodes: Numbers) -> Episode:
        return self.change(super().__call__(episodes))


def changed(data: Dataset, change: Callable[[Episode], Episode]) -> EpisodeSampler:
    source = Changed(data, 4, 2, 3)
    source.change = change
    return source


def _query_is_support(episode: Episode) -> Episode:
    assert isinstance(episode.query_x, Tensor) and isinstance(episode.support.x, Tensor)
    x = episode.query_x.clone()
    x[:, 0] = episode.support.x[:, 0]
    return replace(episode, query_x=x)


def _shifted_support(episode: Episode) -> Episode:
    assert isinstance(episode.query_x, Tensor) and isinstance(episode.support.x, Tensor)
    x = episode.query_x.clone()
    x[:, 0] = torch.roll(episode.support.x[:, 0], 1, 2)
    return replace(episode, query_x=x)


def _label_written(where: str) -> Callable[[Episode], Episode]:
    def write(x: Items, y: Tensor) -> Items:
        assert isinstance(x, Tensor)
        out = x.clone()
        if where == "pixel":
            out[:, :, 0, 0] = (40 * y).to(out.dtype)
        elif where == "faint pixel":
            out[:, :, 3, 3] = (out[:, :, 3, 3] // 8 * 8 + y).to(out.dtype)
        elif where == "feature":
            out[:, :, 5] += 1.5 * y
        else:
            out[:, :, -1] = 201 + y
        return out

    def change(episode: Episode) -> Episode:
        support = replace(episode.support, x=write(episode.support.x, episode.support.y))
        return replace(episode, support=support, query_x=write(episode.query_x, episode.query_y))

    return change


class _Spoiled(EncodingLearner):
    """Prototypical, spoiled by subclasses, each in one way."""

    def __init__(self, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder: nn.Module = Flat() if encoder is None else encoder

    def adapt_encoded(self, support: Support) -> Prototypes:
        assert isinstance(support.x, Tensor)
        return class_means(support.x, support)

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return hide_absent(scores(query_z, state.centre, "distance"), state.mass)


class Favourite(_Spoiled):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = super().predict_encoded(state, query_z)
        return logits + 3 * (torch.arange(logits.shape[-1]) == 0)


class Positions(_Spoiled):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        n_queries, n_classes = query_z.shape[1], state.mass.shape[1]
        label = torch.arange(n_queries) * n_classes // n_queries
        return super().predict_encoded(state, query_z) + 3 * F.one_hot(label, n_classes)


class Centred(_Spoiled):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        return super().predict_encoded(state, query_z - query_z.mean(1, keepdim=True))


class Random(_Spoiled):
    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        logits = super().predict_encoded(state, query_z)
        return logits + 1e-3 * torch.randn_like(logits)


class Neighbourly(_Spoiled):
    def adapt_encoded(self, support: Support) -> Prototypes:
        means = super().adapt_encoded(support)
        return replace(means, centre=means.centre + means.centre.mean(0, keepdim=True))


class Weightless(_Spoiled):
    def adapt_encoded(self, support: Support) -> Prototypes:
        return super().adapt_encoded(replace(support, weight=torch.ones_like(support.weight)))


class Normed(nn.Module):
    """Batch statistics of whatever it gets, and small numbers to divide by."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.norm, self.scale = TransductiveNorm(1), scale

    def forward(self, x: Items) -> Tensor:
        assert isinstance(x, Tensor)
        z = x.float() if x.dtype == torch.uint8 else x
        return self.scale * self.norm(z.flatten(1)[:, None, :, None]).flatten(1)


class WeightlessTransductive(Weightless):
    def __init__(self) -> None:
        super().__init__(Normed())


class Remembers(_Spoiled):
    """Knows the classes by heart, in their order."""

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        assert isinstance(data.x, Tensor)
        z = Flat()(data.x)
        self.kinds = torch.stack([z[data.y == c].mean(0) for c in range(data.n_classes)])

    def predict_encoded(self, state: Prototypes, query_z: Tensor) -> Tensor:
        kind = scores(query_z, self.kinds, "distance").argmax(-1)
        label = kind * state.mass.shape[1] // len(self.kinds)
        return F.one_hot(label, state.mass.shape[1]).to(query_z) * 10


def in_sorted_order(data: Dataset) -> EpisodeSampler:
    """Labels follow the order of the classes, in the episodes and not in the rows that the sampler tells."""
    assert isinstance(data.x, Tensor)
    source = Changed(data, 4, 2, 3)

    def change(episode: Episode) -> Episode:
        # Rows are told for the same numbers: look each item up.
        flat = {row.numpy().tobytes(): int(y) for row, y in zip(data.x, data.y, strict=True)}  # pyright: ignore
        assert isinstance(episode.support.x, Tensor) and isinstance(episode.query_x, Tensor)
        kind = [[flat[item.numpy().tobytes()] for item in task] for task in episode.support.x]
        query_kind = [[flat[item.numpy().tobytes()] for item in task] for task in episode.query_x]
        y = torch.stack([torch.unique(torch.tensor(task), return_inverse=True)[1] for task in kind])
        query_y = torch.stack([torch.unique(torch.tensor(task), return_inverse=True)[1] for task in query_kind])
        return replace(episode, support=replace(episode.support, y=y), query_y=query_y)

    source.change = change
    return source


# ---- cases -----------------------------------------------------------------------------------------------------------


def leaks() -> Iterator[Case]:
    """At least fifty of them."""
    for kind, changes in CHANGES.items():
        for change in changes:
            yield Case(f"{kind}: copies in train and test, {change}", True, _copied(kind, change, ("train", "test")))
    for kind, change in (("pictures", "1 pixel right"), ("vectors", "noise of 1%"), ("texts", "one word changed")):
        for pair in (("train", "validation"), ("validation", "test")):
            yield Case(f"{kind}: copies in {' and '.join(pair)}, {change}", True, _copied(kind, change, pair))
        yield Case(f"{kind}: other items of the same classes", True, _other_drawings(kind))
        yield Case(f"{kind}: items twice in a class, {change}", True, _twice(kind, change))
    for name in ("P1-0X", " p1 - 0x ", "p1_0x", "\uff501-0x", "p1-0\u200bx"):
        yield Case(f"a class name of train in test, written {name!r}", True, _named(name))
    for kind in KINDS:
        yield Case(f"{kind}: queries are support items", True, _sampled(kind, _query_is_support))
    yield Case("pictures: queries are shifted support items", True, _sampled("pictures", _shifted_support))
    for kind, where in (("pictures", "pixel"), ("pictures", "faint pixel"), ("vectors", "feature"), ("texts", "token")):
        yield Case(f"{kind}: the label in a {where}", True, _sampled(kind, _label_written(where)))
    for kind in KINDS:
        yield Case(f"{kind}: labels in the order of the classes", True, _in_order(kind))
    for learner in (Favourite, Positions, Centred, Random, Neighbourly, Weightless, WeightlessTransductive):
        yield Case(f"a learner: {learner.__name__}", True, _learner(learner))


def clean() -> Iterator[Case]:
    """At least twenty that are none."""
    for kind in KINDS:
        for seed in (1, 11, 21):
            yield Case(f"{kind}: seed {seed}", False, _honest(kind, seed))
    yield Case("pictures in colour", False, lambda: _splits("pictures", side=16, n_channels=3))
    yield Case("points of the plane", False, lambda: _splits("vectors", width=2))
    yield Case("points on a line", False, lambda: _splits("vectors", width=1))
    yield Case("coarse vectors, many of them equal", False, _coarse)
    yield Case("transductive, and says so", False, _learner(lambda: _Spoiled(Normed())))
    yield Case("transductive, badly conditioned", False, _learner(lambda: _Spoiled(Normed(30.0))))
    yield Case("names that differ by meaning: a and A, C and C++, 1.0 and 10", False, _names_apart)
    yield Case("turned classes in training", False, _rotations)
    yield Case("training is augmented: shifted copies in one class", False, _augmented)
    yield Case("strokes: lines and crosses of any place", False, _strokes)
    yield Case("short texts that repeat each other", False, lambda: _splits("texts", length=8))
    yield Case("two shapes of a class, much alike", False, _alike)


Made = tuple[Learner, EpisodeSource, dict[str, Dataset]]


def _splits(kind: str, seed: int = 1, **options: int) -> Made:
    make, learner = KINDS[kind]
    splits = {"train": make(12, seed, **options), "validation": make(6, seed + 1, **options)}
    splits["test"] = make(8, seed + 2, **options)
    return learner(), EpisodeSampler(splits["test"], 4, 2, 3), splits


def _honest(kind: str, seed: int) -> Callable[[], Made]:
    return lambda: _splits(kind, seed)


def _copied(kind: str, change: str, pair: tuple[str, str], n: int = 3) -> Callable[[], Made]:
    def make() -> Made:
        learner, _, splits = _splits(kind)
        source = splits[pair[0]].x
        assert isinstance(source, Tensor)
        rows = torch.tensor([5, 21, 33])[:n]
        copies = CHANGES[kind][change](source[rows + 7])
        splits[pair[1]] = with_rows(splits[pair[1]], rows, copies)
        return learner, EpisodeSampler(splits["test"], 4, 2, 3), splits

    return make


def _other_drawings(kind: str) -> Callable[[], Made]:
    def make() -> Made:
        learner, _, splits = _splits(kind, n_items=16)
        train = splits["train"]
        odd = torch.arange(len(train)) % 2 == 1
        x = train.x
        assert isinstance(x, Tensor)
        kept = odd & (train.y < 6)
        test = Dataset(x[kept], train.y[kept], tuple(f"other-{c}" for c in range(6)))
        splits = {**splits, "train": replace(train, x=x[~odd], y=train.y[~odd]), "test": test}
        return learner, EpisodeSampler(test, 4, 2, 3), splits

    return make


def _twice(kind: str, change: str) -> Callable[[], Made]:
    def make() -> Made:
        learner, _, splits = _splits(kind)
        x = splits["test"].x
        assert isinstance(x, Tensor)
        doubled = x.clone()
        doubled[1::2] = CHANGES[kind][change](x[0::2]).to(x.dtype)
        splits["test"] = replace(splits["test"], x=doubled)
        return learner, EpisodeSampler(splits["test"], 4, 2, 3), splits

    return make


def _named(name: str) -> Callable[[], Made]:
    def make() -> Made:
        learner, sampler, splits = _splits("pictures")
        return learner, sampler, {**splits, "test": with_names(splits["test"], [name])}

    return make


def _sampled(kind: str, change: Callable[[Episode], Episode]) -> Callable[[], Made]:
    def make() -> Made:
        learner, _, splits = _splits(kind)
        return learner, changed(splits["test"], change), splits

    return make


def _in_order(kind: str) -> Callable[[], Made]:
    def make() -> Made:
        learner, _, splits = _splits(kind)
        return learner, in_sorted_order(splits["test"]), splits

    return make


def _learner(make_learner: Callable[[], Learner]) -> Callable[[], Made]:
    def make() -> Made:
        _, sampler, splits = _splits("vectors")
        return make_learner(), sampler, splits

    return make


def _coarse() -> Made:
    learner, _, splits = _splits("vectors", width=4)
    rounded = {k: replace(v, x=map_items(lambda t: t.round(), v.x)) for k, v in splits.items()}
    return learner, EpisodeSampler(rounded["test"], 4, 2, 3), rounded


def _names_apart() -> Made:
    learner, _, splits = _splits("vectors")
    splits["train"] = with_names(splits["train"], ["a", "C", "1.0", "type 1 1", "-5"])
    splits["test"] = with_names(splits["test"], ["A", "C++", "10", "type 11", "5"])
    return learner, EpisodeSampler(splits["test"], 4, 2, 3), splits


def _rotations() -> Made:
    learner, _, splits = _splits("pictures")
    turned = {k: v.with_rotations() for k, v in splits.items()}
    return learner, EpisodeSampler(turned["test"], 4, 2, 3), turned


def _augmented() -> Made:
    learner, sampler, splits = _splits("pictures")
    train = splits["train"]
    assert isinstance(train.x, Tensor)
    x = torch.cat([train.x, torch.roll(train.x, 1, 1), train.x.flip(2)])
    return learner, sampler, {**splits, "train": replace(train, x=x, y=train.y.repeat(3))}


def _strokes() -> Made:
    def draw(n_classes: int, seed: int) -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        ends = torch.rand(n_classes, 1, 3, 4, generator=generator) * 14 + 3
        ends = ends + 0.7 * torch.randn(n_classes, 8, 3, 4, generator=generator)
        t = torch.linspace(0, 1, 24)[:, None]
        points = ends[..., None, :2] * (1 - t) + ends[..., None, 2:] * t
        place = torch.arange(20.0)
        near = [(-((points[..., i, None] - place) ** 2) / 1.5).exp() for i in (0, 1)]
        ink = torch.einsum("cnspi,cnspj->cnspij", near[0], near[1]).amax((2, 3))
        x = (ink.clamp(0, 1) * 255).to(torch.uint8).flatten(0, 1)
        y = torch.arange(n_classes).repeat_interleave(8)
        return Dataset(x, y, tuple(f"s{seed}-{c}x" for c in range(n_classes)))

    splits = {"train": draw(20, 1), "validation": draw(6, 2), "test": draw(8, 3)}
    return Prototypical(Flat()), EpisodeSampler(splits["test"], 4, 2, 3), splits


def _alike() -> Made:
    learner, _, splits = _splits("vectors")
    test = splits["test"]
    assert isinstance(test.x, Tensor)
    # Classes in pairs: the second of each is a little away from the first.
    x = test.x.view(8, 12, -1).clone()
    x[1::2] = x[0::2].roll(1, 1) + 0.25 + 0.4 * torch.randn(x[0::2].shape, generator=torch.Generator().manual_seed(5))
    splits["test"] = replace(test, x=x.flatten(0, 1))
    return learner, EpisodeSampler(splits["test"], 4, 2, 3), splits
