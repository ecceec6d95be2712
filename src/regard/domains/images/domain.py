"""Images: photographs, drawings and letters, as files, arrays or Pillow images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from regard.domains.base import Domain, LabelledFiles, LearnerContext, NearCopy, PartSaliency, Reader, Rendering, Spec
from regard.domains.images.options import ImageEpisodeOptions, ImageTrainingOptions
from regard.domains.options import EpisodeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from regard.domains.images.data import ImageData
    from regard.domains.images.pixels import Ink
    from regard.domains.views import Views
    from regard.episode import Items

_SMALL = 40
"""Side of images that MAML's paper would treat as Omniglot; larger ones as mini-ImageNet."""


@dataclass(frozen=True, repr=False)
class Images(Domain):
    """The domain of images."""

    name: ClassVar[str] = "images"
    items: ClassVar[str] = "images"
    encoders: ClassVar[tuple[str, ...]] = (
        "Conv4",
        "ResNet12",
        "ResidualMaps",
        "Flat",
        "PhotoStages",
    )
    own_encoders: ClassVar[Mapping[str, str]] = {
        "PhotoStages": "regard.nn.pretrained.photo_stages:PhotoStages",
        "PretrainedImages": "regard.nn.pretrained.image:PretrainedImages",
    }
    evaluation_options: ClassVar[type[EpisodeOptions]] = ImageEpisodeOptions
    training_options: ClassVar[type[EpisodeOptions]] = ImageTrainingOptions
    file_hint: ClassVar[tuple[str, str] | None] = ("EXAMPLES", "QUERIES")

    def data_sets(self) -> Mapping[str, Callable[..., ImageData]]:
        return {
            "glyphs": _glyphs,
            "omniglot": _omniglot,
            "characters": _characters,
            "folder": _folder,
            "packed": _packed,
        }

    def reader(self, content: Mapping[str, Any]) -> Reader:
        from regard.domains.images.folder import ImageReader
        from regard.signatures import call_checked

        return call_checked(ImageReader, content, "items of images")

    def from_json(self, things: Sequence[Any]) -> Any:
        """Base64 of image files, or rows of numbers."""
        from regard.domains.images.from_json import decode_pictures

        return decode_pictures(things)

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """A folder with a sub-folder of images per class, and a folder of images or one image."""
        from regard.domains.images.folder import class_files, image_files

        by_class = class_files(support)
        examples = [file for files in by_class.values() for file in files]
        queries = [query] if query.is_file() else image_files(query)
        root = query.parent if query.is_file() else query
        return LabelledFiles(
            examples,
            [name for name, files in by_class.items() for _ in files],
            [str(file.relative_to(support)) for file in examples],
            queries,
            [str(file.relative_to(root)) for file in queries],
        )

    def synthetic_things(self, n: int, seed: int) -> Sequence[Any] | None:
        """Signs of three strokes each, on a page."""
        import numpy as np
        from PIL import Image, ImageDraw

        rng, signs = np.random.default_rng(seed), []
        for _ in range(n):
            page = Image.new("RGB", (112, 112), "white")
            for stroke in rng.integers(8, 104, (3, int(rng.integers(2, 5)), 2)):
                points = [tuple(point) for point in stroke.tolist()]
                ImageDraw.Draw(page).line(points, fill=(20, 20, 20), width=int(rng.integers(3, 8)), joint="curve")
            signs.append(page)
        return signs

    def views(self, n_views: int, reader: Reader, items: Items, weight: Tensor, n_classes: int) -> Views:
        """Of grey drawings, each slightly distorted; colour pictures have one view."""
        from regard.domains.images.folder import ImageReader
        from regard.domains.images.views import DrawingViews

        if n_views > 1 and isinstance(reader, ImageReader) and reader.n_channels == 1:
            return DrawingViews(n_views)
        return super().views(n_views, reader, items, weight, n_classes)

    def near_copies(self, a: Items, b: Items, y_a: Tensor, y_b: Tensor) -> list[NearCopy] | None:
        """Shifted, rotated, mirrored, inverted and cropped copies."""
        from regard.domains.images.near_copies import near_picture_copies
        from regard.episode import first_tensor

        return near_picture_copies(first_tensor(a), first_tensor(b), y_a, y_b)

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        from regard.domains.images.render import render_image

        return render_image(thing, saliency)

    def part_saliency(self, model: Any, read: LabelledFiles) -> list[PartSaliency] | None:
        """Places of few pictures, by covering each."""
        from regard.domains.images.covering import explained_places

        return explained_places(model, read.queries)

    def class_title(self, name: str) -> str:
        """ "Georgian/U+2D04" is the letter itself, then its script; other names stay."""
        script, found, code = name.partition("/U+")
        return f"{chr(int(code, 16))} {script}" if found else name

    def learners(self, context: LearnerContext) -> dict[str, Spec]:
        """Spatial learners, and those that adapt by gradient."""
        vector = context.vector
        moving = {**vector, "norm": "group"} if vector.get("norm") == "batch" else vector
        # Finn et al. 2017: their Omniglot settings for small images, those of mini-ImageNet for larger ones.
        small = context.encoder.get("image_size", 0) < _SMALL
        inner = {"inner_lr": 0.4, "inner_steps": 1, "test_steps": 3} if small else {"inner_lr": 0.01, "inner_steps": 5}
        return {
            "Relation": {"encoder": context.tokens},
            "CrossTransformer": {"d_head": 64, "encoder": context.tokens},
            "MAML": {**inner, "model": {"n_outputs": context.n_way, "encoder": moving}},
            "ANIL": {**inner, "n_outputs": context.n_way, "encoder": moving},
            "ProtoMAML": {"inner_steps": 1, "encoder": moving},
        }

    def untrained_baseline(self) -> tuple[str, Spec] | None:
        return "NearestNeighbour (pixels)", {"name": "NearestNeighbour", "encoder": {"name": "Flat"}}


