"""A recipe is one YAML file: data, episodes, learner, training and evaluation. `--set key=value` changes any of it.

Every default is written once: for training in `TrainConfig`, for learners, encoders and data in their signatures, and
for what makes a recipe itself in its file.

Nothing here imports PyTorch: `regard train RECIPE --show` and a wrong key answer at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regard.errors import ConfigError, did_you_mean
from regard.sampling.counts import Count
from regard.training import TrainConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(BaseModel):
    """Something with a name and options, which are checked against the signature of what the name stands for."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})

    def spec(self) -> dict[str, Any]:
        """As JSON, the way a checkpoint keeps it."""
        return self.model_dump(mode="json")


class Episodes(_Strict):
    """What an episode is."""

    n_way: Count = Field(5, description="classes an episode; a pair is a range; 0 where targets are numbers")
    n_shot: Count = Field(1, description="examples a class, or a task where there are no classes; a pair is a range")
    n_query: Count = Field(15, description="queries, counted likewise")
    within_groups: bool = Field(False, description="draw all classes of an episode from one group, such as an alphabet")
    rotations: bool = Field(
        default=False, description="turned images are classes of their own (four times the classes)"
    )

    def title(self) -> str:
        """For people: '20-way 1-shot', or '10-shot' of numbers."""
        way, shot = (f"{v[0]} to {v[1]}" if isinstance(v, tuple) else str(v) for v in (self.n_way, self.n_shot))
        return f"{way}-way {shot}-shot" if self.n_way else f"{shot}-shot"


class TrainEpisodes(Episodes):
    """Episodes to practise on."""

    distortion: bool | dict[str, float] = Field(
        default=False, description="distort every image anew; a mapping changes strengths of `Distortion`"
    )
    labels: Literal["episode", "data"] = Field(
        default="episode",
        description='"data" keeps the number of each class in the training set, for a classifier over all of them',
    )


class Recipe(_Strict):
    """Everything that one run depends on."""

    data: Part
    learner: Part
    start: str | None = Field(
        None,
        description="begin with the weights of this trained learner: a file, a run, or a model that ships",
    )
    episodes: TrainEpisodes
    validation: Episodes
    evaluation: tuple[Episodes, ...] = Field(min_length=1, description="what the finished learner is asked")
    evaluation_episodes: int = Field(1000, ge=2)
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
        merged = yaml.safe_load(yaml.safe_dump(dict(content)))
        for setting in settings:
            _set(merged, setting)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(cls, mistake) for mistake in error.errors())) from error

    def to_yaml(self) -> str:
        """The whole recipe, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def recipe_names() -> tuple[str, ...]:
    """The recipes that ship."""
    return tuple(sorted(path.name.removesuffix(".yaml") for path in _shipped() if path.name.endswith(".yaml")))


def _shipped() -> list[Any]:
    folders = [folder for folder in files("regard.domains").iterdir() if folder.is_dir()]
    return [path for folder in folders for path in folder.iterdir()]


def _read_yaml(name_or_path: str) -> dict[str, Any]:
    shipped = {path.name.removesuffix(".yaml"): path for path in _shipped() if path.name.endswith(".yaml")}
    path = Path(name_or_path)
    if name_or_path in shipped:
        text = shipped[name_or_path].read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        raise ConfigError(f"no recipe is called {name_or_path!r}, and no file: {did_you_mean(name_or_path, shipped)}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name_or_path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{name_or_path} holds a {type(content).__name__}: expected a mapping, as in a shipped recipe."
        )
    return content


def _set(content: dict[str, Any], setting: str) -> None:
    """Apply one `a.b.c=value` in place; the value is read as YAML."""
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set {setting!r}: expected key=value, such as train.steps=1000.")
    *parents, last = key.split(".")
    place: Any = content
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else place[int(parent)]
    if isinstance(place, list):
        place[int(last)] = yaml.safe_load(value)
    else:
        place[last] = yaml.safe_load(value)


def _explain(model: type[BaseModel], mistake: Any) -> str:
    """One line for one mistake, with a suggestion where a key is unknown."""
    location = ".".join(map(str, mistake["loc"]))
    if mistake["type"] != "extra_forbidden":
        return f"{location}: {mistake['msg']}; got {mistake.get('input')!r}."
    for step in mistake["loc"][:-1]:
        model = _model_of(model, step)
    return f"no key {location!r}: {did_you_mean(str(mistake['loc'][-1]), model.model_fields)}"


def _model_of(model: type[BaseModel], step: str | int) -> type[BaseModel]:
    if isinstance(step, int):  # a place in a tuple, whose annotation was unpacked one step before
        return model
    annotation: Any = model.model_fields[step].annotation
    inside = [annotation, *getattr(annotation, "__args__", ())]
    return next((a for a in inside if isinstance(a, type) and issubclass(a, BaseModel)), model)
