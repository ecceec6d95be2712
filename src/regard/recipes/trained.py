"""A trained learner: from a name, a file, the folder of a run, or in hand."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

from regard.domains.base import Domain, Reader
from regard.domains.data import Data
from regard.domains.registry import find_domain
from regard.errors import CheckpointError, ConfigError
from regard.evaluation.confidence import Confidence
from regard.learners.base import Learner
from regard.learners.fine_tuned import FineTuned
from regard.recipes.components import build_learner, encoder_class
from regard.recipes.config import Recipe
from regard.recipes.data import load_data
from regard.recipes.locations import checkpoint_file, shipped_models
from regard.training import load_checkpoint

_CHANGEABLE = "learner.test_steps="
"""What may be changed in a trained learner: how many inner steps it takes from now on."""


@dataclass(frozen=True)
class TrainedLearner:
    """A learner in eval mode, with how its items are read and what it was trained by.

    Args:
        learner: ready to adapt.
        domain: of its items.
        items: how they are read, as a checkpoint keeps it; see `regard.domains.data.describe_items`.
        spec: the learner as a component, from which it can be built again; empty where it was in hand.
        name: for tables of results.
        recipe: that trained it; None where unknown.
        path: of the file it came from; None where it was in hand.
        confidence: what `regard calibrate` set; by default every query is answered.
    """

    learner: Learner
    domain: Domain
    items: dict[str, Any]
    spec: dict[str, Any]
    name: str
    recipe: Recipe | None = None
    path: Path | None = None
    confidence: Confidence = field(default_factory=Confidence)

    @classmethod
    def load(cls, source: Learner | str | Path, settings: Sequence[str] = ()) -> Self:
        """A learner of one's own, in eval mode.

        Args:
            source: the name of a model that ships, a checkpoint file, the folder of a run (its best checkpoint), or a
                `Learner` in hand, of which a copy is made.
            settings: `key=value` changes to the recipe, such as data.folder=elsewhere; of the learner only what says
                how it adapts later, learner.test_steps and fine_tune.

        Raises:
            ConfigError: nothing there, or settings that it cannot have.
            CheckpointError: not a checkpoint, or one of another version.

        Examples:
            >>> trained = TrainedLearner.load("characters")
            >>> trained.domain, type(trained.learner).__name__
            (<domain images>, 'CrossTransformer')
        """
        if isinstance(source, Learner):
            return cls._in_hand(source)
        if not isinstance(source, str | Path):
            raise ConfigError(
                f"learner is a {type(source).__name__}: expected a trained regard Learner, the path of a checkpoint, "
                f"or the name of a model that ships ({', '.join(shipped_models())})."
            )
        return cls._from_file(checkpoint_file(source), tuple(settings))

    @classmethod
    def shared(cls, source: Learner | str | Path, *, regression: bool | None = None, body: str | None = None) -> Self:
        """As `load`, read only once as long as the file stays the same: for those who never change it.

        Args:
            source: as in `load`.
            regression: what it is for; a name may stand for a pair of models, one of them for regression. By default
                nothing is asked of it.
            body: another pretrained body in place of the learner's own, see `on_body`.

        Raises:
            ConfigError: as `load`, and a learner for other targets.
        """
        if isinstance(source, str | Path):
            pair = f"{source}-regression"
            file = checkpoint_file(pair if regression and pair in shipped_models() else source)
            trained = cls._shared_file(file, file.stat().st_mtime_ns if file.exists() else 0, body)
        else:
            trained = cls.load(source) if body is None else cls.load(source).on_body(body)
        name = type(trained.learner).__name__
        if regression is None:
            return trained
        learner = trained.learner
        if not (learner.regresses if regression else learner.classifies):
            purpose = "translates" if learner.translates else "classifies" if regression else "is for regression"
            wanted = "for regression" if regression else "that classifies"
            raise ConfigError(f"{name} {purpose}: expected a learner {wanted}.")
        return trained

    @classmethod
    def _in_hand(cls, learner: Learner) -> Self:
        domain = find_domain(learner.domain)
        # A copy: whoever trains the original on, or predicts with it in another thread, changes nothing here.
        return cls(deepcopy(learner).eval(), domain, {"domain": domain.name}, {}, type(learner).__name__)

    @classmethod
    def _from_file(cls, file: Path, settings: tuple[str, ...] = ()) -> Self:
        for setting in settings:
            if setting.startswith("learner") and not setting.startswith(_CHANGEABLE):
                raise ConfigError(f"--set {setting}: a trained learner cannot be changed; train another one.")
        checkpoint = load_checkpoint(file)
        content = checkpoint.spec
        try:
            recipe = Recipe.of(content["recipe"], settings) if "recipe" in content else None
            options = {} if recipe is None else recipe.learner.options()
            changes = {k: v for k, v in options.items() if f"learner.{k}=" == _CHANGEABLE}
            spec, items = {**content["learner"], **changes}, dict(content["items"])
            domain, confidence = find_domain(items["domain"]), Confidence.kept_in(content)
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{file} holds no learner ({error!r}): expected a checkpoint of `regard train`."
            ) from error
        learner = checkpoint.build(lambda _: build_learner(spec))
        if recipe is not None and recipe.fine_tune.n_steps:
            learner = FineTuned(learner, **recipe.fine_tune.model_dump())
        name = str(spec.get("name", type(learner).__name__))
        return cls(learner, domain, items, spec, name, recipe, file, confidence)

    @classmethod
    @lru_cache(maxsize=8)
    def _shared_file(cls, file: Path, changed: int, body: str | None) -> Self:
        return cls._from_file(file) if body is None else cls._from_file(file).on_body(body)

    def on_body(self, body: str) -> Self:
        """The same kind of learner on another pretrained body, none of whose layers are trained.

        Args:
            body: short name, path, or name on the hub; see `regard.nn.pretrained.bodies`.

        Raises:
            ConfigError: a learner without a pretrained body, or BodyError: a body that is not there or not of its kind.
        """
        encoder = self.spec.get("encoder")
        if not isinstance(encoder, dict) or "body" not in encoder:
            raise ConfigError(
                f"encoder is {body!r}, and {self.name} of {self.domain.items} has no pretrained body to replace: leave "
                "encoder out, or choose a model that has one, such as 'sentences'."
            )
        kept = {k: v for k, v in encoder.items() if k not in ("body", "digest", "n_trained_layers", "lora_rank")}
        # An encoder of one network alone names the one that takes any body.
        general = getattr(encoder_class(str(encoder.get("name"))), "general", None)
        replaced = {**kept, "body": body} if general is None else {"name": general, "body": body}
        spec = {**self.spec, "encoder": replaced}
        reader = self.items.get("reader", {})
        reader = {**reader, "body": body, "digest": None} if "body" in reader else reader
        learner = build_learner(spec).eval()
        return replace(
            self, learner=learner, spec=spec, items={**self.items, "reader": reader}, confidence=Confidence(), path=None
        )

    def require_recipe(self) -> Recipe:
        """The recipe that trained it.

        Raises:
            ConfigError: there is none.
        """
        if self.recipe is None:
            raise ConfigError(f"{self.name} has no recipe: expected a checkpoint of `regard train`.")
        return self.recipe

    def data(self) -> Data:
        """The data of its recipe."""
        return load_data(self.require_recipe().data)

    def reader(self) -> Reader:
        """How a user's things become its items."""
        return self.domain.reader(self.items.get("reader", {}))

    @property
    def n_views(self) -> int:
        """Views of a task, by default."""
        return int(self.items.get("n_views", 1))

    @cached_property
    def in_double(self) -> Learner:
        """The learner in double precision; made once."""
        return deepcopy(self.learner).double()

    def named(self, name: str) -> Self:
        """The same under another name."""
        return replace(self, name=name)


def load(source: Learner | str | Path, settings: Sequence[str] = ()) -> TrainedLearner:
    """A trained learner, see `TrainedLearner.load`."""
    return TrainedLearner.load(source, settings)
