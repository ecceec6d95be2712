"""A recipe is one YAML file: data, episodes, learner, training and evaluation. `--set key=value` changes any of it.

Every default is written once: for training in `TrainConfig`, for learners, encoders and data in their signatures, and
for what makes a recipe itself in its file.

Nothing here imports PyTorch: `regard train RECIPE --show` and a wrong key answer at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from regard.domains.base import Domain
from regard.domains.options import EpisodeOptions, Strict
from regard.domains.registry import all_domains, domain_of_data
from regard.errors import ConfigError, did_you_mean
from regard.limits import YAML_BYTES, YAML_DEPTH
from regard.recipes.yaml import read_yaml
from regard.training.config import TrainConfig

_LISTED = 5

E = TypeVar("E", bound=EpisodeOptions)


class Component(BaseModel):
    """Something with a name and options, which are checked against the signature of what the name stands for."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})

    def spec(self) -> dict[str, Any]:
        """As JSON, the way a checkpoint keeps it."""
        return self.model_dump(mode="json")


class FineTuneOptions(Strict):
    """Leave-one-out gradient steps on the support before a trained learner answers; see `FineTuned`."""

    n_steps: int = Field(default=0, ge=0, description="steps per task; 0 answers in context")
    learning_rate: float = Field(default=3e-4, gt=0, description="of Adam")
    rows_per_group: int = Field(default=1, ge=1, description="support rows that are left out together")
    threshold: float | None = Field(
        default=None, description="tasks whose leave-one-out loss is at most this take no step"
    )


class Recipe(Strict):
    """Everything that one run depends on. The domain of the data says which options its episodes have."""

    data: Component
    learner: Component
    init_from: str | None = Field(
        None,
        description="start with the weights of this trained learner: a file, a run, or a model that ships",
    )
    episodes: EpisodeOptions
    validation: EpisodeOptions
    evaluation: tuple[EpisodeOptions, ...] = Field(
        min_length=1, description="episodes on which the trained learner is evaluated"
    )
    evaluation_episodes: int = Field(1000, ge=2)
    fine_tune: FineTuneOptions = Field(
        FineTuneOptions(), description="gradient steps on each support of a learner that answers in context"
    )
    train: TrainConfig

    @classmethod
    def read(cls, name_or_path: str, settings: Sequence[str] = ()) -> Self:
        """A recipe by the name of one that ships, or from a YAML file, with `key=value` settings on top.

        Raises:
            ConfigError: no such recipe, not YAML, or a key or value that does not fit.
        """
        return cls.of(_read_yaml(name_or_path), settings)

    @classmethod
    def of(cls, content: Mapping[str, Any], settings: Sequence[str] = ()) -> Self:
        """From a mapping, as `read`.

        Raises:
            ConfigError: a key or value that does not fit.
        """
        try:
            merged = json.loads(json.dumps(dict(content)))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the recipe holds more than plain values ({error}): expected those of YAML.") from None
        for setting in settings:
            _set(merged, setting)
        data = merged.get("data")
        name = data.get("name") if isinstance(data, dict) else None
        if not isinstance(name, str):
            raise ConfigError(f"data is {repr(data)[:100]}: expected the name of a data set and its options.")
        model = _recipe_of(domain_of_data(name))
        try:
            return model.model_validate(merged)  # type: ignore[return-value]
        except ValidationError as error:
            raise ConfigError(_explain_all(model, error)) from error

    @property
    def domain(self) -> Domain:
        """Of its data."""
        return domain_of_data(self.data.name)

    def to_yaml(self) -> str:
        """The whole recipe, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its content: the class may be one that was made for its domain."""
        return Recipe.of, (self.model_dump(mode="json"),)


@cache
def _recipe_of(domain: Domain) -> type[Recipe]:
    """The recipe whose episodes have the options of this domain."""
    evaluation, training = domain.evaluation_options, domain.training_options
    fields: dict[str, Any] = {
        "episodes": (training, ...),
        "validation": (evaluation, ...),
        "evaluation": (tuple[evaluation, ...], Recipe.model_fields["evaluation"]),
    }
    return create_model("Recipe", __base__=Recipe, __module__=__name__, **fields)


