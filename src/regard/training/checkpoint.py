"""Checkpoints: one sealed safetensors file with a header that a person can read, and nothing in it that can run.

    header    {"sha256", "format", "regard", "spec", "step", "metrics", "training"}, see `sealed.py`
    tensors   "learner/<name>", and in a checkpoint to resume from also "optimizer/<kind>/<name>"

`spec` says how to rebuild the learner. It is opaque here: whoever trains writes it, and gives `Checkpoint.build` the
function that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from regard.errors import CheckpointError
from regard.training.file_format import CHECKPOINT_FORMAT, read_checkpoint_file
from regard.training.sealed import build_within, load_tensors, write_sealed

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """What a file held.

    Args:
        path: of the file.
        header: its JSON.
        all_tensors: by full name, on the CPU.
    """

    path: Path
    header: dict[str, Any]
    all_tensors: dict[str, Tensor] = field(repr=False)

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
        """What a run needs besides tensors to resume; None in a checkpoint that is for use only."""
        return self.header["training"]

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under "prefix/", without that prefix: "learner", or "optimizer"."""
        start = f"{prefix}/"
        return {key.removeprefix(start): t for key, t in self.all_tensors.items() if key.startswith(start)}

    def load_into(self, learner: AnyModule) -> AnyModule:
        """Copy the weights into a learner of the same make, and return it.

        Raises:
            CheckpointError: all missing and unexpected tensors and wrong shapes at once.
        """
        saved, expected = self.tensors("learner"), learner.state_dict()
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
        """Make the learner from the spec, load its weights, and put it in eval mode.

        Raises:
            CheckpointError: the spec cannot be built, describes far more than the file holds, or does not fit it.
        """
        return self.load_into(build_within(self.path, self.tensors("learner"), lambda: build(self.spec))).eval()


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
        training: JSON that a run needs to resume.
        optimizer: tensors that a run needs to resume.

    Raises:
        ConfigError: `spec` or `training` is not JSON.
        StorageError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    header = {
        "format": CHECKPOINT_FORMAT,
        "regard": _version(),
        "spec": spec,
        "step": step,
        "metrics": dict(metrics or {}),
        "training": training,
    }
    tensors = {f"learner/{name}": t for name, t in learner.state_dict().items()}
    tensors |= {f"optimizer/{name}": t for name, t in (optimizer or {}).items()}
    write_sealed(path, header, tensors)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a file written by `save_checkpoint`.

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, truncated, changed, not Regard's, or of another
            version.
    """
    header, content = read_checkpoint_file(path)
    tensors = load_tensors(path, content)
    return Checkpoint(Path(path), header, tensors)


def rewrite_spec(path: Path | str, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Change how a checkpoint says it is rebuilt, and nothing else; for renamed settings.

    Args:
        path: of the checkpoint, which is replaced.
        change: the old spec to the new one.

    Raises:
        CheckpointError: as `load_checkpoint`.
        ConfigError, StorageError: as `save_checkpoint`.
    """
    checkpoint = load_checkpoint(path)
    write_sealed(path, checkpoint.header | {"spec": change(checkpoint.spec)}, checkpoint.all_tensors)


def _version() -> str:
    try:
        return version("regard")
    except PackageNotFoundError:
        return "unknown"