IMAGES = Images()


# ---- data sets: the options of `data:` are the arguments -------------------------------------------------------------


def _glyphs(drawings: int = 20, symbols: bool = False, cache: str | None = None) -> ImageData:
    from regard.domains.images.data import ImageData, drawing_reader
    from regard.domains.images.glyphs import glyphs

    return ImageData.of("glyphs", glyphs(cache, drawings=drawings, symbols=symbols), drawing_reader())


def _omniglot(folder: str, split: Literal["vinyals", "background"] = "vinyals") -> ImageData:
    from regard.domains.images.data import ImageData, drawing_reader
    from regard.domains.images.omniglot import omniglot, omniglot_split
    from regard.sampling.splits import split_by_group

    splits = omniglot_split(omniglot(folder), split, folder)
    if split == "background":
        # Lake's protocol has no validation: the last five background alphabets are kept for it.
        alphabets = sorted(set(splits["background"].class_groups))
        kept = split_by_group(splits["background"], {"train": alphabets[:-5], "validation": alphabets[-5:]})
        splits = {**kept, "test": splits["evaluation"]}
    return ImageData.of("omniglot", splits, drawing_reader())


def _characters(
    folder: str | None = None,
    fonts: bool = True,
    handwriting: str = "none",
    twins: float = 0.0,
    cache: str | None = None,
) -> ImageData:
    from regard.domains.images.characters import BOX, SIZE, characters
    from regard.domains.images.data import ImageData
    from regard.domains.images.folder import ImageReader

    splits = characters(folder, fonts=fonts, handwriting=handwriting, twins=twins, cache=cache)
    return ImageData.of("characters", splits, ImageReader(SIZE, 1, "auto", BOX), n_views=8)


def _folder(
    folder: str,
    size: int = 84,
    n_channels: int = 3,
    ink: Ink = "keep",
    train: float = 0.6,
    validation: float = 0.2,
    seed: int = 0,
) -> ImageData:
    from regard.domains.images.data import ImageData
    from regard.domains.images.folder import ImageReader, image_folder
    from regard.sampling.splits import split_classes

    reader = ImageReader(size, n_channels, ink)
    dataset = image_folder(Path(folder), reader)
    fractions = {"train": train, "validation": validation, "test": 1 - train - validation}
    return ImageData.of(Path(folder).name, split_classes(dataset, fractions, seed), reader)


def _packed(
    file: str,
    split: str | None = None,
    prefix: str = "",
    one_a_track: bool = False,
    validation: float = 1 / 7,
    seed: int = 0,
    read_size: int | None = None,
) -> ImageData:
    """See `regard.domains.images.packed`. `read_size`: side in pixels to which a user's own pictures are read; that of
    these by default.
    """
    from regard.domains.images.data import ImageData
    from regard.domains.images.folder import ImageReader
    from regard.domains.images.packed import packed_images, packed_parts
    from regard.episode import first_tensor
    from regard.sampling.splits import split_classes

    dataset = packed_images(file, prefix=prefix, one_a_track=one_a_track)
    # Without a split nothing is for training: a cross-domain test set.
    splits = packed_parts(dataset, split) if split else {"test": dataset}
    if "test" not in splits and "validation" in splits:
        # Its validation is the test then, and a share of the training classes is kept for validation.
        kept = split_classes(splits["train"], {"train": 1 - validation, "validation": validation}, seed)
        splits = {**kept, "test": splits["validation"]}
    images = first_tensor(dataset.x)
    reader = ImageReader(read_size or images.shape[1], 1 if images.ndim == 3 else images.shape[-1], "keep")
    return ImageData.of(Path(file).parent.name, splits, reader)
