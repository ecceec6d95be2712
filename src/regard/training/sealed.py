"""Safetensors files with a JSON header that a person can read, sealed by a digest of the whole file.

    bytes 0..7    length of the index
    index         {"__metadata__": {"regard": HEADER}, "<tensor>": {"dtype", "shape", "data_offsets"}, ...}
    HEADER        {"sha256": DIGEST, "format": ..., ...} as JSON in a JSON string
    the rest      tensors

DIGEST is the SHA-256 of the file with 64 zeros in its place, so any changed bit anywhere is found. It guards against
damage, not against forgery: whoever changes a file on purpose can compute it again. So nothing read here is trusted.
A pickle is recognised by its first bytes and refused unread, since reading it could run code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from regard.errors import BodyError, CheckpointError, ConfigError, MissingExtraError
from regard.files import write_whole
from regard.limits import NETWORK_NUMBERS, NETWORK_SLACK, NETWORK_TENSORS, UNCOUNTED
from regard.training.file_format import MARK, ZEROS, read_sealed_file, shortened

Built = TypeVar("Built")


def write_sealed(path: Path | str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write one sealed file, whole or not at all.

    Args:
        path: of the file.
        header: JSON.
        tensors: by name; tensors that share memory are written once each.

    Raises:
        ConfigError: the header is not JSON.
        StorageError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    try:
        text = json.dumps({"sha256": ZEROS, **{key: value for key, value in header.items() if key != "sha256"}})
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the header of {Path(path).name} must be JSON ({error}): give plain dicts, lists, strings and numbers."
        ) from error
    # A copy of each, in plain order: safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    # One key: the library writes several in random order, and equal runs should write equal bytes.
    content = save(plain, metadata={"regard": text})
    start = content.index(MARK) + len(MARK)
    digest = sha256(content).hexdigest().encode()
    write_whole(Path(path), b"".join((content[:start], digest, content[start + len(digest) :])))


def read_sealed(path: Path | str, format: str, expected: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file of `write_sealed`: its header, without the digest, and its tensors on the CPU.

    Args:
        path: of the file.
        format: what the header must have as "format".
        expected: what the file should be, for messages, such as "a checkpoint of `regard train`".

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, truncated, changed, not ours, or of another version.
    """
    header, content = read_sealed_file(path, format, expected)
    return header, load_tensors(path, content)


def load_tensors(path: Path | str, content: bytes) -> dict[str, Tensor]:
    """The tensors of a file of safetensors.

    Args:
        path: of the file, for messages.
        content: of the file.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): take another copy, or make it again.") from error


def build_within(path: Path | str, tensors: Mapping[str, Tensor], build: Callable[[], Built]) -> Built:
    """What `build` makes from a header, unless that is far larger than the tensors beside it, or no network at all.

    A header of 100 bytes can ask for a network of terabytes: what is allocated is counted against what the file holds.

    Args:
        path: of the file, for messages.
        tensors: what it holds.
        build: makes the network.

    Raises:
        CheckpointError: `build` allocates too much, or fails.
        MissingExtraError, BodyError: as `build`.
    """
    numbers = NETWORK_SLACK * sum(t.numel() for t in tensors.values()) + NETWORK_NUMBERS
    try:
        with BoundedAllocation(numbers, 64 * len(tensors) + NETWORK_TENSORS):
            return build()
    except (CheckpointError, MissingExtraError, BodyError):
        raise
    except AllocationError as error:
        raise CheckpointError(
            f"{path} describes a network much larger than the weights it holds ({error}): it was edited or is damaged."
        ) from error
    except Exception as error:
        # Whatever a header says reaches constructors unchecked, and those raise whatever they like.
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({type(error).__name__}: {shortened(str(error))}): it is "
            "of another version, or was edited."
        ) from error


class AllocationError(Exception):
    """A network asks for more than `BoundedAllocation` allows."""


class BoundedAllocation(TorchFunctionMode):
    """Counts the numbers that functions such as `torch.empty` are asked for, before they allocate them.

    Args:
        numbers, tensors: how many may be made.

    Raises:
        AllocationError: more were asked for.
    """

    _MAKERS = frozenset(
        getattr(torch, name)
        for name in ("empty", "zeros", "ones", "full", "rand", "randn", "arange", "eye", "linspace")
    ) | {torch.empty_strided, torch.randint, torch.randperm, torch.tril_indices, torch.triu_indices}

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self.numbers, self.tensors = numbers, tensors

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._MAKERS and kwargs.get("out") is None and not UNCOUNTED.get():
            without = {key: value for key, value in kwargs.items() if key not in ("device", "generator", "pin_memory")}
            self._count(func(*args, **without, device="meta").numel())
        elif func is torch.Tensor.clone and not UNCOUNTED.get():  # layers that are copied, as nn.TransformerEncoder's
            self._count(args[0].numel())
        return func(*args, **kwargs)

    def _count(self, numbers: int) -> None:
        self.numbers -= numbers
        self.tensors -= 1
        if self.numbers < 0 or self.tensors < 0:
            raise AllocationError("too many numbers" if self.numbers < 0 else "too many tensors")
