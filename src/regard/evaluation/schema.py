"""The one JSON in which results are kept, declared: every key, its type, and what it means.

Every command that measures something writes this, so that one reader serves them all. An unknown key is an error, not
ignored: a misspelt key would otherwise be a number that nobody reads. `docs/results-schema.md` shows an example, and a
test holds its tables to the descriptions here. Reading and writing are in `regard.evaluation.results_json`.

Not here: migration. A file of another format is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from regard.errors import DataError, did_you_mean

FORMAT = "regard.results.1"


def _count(value: Any) -> Any:
    """A number or a pair; JSON has lists for pairs."""
    pair = value if isinstance(value, list | tuple) else [value, value]
    if len(pair) != 2 or not all(type(n) is int for n in pair) or not 1 <= pair[0] <= pair[1]:
        raise PydanticCustomError("expected", "a whole number of at least 1, or [low, high]")
    return tuple(value) if isinstance(value, list) else value


def _ways(value: Any) -> Any:
    try:
        return value if type(value) is int and value == 0 else _count(value)
    except PydanticCustomError as error:
        raise PydanticCustomError("expected", "a whole number, [low, high], or 0 for regression") from error


Count = Annotated[int | tuple[int, int], BeforeValidator(_count)]
Ways = Annotated[int | tuple[int, int], BeforeValidator(_ways)]
Index = Annotated[int, Field(ge=0, lt=2**63)]


class Entry(BaseModel):
    """An object of the document: known keys only, no number for a text or the other way round, all numbers finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class IntervalEntry(Entry):
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise PydanticCustomError("expected", "low <= mean <= high")
        return self


class CalibrationEntry(Entry):
    """The reliability curve."""

    count: list[float]
    confidence: list[float]
    accuracy: list[float]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if len({len(self.count), len(self.confidence), len(self.accuracy)}) > 1:
            raise PydanticCustomError("expected", "count, confidence and accuracy of one length")
        return self


class ConfusionEntry(Entry):
    """Pairs of classes that occurred."""

    class_names: list[str]
    true: list[Index]
    predicted: list[Index]
    count: list[Index]

    @model_validator(mode="after")
    def _of_known_classes(self) -> Self:
        if len({len(self.true), len(self.predicted), len(self.count)}) > 1:
            raise PydanticCustomError("expected", "true, predicted and count of one length")
        if max([*self.true, *self.predicted], default=-1) >= len(self.class_names):
            raise PydanticCustomError("expected", "true and predicted below the number of class_names")
        return self


class ResultEntry(Entry):
    """One learner on one kind of episode."""

    learner: str = Field(description="a name for the learner; unique among results that are compared")
    data: str = Field(description="a name for the data set and the split of it that was evaluated on")
    n_way: Ways = Field(
        description="classes per episode: a number, or `[low, high]` where each episode drew its own; 0 for regression"
    )
    n_shot: Count = Field(
        description="support rows per class, or per task in regression: a number, or `[low, high]` where each class "
        "(each task) drew its own"
    )
    n_query: Count = Field(description="query rows per class, or per task in regression; likewise")
    episodes: int = Field(ge=1, description="how many: numbers 0 .. episodes - 1 of the seed")
    seed: int = Field(description="random seed of the episodes; the same seed gives the same episodes")
    transductive: bool = Field(description="whether the prediction for one query depended on the other queries")
    metrics: dict[str, IntervalEntry] = Field(
        description="name to mean and 95% interval over episodes: `accuracy`, macro `precision`, `recall`, `f1`, "
        "`nll`, `brier`, `ece`; for regression `mse`, `rmse`, `mae`, `nll` (per target), `crps`, `coverage` of the "
        "central 95% interval"
    )
    seconds: float = Field(description="wall time, encoding included")
    digest: str = Field("", description="of the rows and items evaluated on; equal digests mean the same episodes")
    adaptation_seconds: float | None = Field(
        None, description="the median time of `adapt` for one task by itself, encoding of the support included"
    )
    per_episode: dict[str, list[float]] = Field(
        {}, description="metric to one value for each episode: the raw results, which paired differences need"
    )
    calibration: CalibrationEntry | None = Field(
        None, description="`count`, `confidence`, `accuracy` of 15 equal bins of the highest probability"
    )
    confusion: ConfusionEntry | None = Field(
        None, description="`class_names`, and `true`, `predicted`, `count` of each pair of classes that occurred"
    )

    @model_validator(mode="after")
    def _a_value_per_episode(self) -> Self:
        lengths = {name: len(values) for name, values in self.per_episode.items() if len(values) != self.episodes}
        if lengths:
            wrong = " and ".join(f"{n} values for {name!r}" for name, n in lengths.items())
            template = ".per_episode has {wrong}: expected one for each of {episodes} episodes."
            raise PydanticCustomError("at", template, {"wrong": wrong, "episodes": self.episodes})
        return self


