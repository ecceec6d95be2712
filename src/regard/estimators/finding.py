"""The learner that a user means: one in hand, the file of one, or the name of one that ships."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError, ConfigError
from regard.evaluation.confidence import Confidence
from regard.learners.base import Learner
from regard.recipes.checkpoints import checkpoint_file, shipped_models
from regard.recipes.components import build_learner
from regard.training import load_checkpoint


@dataclass(frozen=True)
class Found:
    """A learner and what it reads.

    Args:
        learner: in hand.
        items: {"kind": "table"}, or as in `regard.recipes.data.prepare`; empty where nothing is known.
        spec: how to build it again; empty for a learner that was in hand.
        confidence: what `regard calibrate` set; where it never ran, all is answered as it is.
    """

    learner: Learner
    items: dict[str, Any]
    spec: dict[str, Any]
    confidence: Confidence = field(default_factory=Confidence)

    @property
    def reads_tables(self) -> bool:
        """Whether its items are rows of cells, some of which may be missing."""
        return self.items.get("kind") == "table"

    @property
    def reads_drawings(self) -> bool:
        """Whether its items are grey pictures."""
        return self.items.get("kind") == "images" and self.items.get("n_channels") == 1

    @property
    def n_estimators(self) -> int:
        """In how many ways it is asked, where nobody says."""
        return int(self.items.get("views", 1))

    @cached_property
    def in_double(self) -> Learner:
        """The learner in double precision; made once."""
        return deepcopy(self.learner).double()


def find(learner: Any, *, numbers: bool) -> Found:
    """What is meant by `learner`.

    Args:
        learner: a `Learner`, a file or folder of a run, or a name.
        numbers: for regression, where a name may stand for a pair of models.

    Raises:
        ConfigError: none of these, or one for other targets.
        CheckpointError: a file that holds no learner.
    """
    if isinstance(learner, Learner):
        found = Found(learner, {"kind": "table"} if learner.reads_tables else {}, {})
    elif isinstance(learner, str | Path):
        path = _file(learner, numbers)
        found = _from_file(path, path.stat().st_mtime_ns if path.exists() else 0)
    else:
        raise ConfigError(
            f"learner is a {type(learner).__name__}: expected a trained regard Learner, the path of a checkpoint, or "
            f"the name of a model that ships ({', '.join(shipped_models())})."
        )
    name = type(found.learner).__name__
    if numbers and not found.learner.regresses:
        raise ConfigError(f"{name} classifies: expected a learner for regression.")
    if not numbers and not found.learner.classifies:
        raise ConfigError(f"{name} is for regression: expected a learner that classifies.")
    return found


def _file(name_or_path: str | Path, numbers: bool) -> Path:
    pair = f"{name_or_path}-regression"
    return checkpoint_file(pair if numbers and pair in shipped_models() else name_or_path)


@lru_cache(maxsize=8)
def _from_file(path: Path, changed: int) -> Found:
    """Read once as long as the file stays the same; the learner is shared, which nothing changes."""
    checkpoint = load_checkpoint(path)
    try:
        spec = checkpoint.spec
        learner = build_learner(spec["learner"])
        items = dict(spec["items"])
        confidence = Confidence.kept_in(spec)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} holds no learner ({error}): expected a checkpoint of `regard train`.") from error
    checkpoint.load_into(learner)
    return Found(learner.eval(), items, {"learner": spec["learner"], "items": items}, confidence)
