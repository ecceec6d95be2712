"""Checkpoints: one safetensors file with a header that a person can read, and nothing in it that can run.

    header    {"format", "regard", "spec", "step", "metrics", "training"} as JSON, under the key "regard"
    tensors   "learner/<name>", and in a checkpoint to go on from also "optimizer/<kind>/<name>"

`spec` says how to rebuild the learner. It is opaque here: whoever trains writes it, and gives `Checkpoint.build` the
function that reads it. A pickle is recognised by its first bytes and refused unread, since reading it could run code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from regard.errors import CheckpointError, ConfigError
from regard.files import write_whole

FORMAT = "regard.checkpoint.1"
LAST, BEST = "last.safetensors", "best.safetensors"
"""Of the folder of a run: to go on from, and of the best validation."""

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """What a file held.

    Args:
        path: of the file.
        header: its JSON.
        tensors: by full name, on the CPU.
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)

    @property
    def spec(self) -> dict[str, Any]:
        """How to rebuild the learner."""
        return self.header["spec"]

    @property
    def step(self) -> int:
        """Steps done when it was saved."""
        return self.header["step"]

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured when it was saved."""
        return self.header["metrics"]

    @property
    def training(self) -> dict[str, Any] | None:
        """What a run needs besides tensors to go on; None in a checkpoint that is for use only."""
        return self.header["training"]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under "name/", without that prefix."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}

    def load_into(self, learner: AnyModule) -> AnyModule:
        """Copy the weights into a learner of the same make, and return it.

        Raises:
            CheckpointError: all missing and unexpected tensors and wrong shapes at once.
        """
        saved, expected = self.part("learner"), learner.state_dict()
        mistakes = [f"no tensor {name!r}" for name in expected if name not in saved]
        mistakes += [f"an unexpected tensor {name!r}" for name in saved if name not in expected]
        mistakes += [
            f"{name!r} of shape {tuple(t.shape)} where the learner has {tuple(expected[name].shape)}"
            for name, t in saved.items()
            if name in expected and t.shape != expected[name].shape
        ]
        if mistakes:
            shown = "; ".join(mistakes[:5]) + (f"; and {len(mistakes) - 5} more" if len(mistakes) > 5 else "")
            raise CheckpointError(
                f"{self.path} does not fit this {type(learner).__name__}: it has {shown}. Build the learner with the "
                "settings it was trained with; they are in the checkpoint's spec."
            )
        learner.load_state_dict(saved)
        return learner

    def build(self, build: Callable[[dict[str, Any]], AnyModule]) -> AnyModule:
        """Make the learner from the spec, load its weights, and put it in eval mode."""
        return self.load_into(build(self.spec)).eval()


def save_checkpoint(
    path: Path | str,
    learner: nn.Module,
    *,
    spec: Mapping[str, Any],
    step: int = 0,
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Tensor] | None = None,
) -> None:
    """Write one file, whole or not at all.

    Args:
        path: where to.
        learner: its parameters and buffers are saved.
        spec: JSON that says how to rebuild it.
        step: steps done.
        metrics: what was measured.
        training: JSON that a run needs to go on.
        optimizer: tensors that a run needs to go on.

    Raises:
        ConfigError: `spec` or `training` is not JSON.
        StorageError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    header = {
        "format": FORMAT,
        "regard": _version(),
        "spec": spec,
        "step": step,
        "metrics": dict(metrics or {}),
        "training": training,
    }
    tensors = {f"learner/{name}": t for name, t in learner.state_dict().items()}
    tensors |= {f"optimizer/{name}": t for name, t in (optimizer or {}).items()}
    # A copy of each, in plain order: safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    # One key: the library writes several in random order, and equal runs should write equal bytes.
    write_whole(Path(path), save(plain, metadata={"regard": _as_json(header)}))


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a file written by `save_checkpoint`.

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, truncated, not Regard's, or of another version.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): expected a checkpoint such as best.safetensors in the folder "
            "of a training run."
        ) from error
    _refuse_foreign(path, content)
    header = _header(path, content)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}): take another copy, or train again.") from error
    return Checkpoint(path, header, tensors)


def _refuse_foreign(path: Path, content: bytes) -> None:
    if content[:4] == b"PK\x03\x04" or (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05"):
        raise CheckpointError(
            f"{path} holds a pickle, as torch.save writes: it was not read, since reading a pickle can run any code. "
            "Expected safetensors; have whoever made it save it with regard.training.save_checkpoint."
        )
    if len(content) < 8:
        raise CheckpointError(f"{path} has {len(content)} bytes: expected a checkpoint; it is empty or was cut off.")


def _header(path: Path, content: bytes) -> dict[str, Any]:
    """Read by hand before the library does, to tell a cut file from a foreign one."""
    length = int.from_bytes(content[:8], "little")
    if content[8:9] != b"{":
        raise CheckpointError(f"{path} is not a safetensors file: expected a checkpoint that Regard wrote.")
    if 8 + length > len(content):
        raise CheckpointError(_cut(path, 8 + length, len(content)))
    try:
        index = json.loads(content[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in index.items() if name != "__metadata__"]
        header = json.loads(index.get("__metadata__", {}).get("regard", "{}"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged header ({error}): take another copy, or train again.") from error
    if 8 + length + max(ends, default=0) > len(content):
        raise CheckpointError(_cut(path, 8 + length + max(ends), len(content)))
    return _checked(path, header)


def _checked(path: Path, header: object) -> dict[str, Any]:
    if not isinstance(header, dict) or "format" not in header:
        raise CheckpointError(
            f"{path} is a safetensors file that Regard did not write: expected the format {FORMAT!r} in its header."
        )
    if header["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has the format {header['format']!r}, written by Regard {header.get('regard', '?')}, and this is "
            f"Regard {_version()}, which reads {FORMAT!r}: install that version, or train again."
        )
    missing = {"spec", "step", "metrics", "training"} - header.keys()
    if missing:
        raise CheckpointError(f"{path} has no {', '.join(sorted(missing))} in its header: it is damaged; train again.")
    return header


def _cut(path: Path, expected: int, got: int) -> str:
    return f"{path} is cut off: expected at least {expected} bytes and it has {got}; copy it again, or train again."


def _as_json(header: dict[str, Any]) -> str:
    try:
        return json.dumps(header)
    except TypeError as error:
        raise ConfigError(
            f"the spec of a checkpoint must be JSON ({error}): give plain dicts, lists, strings and numbers."
        ) from error


def _version() -> str:
    try:
        return version("regard")
    except PackageNotFoundError:
        return "unknown"