class ComparisonEntry(Entry):
    """Two learners on the same episodes, by one metric."""

    a: str = Field(description="the name of one learner")
    b: str = Field(description="the name of the other")
    data: str = Field(description="as in `results`")
    n_way: Ways = Field(description="as in `results`")
    n_shot: Count = Field(description="as in `results`")
    metric: str = Field(description="the name of the metric")
    difference: IntervalEntry = Field(
        description="mean and 95% interval of `a - b`, paired over the same episodes; an interval that covers zero is "
        "a tie"
    )


class Versions(Entry):
    """Of what computed the numbers."""

    regard: str
    python: str
    torch: str
    numpy: str


class Machine(Entry):
    """Where they were computed."""

    cpu: str = Field(description="the model of the CPU")
    cores: int = Field(ge=1, description="cores that the process may use")
    threads: int = Field(ge=1, description="threads of PyTorch")
    memory_gib: float = Field(description="memory of the machine, 0 where the system does not say")
    system: str = Field(description="operating system and architecture")
    accelerator: str | None = Field(None, description="the GPU")


class Document(Entry):
    """The whole file."""

    format: str = Field(description=f'"{FORMAT}"')
    results: list[ResultEntry] = Field(description="one entry for each learner and kind of episode")
    comparisons: list[ComparisonEntry] = Field(description="one entry for each pair of learners and metric")
    versions: Versions = Field(description="of `regard`, `python`, `torch`, `numpy`")
    machine: Machine = Field(description="where the numbers were computed")
    command: str = Field(description="the command line, without the folder of the program")
    settings: dict[str, Any] | None = Field(None, description="an object of any shape, the settings of the run")


def parse(document: Any) -> Document:
    """The document as values.

    Raises:
        DataError: lists every mistake: where it is, what came and what was expected.
    """
    if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
        raise DataError(f"format is {_shown(document['format'])}: this version of regard reads {FORMAT!r}.")
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        lines = [_line(mistake) for mistake in error.errors(include_url=False)]
        raise DataError("not a results document:\n" + "\n".join(lines)) from error


def check_document(document: Any) -> None:
    """As `parse`, for the error alone."""
    parse(document)


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "greater_than_equal": "a whole number of at least {ge}",
    "less_than": "a whole number below {lt}",
    "list_type": "a list",
    "dict_type": "an object",
}


def _line(mistake: ErrorDetails) -> str:
    """One line: where it is, what came, what was expected."""
    kind, steps = mistake["type"], mistake["loc"]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    if kind == "extra_forbidden":
        return f"{where} is unknown: {did_you_mean(str(steps[-1]), _entry_at(steps[:-1]).model_fields)}"
    if kind == "missing":
        return f"{where} is missing: expected it here."
    if kind == "at":
        return where + mistake["msg"]
    if kind == "model_type":
        required = [name for name, field in _entry_at(steps).model_fields.items() if field.is_required()]
        expected = f"an object with {', '.join(required)}"
    else:
        expected = _EXPECTED[kind].format(**mistake.get("ctx", {})) if kind in _EXPECTED else mistake["msg"]
    return f"{where or 'the document'} is {_shown(mistake['input'])}: expected {expected}."


def _entry_at(steps: tuple[int | str, ...]) -> type[Entry]:
    """The type of the object at this location of a document."""
    kind: Any = Document
    for step in steps:
        if isinstance(kind, type) and issubclass(kind, Entry):
            kind = kind.model_fields[str(step)].annotation
            kind = next((option for option in get_args(kind) if type(None) in get_args(kind)), kind)
        else:
            kind = get_args(kind)[-1]  # of a list, or of the values of a dict
    return kind


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number of too many digits"
    return f"{text[:60]}..." if len(text) > 60 else text
