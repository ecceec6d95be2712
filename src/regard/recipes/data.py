"""The data sets that a recipe can name. Each is a function whose keyword arguments are the options of `data:`.

What comes back are the parts "train", "validation" and "test", and how new items of this kind are read: a small JSON
description that a checkpoint keeps, so that `regard predict` can turn a user's files into what the learner knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regard.episode import Items
from regard.errors import ConfigError, DataError, did_you_mean
from regard.recipes.config import Part
from regard.recipes.parts import call_checked
from regard.sampling.dataset import Dataset
from regard.sampling.splits import split_by_group, split_classes


@dataclass(frozen=True)
class Data:
    """Parts of a data set, and how more such items are read.

    Args:
        title: for people.
        parts: data set by part.
        items: {"kind": "images", "size": 28, ...} or {"kind": "texts", ...}, as JSON.
        encoder: options of an encoder that only the data knows, such as the size of images; used where it has them.
    """

    title: str
    parts: dict[str, Dataset]
    items: dict[str, Any]
    encoder: dict[str, Any]

    def part(self, name: str) -> Dataset:
        """One part.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.parts:
            raise DataError(f"this data has no part {name!r}: {did_you_mean(name, self.parts)}")
        return self.parts[name]


def load_data(part: Part) -> Data:
    """The data set that a recipe names.

    Raises:
        ConfigError: an unknown name or option.
        DataError: it cannot be read.
    """
    if part.name not in DATA:
        raise ConfigError(f"no data set is called {part.name!r}: {did_you_mean(part.name, DATA)}")
    return call_checked(DATA[part.name], part.options(), f"data {part.name}")  # type: ignore[no-any-return]


def prepare(items: Mapping[str, Any]) -> Callable[[Sequence[Any]], Items]:
    """A function from a user's things (files, arrays, pictures, sentences) to items, by a checkpoint's description.

    Raises:
        ConfigError: an unknown kind of items.
    """
    if items.get("kind") == "images":
        from regard.recipes.images.folder import read_images

        return lambda things: read_images(things, **{k: v for k, v in items.items() if k != "kind"})
    if items.get("kind") == "texts":
        from regard.recipes.text.data import Tokenizer

        return Tokenizer.from_dict(items["tokenizer"])
    raise ConfigError(f"items of kind {items.get('kind')!r}: expected 'images' or 'texts'; update regard.")


# As the glyphs lie: white ink on black, 20 of 28 pixels, found out by itself from a user's files.
_CHARACTERS = {"kind": "images", "size": 28, "n_channels": 1, "ink": "auto", "box": 20 / 28}
_SMALL_GREY = {"n_channels": 1, "image_size": 28}


def _glyphs(drawings: int = 20, symbols: bool = False, cache: str | None = None) -> Data:
    from regard.recipes.images.glyphs import glyphs

    return Data("glyphs", glyphs(cache, drawings=drawings, symbols=symbols), _CHARACTERS, _SMALL_GREY)


def _omniglot(folder: str, split: Literal["vinyals", "background"] = "vinyals") -> Data:
    from regard.recipes.images.omniglot import omniglot, omniglot_split

    parts = omniglot_split(omniglot(folder), split, folder)
    if split == "background":
        # Lake's protocol has no validation: the last five background alphabets are kept for it.
        alphabets = sorted(set(parts["background"].class_groups))
        kept = split_by_group(parts["background"], {"train": alphabets[:-5], "validation": alphabets[-5:]})
        parts = {**kept, "test": parts["evaluation"]}
    return Data("omniglot", parts, _CHARACTERS, _SMALL_GREY)


def _folder(
    folder: str,
    size: int = 84,
    n_channels: int = 3,
    ink: Literal["auto", "dark", "light", "keep"] = "keep",
    train: float = 0.6,
    validation: float = 0.2,
    seed: int = 0,
) -> Data:
    from regard.recipes.images.folder import ImageReader, image_folder

    dataset = image_folder(Path(folder), ImageReader(size, n_channels, ink))
    fractions = {"train": train, "validation": validation, "test": 1 - train - validation}
    items = {"kind": "images", "size": size, "n_channels": n_channels, "ink": ink}
    encoder = {"n_channels": n_channels, "image_size": size}
    return Data(Path(folder).name, split_classes(dataset, fractions, seed), items, encoder)


def _clinc150(folder: str) -> Data:
    from regard.recipes.text.data import Tokenizer, datasets, read_clinc, split_domains

    parts = split_domains(read_clinc(Path(folder)))
    tokenizer = Tokenizer.learn(parts["train"].texts)
    items = {"kind": "texts", "tokenizer": tokenizer.to_dict()}
    return Data("clinc150", datasets(parts, tokenizer), items, {"n_tokens": tokenizer.n_tokens})


DATA: dict[str, Callable[..., Data]] = {
    "glyphs": _glyphs,
    "omniglot": _omniglot,
    "folder": _folder,
    "clinc150": _clinc150,
}
