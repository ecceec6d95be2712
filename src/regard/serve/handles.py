"""The examples behind each handle, one file each, written whole before the handle is given out: a restart keeps all."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import DataError
from regard.estimators import FewShotClassifier, FewShotRegressor
from regard.files import make_folder, write_whole
from regard.learners.states import tensors_of
from regard.recipes.trained import TrainedLearner

Estimator = FewShotClassifier | FewShotRegressor

_HANDLE = re.compile("[0-9a-f]{32}")


class TooManyHandles(DataError):
    """As many handles are kept as the service may keep."""


class UnknownHandle(DataError):
    """A handle that was never given out, or was deleted."""


@dataclass(frozen=True)
class NewHandle:
    """A learner that has adapted.

    Args:
        handle: the hash of its content.
        model: the learner.
        text: the content, as it is kept.
    """

    handle: str
    model: Estimator
    text: str


class HandleStore:
    """Adapted learners by handle. Thread-safe.

    Args:
        learner: a name, a path or the folder of a run.
        regression: whether its answers are numbers.
        folder: where the examples are kept.
        max_handles: kept at most, on disk.
        max_adapted_bytes: of what is kept adapted in memory; others adapt again when they are asked, which takes
            milliseconds.
    """

    def __init__(
        self, learner: str | Path, regression: bool, folder: Path, *, max_handles: int, max_adapted_bytes: int = 2**29
    ) -> None:
        self.learner, self.regression = learner, regression
        self.folder = make_folder(folder, "the folder of handles")
        self.max_handles, self.max_adapted_bytes = max_handles, max_adapted_bytes
        trained = TrainedLearner.shared(learner, regression=regression)
        self.domain = trained.domain
        self.transductive = trained.learner.transductive
        self._adapted: OrderedDict[str, tuple[Estimator, int]] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._writing: set[str] = set()  # handles that are on their way to the disk

    def __len__(self) -> int:
        return sum(1 for path in self.folder.glob("*.json") if _HANDLE.fullmatch(path.stem))

    def add(self, content: dict[str, Any]) -> tuple[str, Estimator]:
        """Adapt to examples and keep them, in memory and on disk; errors as `prepare`."""
        prepared = self.prepare(content)
        self.keep(prepared)
        return prepared.handle, prepared.model

    def prepare(self, content: dict[str, Any]) -> NewHandle:
        """Adapt to examples; equal examples have one handle. Nothing is kept yet.

        Args:
            content: "examples", "labels" and, perhaps, "weights", each a list.

        Raises:
            TooManyHandles: there is no room for another.
            RegardError: examples that cannot be what they claim.
        """
        text = json.dumps({"learner": str(self.learner), **content}, sort_keys=True)
        handle = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self._require_room(handle)
        return NewHandle(handle, self._adapt(content), text)

    def keep(self, prepared: NewHandle) -> None:
        """On disk, and then in memory: what waits for the disk, and computes nothing.

        Raises:
            TooManyHandles: there is no room left.
        """
        handle = prepared.handle
        with self._lock:
            self._require_room(handle)
            self._writing.add(handle)
        try:  # several at once: each waits for the disk, and not for the others
            if not self._path(handle).exists():
                write_whole(self._path(handle), prepared.text.encode())
        finally:
            with self._lock:
                self._writing.discard(handle)
        self._keep(handle, prepared.model)

    def _require_room(self, handle: str) -> None:
        kept = {path.stem for path in self.folder.glob("*.json") if _HANDLE.fullmatch(path.stem)} | self._writing
        if handle not in kept and len(kept) >= self.max_handles:
            raise TooManyHandles(
                f"{self.max_handles} handles are kept, as many as this service may: delete some, or start it with a "
                "larger --max-handles."
            )

    def get(self, handle: str) -> Estimator:
        """The adapted learner of a handle.

        Raises:
            UnknownHandle: there is none.
        """
        with self._lock:
            if handle in self._adapted:
                self._adapted.move_to_end(handle)
                return self._adapted[handle][0]
        if not _HANDLE.fullmatch(handle) or not self._path(handle).exists():
            raise UnknownHandle(f"no handle {handle[:40]!r}: adapt first, by POST /adapt; it may have been deleted.")
        model = self._adapt(json.loads(self._path(handle).read_text()))
        self._keep(handle, model)
        return model

    def delete(self, handle: str) -> None:
        """Forget a handle and its examples.

        Raises:
            UnknownHandle: there is none.
        """
        with self._lock:
            self._forget(handle)
        if not _HANDLE.fullmatch(handle) or not self._path(handle).exists():
            raise UnknownHandle(f"no handle {handle[:40]!r}: it may have been deleted before.")
        self._path(handle).unlink(missing_ok=True)

    def _path(self, handle: str) -> Path:
        return self.folder / f"{handle}.json"

    def _adapt(self, content: dict[str, Any]) -> Estimator:
        model = FewShotRegressor(self.learner) if self.regression else FewShotClassifier(self.learner)
        examples = self.domain.from_json(content["examples"])
        return model.fit(examples, content["labels"], content.get("weights"))

    def _keep(self, handle: str, model: Estimator) -> None:
        n_bytes = sum(t.numel() * t.element_size() for t in tensors_of((model.state_, model._given.items)))
        with self._lock:
            self._forget(handle)
            self._adapted[handle] = model, n_bytes
            self._n_bytes += n_bytes
            while self._n_bytes > self.max_adapted_bytes and len(self._adapted) > 1:
                self._forget(next(iter(self._adapted)))

    def _forget(self, handle: str) -> None:
        """From memory; the lock is held."""
        _, n_bytes = self._adapted.pop(handle, (None, 0))
        self._n_bytes -= n_bytes