def changed(episodes: E, **changes: Any) -> E:
    """Episodes with other options, checked.

    Raises:
        ConfigError: an option or a value that these episodes do not have.
    """
    try:
        return type(episodes).model_validate({**episodes.model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(_explain_all(type(episodes), error)) from error


def recipe_names() -> tuple[str, ...]:
    """The recipes that ship, of all domains."""
    return tuple(sorted(_shipped()))


def _shipped() -> dict[str, Any]:
    return {name: file for domain in all_domains() for name, file in domain.recipes().items()}


def _read_yaml(name_or_path: str) -> dict[str, Any]:
    shipped = _shipped()
    path = Path(name_or_path)
    if name_or_path in shipped:
        text = shipped[name_or_path].read_bytes()
    else:
        try:
            if not path.is_file():  # a pipe would be waited for
                raise FileNotFoundError
            with path.open("rb") as file:
                text = file.read(YAML_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = f"could be read ({error.strerror})" if isinstance(error, PermissionError) else "of that name"
            raise ConfigError(
                f"no recipe is called {name_or_path[:200]!r}, and no file {reason}: "
                f"{did_you_mean(name_or_path[:200], shipped)}"
            ) from None
    content = read_yaml(text, name_or_path)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{name_or_path} holds a {type(content).__name__}: expected a mapping, as in a shipped recipe."
        )
    return content


def _set(content: dict[str, Any], setting: str) -> None:
    """Apply one `a.b.c=value` in place; the value is read as YAML."""
    shown = f"--set {setting[:100]!r}"
    key, equals, value = setting.partition("=")
    steps = key.split(".")
    if not equals or not all(steps):
        raise ConfigError(f"{shown}: expected key=value, such as train.steps=1000.")
    if len(steps) > YAML_DEPTH:
        raise ConfigError(f"{shown}: expected at most {YAML_DEPTH} keys with dots.")
    parsed = read_yaml(value, shown)
    inside: Any = content
    for i, step in enumerate(steps):
        is_last, name = i == len(steps) - 1, ".".join(steps[:i])
        if isinstance(inside, list):
            if not (step.isascii() and step.isdigit() and int(step[:9]) < len(inside)):
                raise ConfigError(
                    f"{shown}: {name} is a list of {len(inside)}; expected a number from {name}.0 to "
                    f"{name}.{len(inside) - 1}."
                )
            if is_last:
                inside[int(step)] = parsed
            else:
                inside = inside[int(step)]
        elif not isinstance(inside, dict):
            raise ConfigError(f"{shown}: {name} is {inside!r:.40}, which has no keys.")
        elif is_last:
            inside[step] = parsed
        else:
            inside = inside.setdefault(step, {})


def _explain_all(model: type[BaseModel], error: ValidationError) -> str:
    """One line per key: of a union, what the first choice expected."""
    lines: dict[str, str] = {}
    for mistake in error.errors():
        steps = [step for step in mistake["loc"] if isinstance(step, int) or (step.isidentifier() and step != "int")]
        location = ".".join(map(str, steps))
        lines.setdefault(location, _explain(model, mistake, location))
    return "\n".join(list(lines.values())[:_LISTED])


def _explain(model: type[BaseModel], mistake: Any, location: str) -> str:
    """One line for one mistake, with a suggestion where a key is unknown."""
    if mistake["type"] != "extra_forbidden":
        return f"{location[:200]}: {mistake['msg']}; got {repr(mistake.get('input'))[:100]}."
    for step in mistake["loc"][:-1]:
        model = _model_of(model, step)
    return f"no key {location[:200]!r}: {did_you_mean(str(mistake['loc'][-1]), model.model_fields)}"


def _model_of(model: type[BaseModel], step: str | int) -> type[BaseModel]:
    # An index into a tuple, whose annotation was unpacked one step before; or one choice of a union.
    if isinstance(step, int) or step not in model.model_fields:
        return model
    annotation: Any = model.model_fields[step].annotation
    inside = [annotation, *getattr(annotation, "__args__", ())]
    return next((a for a in inside if isinstance(a, type) and issubclass(a, BaseModel)), model)
