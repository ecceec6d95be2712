"""What a domain answers, in one value: how its data becomes episodes, how a user's own things become items, which files
`regard predict` reads, how near copies are recognised, how an item is shown, and which learners a suite compares.

A domain is a class with a `name`, registered once in `registry.py` or by the entry point `regard.domains`. Every method
but `data_sets` and `reader` has a default that suits arrays of numbers.

Nothing here imports PyTorch, and no `domain.py` should at its top: reading a recipe must not wait for it.
"""

from __future__ import annotations

import hashlib
import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from regard.domains.options import EpisodeOptions, GroupedEpisodeOptions, GroupedTrainingOptions
from regard.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from regard.domains.views import Views
    from regard.episode import Items

Spec = dict[str, Any]
"""A learner or an encoder by name, with its options, as recipes and checkpoints keep it."""


class Reader(ABC):
    """A user's things (files, arrays, sentences, rows) to items. It pickles, and a checkpoint keeps it as JSON."""

    @abstractmethod
    def __call__(self, things: Any) -> Items:
        """N things to (N, *item) tensors.

        Raises:
            DataError, EpisodeError: things that cannot be read, each with its number or name.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As JSON, from which `Domain.reader` makes it again."""

    def fit(self, things: Any) -> Reader:
        """The reader for these examples and the queries to come: itself, unless examples teach it something."""
        return self

    def is_blank(self, items: Items) -> NDArray[np.bool_]:
        """(N,) which items hold nothing to go by, such as a blank page or a text without a word; by default none."""
        import numpy as np

        from regard.episode import first_tensor

        return np.zeros(len(first_tensor(items)), dtype=bool)


class NearCopy(NamedTuple):
    """Two items that are the same thing, or nearly.

    Args:
        row_a, row_b: rows of the two batches.
        likeness: 1 is identical.
        how: in a few words, such as "shifted by 1 pixel".
    """

    row_a: int
    row_b: int
    likeness: float
    how: str


@dataclass(frozen=True)
class LabelledFiles:
    """What `regard predict` read from disk.

    Args:
        support, labels: examples and their labels, names of classes or numbers.
        support_names: how each example is called in the answer.
        queries, query_names: what to label.
        columns: names of the columns of each item, where it has some.
    """

    support: Sequence[Any]
    labels: Sequence[Any]
    support_names: Sequence[str]
    queries: Sequence[Any]
    query_names: Sequence[str]
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class Rendering:
    """One item as people see it.

    Args:
        html: a fragment that needs no script and asks nothing of the network; text in it is escaped.
        text: the same in words, for terminals and screen readers.
    """

    html: str
    text: str


@dataclass(frozen=True)
class LearnerContext:
    """What a domain may look at when it names the learners of a suite.

    Args:
        vector, tokens: the recipe's encoder, giving one vector per item, or one per patch or token.
        n_way: most classes of an episode.
        encoder: what the data knows of the encoder, such as the size of images.
    """

    vector: Spec
    tokens: Spec
    n_way: int
    encoder: Mapping[str, Any] = field(default_factory=dict)


class PartSaliency(NamedTuple):
    """How much the parts of an item mattered.

    Args:
        strength: (P,) in 0..1, as `Domain.render` takes it.
        sentence: what deleting the strongest part or parts does, for people.
    """

    strength: NDArray[np.floating]
    sentence: str


