"""The format of sealed files and of checkpoints, read without PyTorch; `sealed.py` writes them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError
from regard.limits import HEADER_BYTES

ZEROS = "0" * 64
MARK = b'{\\"sha256\\": \\"'
"""How a header begins inside the index: JSON in JSON."""

CHECKPOINT_FORMAT = "regard.checkpoint.2"
LAST, BEST = "last.safetensors", "best.safetensors"
"""Of the folder of a run: to resume from, and of the best validation."""

_FIELDS: dict[str, tuple[type, ...]] = {
    "spec": (dict,),
    "step": (int,),
    "metrics": (dict,),
    "training": (dict, type(None)),
}


def read_checkpoint_file(path: Path | str) -> tuple[dict[str, Any], bytes]:
    """The header of a checkpoint, checked, and the content of the file, for a reader of safetensors.

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, truncated, changed, not Regard's, or of another
            version.
    """
    expected = "a checkpoint such as best.safetensors in the folder of a training run"
    header, content = read_sealed_file(path, CHECKPOINT_FORMAT, expected)
    missing = [key for key in _FIELDS if key not in header]
    wrong = [key for key, kinds in _FIELDS.items() if key in header and not isinstance(header[key], kinds)]
    if missing or wrong:
        said = [f"no {', '.join(missing)}"] * bool(missing) + [f"a {', '.join(wrong)} of another type"] * bool(wrong)
        raise CheckpointError(f"{path} has {' and '.join(said)} in its header: expected {expected}; train again.")
    return header, content


def read_sealed_file(path: Path | str, format: str, expected: str) -> tuple[dict[str, Any], bytes]:
    """The header of a sealed file, without the digest, and the content of the file.

    Args:
        path: of the file.
        format: what the header must have as "format".
        expected: what the file should be, for messages, such as "a checkpoint of `regard train`".

    Raises:
        CheckpointError: no such file, a pickle, not safetensors, truncated, changed, not ours, or of another version.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CheckpointError(f"{path} is a device or a pipe, not a file: expected {expected}.")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} cannot be read ({reason}): expected {expected}.") from error
    return _header(path, content, format, expected), content


def _header(path: Path, content: bytes, format: str, expected: str) -> dict[str, Any]:
    """Read by hand before the library does, to tell apart what is truncated, foreign, of another version, changed."""
    if content[:4] == b"PK\x03\x04" or (
        content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    ):
        raise CheckpointError(
            f"{path} holds a pickle, as torch.save writes: it was not read, since reading a pickle can run any code. "
            "Expected safetensors; have whoever made it save it with regard.training.save_checkpoint."
        )
    if len(content) < 8:
        raise CheckpointError(f"{path} has {len(content)} bytes: expected {expected}; it is empty or was cut off.")
    length = int.from_bytes(content[:8], "little")
    if content[8:9] != b"{":
        raise CheckpointError(f"{path} is not a safetensors file: expected {expected}.")
    cut = f"{path} is cut off: expected at least %d bytes and it has {len(content)}; copy it again, or make it again."
    if 8 + length > len(content):
        raise CheckpointError(cut % (8 + length))
    if length > HEADER_BYTES:
        raise CheckpointError(f"{path} has a header of {length} bytes: expected at most {HEADER_BYTES}.")
    damaged = f"{path} has a damaged header (%s): take another copy, or make it again."
    try:
        index = json.loads(content[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in index.items() if name != "__metadata__"]
        end = 8 + length + max(ends, default=0)
        header = json.loads(index.get("__metadata__", {}).get("regard", "{}"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(damaged % error) from error
    if end > len(content):
        raise CheckpointError(cut % end)
    if not isinstance(header, dict) or "format" not in header:
        raise CheckpointError(
            f"{path} is a safetensors file that Regard did not write: expected the format {format!r} in its header."
        )
    if header["format"] != format:
        raise CheckpointError(
            f"{path} has the format {shortened(header['format'])}, written by Regard "
            f"{shortened(header.get('regard', '?'))}: expected {format!r}, {expected}; install that version, or make "
            "it again."
        )
    digest = header.pop("sha256", None)
    start = content.find(MARK, 8, 8 + length) + len(MARK)
    if start < len(MARK) or not isinstance(digest, str):
        raise CheckpointError(damaged % "it has no sha256 of its content")
    view, found = memoryview(content), sha256(content[:start])
    found.update(ZEROS.encode())
    found.update(view[start + len(ZEROS) :])
    if found.hexdigest() != digest:
        raise CheckpointError(
            f"{path} is damaged: its content has not the SHA-256 that was written with it. Take another copy, or make "
            "it again."
        )
    return header


def shortened(value: object) -> str:
    """At most 60 characters of a value, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