class Domain(ABC):
    """Abstract: one kind of data.

    Attributes:
        name: as checkpoints keep it.
        items: what its items are called, in the plural.
        encoders: names of encoders that take its items (see `regard.recipes.components`), most usual first.
        own_encoders: encoders that come with the domain: name to "module:Class".
        evaluation_options, training_options: what recipes may say of an episode.
        file_hint: what `regard predict` expects as --support and --query.
        acts: what is predicted is what to do, and the learner becomes a policy; else queries are labelled.
        translates: what is predicted is a sentence.
        needs_two_classes: examples of one class alone are an error, and not an answer that never changes.
        has_columns: X is a table, whose number and names of columns must be those of `fit`.
        allows_missing: cells of X may be missing.
        lengths_vary: the first axis of an item differs from task to task: tokens of a text, columns of a table.
    """

    name: ClassVar[str]
    items: ClassVar[str] = "items"
    encoders: ClassVar[tuple[str, ...]] = ("MLP",)
    own_encoders: ClassVar[Mapping[str, str]] = {}
    evaluation_options: ClassVar[type[EpisodeOptions]] = GroupedEpisodeOptions
    training_options: ClassVar[type[EpisodeOptions]] = GroupedTrainingOptions
    file_hint: ClassVar[tuple[str, str] | None] = None
    acts: ClassVar[bool] = False
    translates: ClassVar[bool] = False
    needs_two_classes: ClassVar[bool] = False
    has_columns: ClassVar[bool] = False
    allows_missing: ClassVar[bool] = False
    lengths_vary: ClassVar[bool] = False

    # ---- data and recipes --------------------------------------------------------------------------------------------

    @abstractmethod
    def data_sets(self) -> Mapping[str, Callable[..., Any]]:
        """Data sets by the name that recipes use: functions to a `regard.domains.Data`, whose keyword arguments are the
        options of `data:`.
        """

    def recipes(self) -> Mapping[str, Any]:
        """Recipes that ship with the domain: name to a file, the YAML files beside the domain's module by default."""
        package = type(self).__module__.rpartition(".")[0]
        if not package:
            return {}
        return {p.name.removesuffix(".yaml"): p for p in files(package).iterdir() if p.name.endswith(".yaml")}

    # ---- a user's own things -----------------------------------------------------------------------------------------

    @abstractmethod
    def reader(self, content: Mapping[str, Any]) -> Reader:
        """The reader that a checkpoint describes, see `Reader.to_dict`.

        Raises:
            ConfigError, DataError: a description that is none.
        """

    def read_files(self, support: Path, query: Path) -> LabelledFiles:
        """Labelled examples and queries from a user's disk.

        Raises:
            ConfigError: this domain reads no files.
            DataError: files that are missing, damaged or of another form.
        """
        raise ConfigError(
            f"a learner of {self.items} reads no files: use regard.FewShotClassifier or FewShotRegressor in Python."
        )

    def from_json(self, things: Sequence[Any]) -> Any:
        """Things as the reader takes them, from JSON that a stranger sent: a text is never the name of a file.

        Args:
            things: strings, numbers, and lists of them.

        Raises:
            DataError: things of another form.
        """
        return things

    def synthetic_things(self, n: int, seed: int) -> Sequence[Any] | None:
        """N things without meaning, as the reader takes them, to try a learner on; None where there are none.

        Args:
            n: how many.
            seed: other things, and of other sizes where sizes vary.
        """
        return None

    def views(self, n_views: int, reader: Reader, items: Items, weight: Tensor, n_classes: int) -> Views:
        """Ways to see one task, whose answers are averaged.

        Args:
            n_views: how many; 1 is the task as it is.
            reader: of the items.
            items: (N, *item) examples.
            weight: (N,) of them.
            n_classes: C; 0 for regression.

        Raises:
            ConfigError: more than one, where the domain has no others.
        """
        from regard.domains.views import Identity

        if n_views > 1:
            raise ConfigError(
                f"n_estimators is {n_views}: expected 1; {self.items} of this learner have no other views. Tables and "
                "grey drawings do."
            )
        return Identity()

    def name_examples(self, names: Sequence[str]) -> list[Any]:
        """The names of classes as further examples of them, as the reader takes them.

        Raises:
            ConfigError: a name is no such item.
        """
        raise ConfigError(
            f"label_weight is set, and the name of a class is no example of {self.items}: expected 0; it is for texts."
        )

    def in_double(self, items: Items) -> bool:
        """Whether so few examples are best answered in double precision."""
        return False

    def size_warning(self, n_rows: int, n_columns: int, n_views: int) -> str | None:
        """What to say before a task is begun that will take long; None where it is nothing to speak of.

        Args:
            n_rows, n_columns: of the examples; an item that is no row of a table has as many columns as numbers.
            n_views: of the task.
        """
        return None

    # ---- copies, pictures, suites ------------------------------------------------------------------------------------

    def near_copies(self, a: Items, b: Items, y_a: Tensor, y_b: Tensor) -> list[NearCopy] | None:
        """Pairs of one item of each set that are copies of one another, or nearly, equal ones included.

        Args:
            a: (N, *item).
            b: (M, *item).
            y_a: (N,) classes; near items of one class are no sign of how alike different items are.
            y_b: (M,).

        Returns:
            None, by default, where `regard doctor` shall judge by the tensors: as pictures, tokens or vectors.
        """
        return None

    def render(self, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        """One item for people.

        Args:
            thing: as the reader takes it, or the tensor that it became, (*item).
            saliency: how much each location, token or column of it mattered, in 0..1; its shape is the item's own.
        """
        import numpy as np

        x = np.asarray(thing, dtype=object).ravel()
        shown = ", ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in x[:8].tolist())
        shown += ", ..." if len(x) > 8 else ""
        return Rendering(f"<code>{html.escape(shown)}</code>", shown)

    def render_from(self, read: LabelledFiles, thing: Any, saliency: NDArray[np.floating] | None = None) -> Rendering:
        """As `render`, of an item of these files, which may say more of it, such as the names of its columns."""
        return self.render(thing, saliency)

    def part_saliency(self, model: Any, read: LabelledFiles) -> Sequence[PartSaliency] | None:
        """How much each part of each query spoke for a fitted classifier's answer, where `render` can show parts.

        Args:
            model: a FewShotClassifier that was fitted to the examples of `read`.
            read: examples and queries.

        Returns:
            One per query; None, by default. Asked only of learners that do not say themselves where they look.
        """
        return None

    def class_title(self, name: str) -> str:
        """A class of a data set for people; by default its own name."""
        return name

    def learners(self, context: LearnerContext) -> dict[str, Spec]:
        """Learners that `regard compare --suite` trains besides those that suit every domain, by name."""
        return {}

    def untrained_baseline(self) -> tuple[str, Spec] | None:
        """A baseline on the items as they are, with its title, such as nearest neighbours of pixels."""
        return None

    def __repr__(self) -> str:
        return f"<domain {self.name}>"


def digests(x: Items) -> list[str]:
    """A digest of the content of each item; equal items have equal digests."""
    import numpy as np

    tensors = [x[key] for key in sorted(x)] if isinstance(x, dict) else [x]
    arrays = [np.ascontiguousarray(t.detach().cpu().numpy()) for t in tensors]
    content = (b"".join(array[i].tobytes() for array in arrays) for i in range(len(arrays[0])))
    return [hashlib.blake2b(item, digest_size=12).hexdigest() for item in content]
