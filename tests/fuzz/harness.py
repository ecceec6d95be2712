"""What every door of the library must do with hostile input: answer, or raise an error of ours, soon, in little memory.

A target is one function and stands in a file targets_NAME.py of this folder:

    @target(seeds=lambda folder: [valid_bytes(folder)], suffix=".npz")
    def packed(path: Path) -> None:
        packed_images(path)

Its seeds are valid inputs, from which damaged ones are made. `mutate` may add changes that know the format: without
them everything behind a checksum would stay unseen.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from regard.errors import RegardError

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
SECONDS, BYTES = 10, 2**30

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """A door.

    Args:
        name: of the function.
        attempt: opens the door with a file.
        seeds: valid contents, made in a folder of their own.
        suffix: of the file.
        mutate: changes that know the format; used for half of the inputs.
    """

    name: str
    attempt: Callable[[Path], Any]
    seeds: Callable[[Path], list[bytes]]
    suffix: str
    mutate: Mutate | None


TARGETS: dict[str, Target] = {}


def target(
    *, seeds: Callable[[Path], list[bytes]], suffix: str = "", mutate: Mutate | None = None
) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Register a function as a target."""

    def register(attempt: Callable[[Path], Any]) -> Callable[[Path], Any]:
        TARGETS[attempt.__name__] = Target(attempt.__name__, attempt, seeds, suffix, mutate)
        return attempt

    return register


def find_targets() -> dict[str, Target]:
    """All of them, by name."""
    sys.path.insert(0, str(FOLDER))
    for file in sorted(FOLDER.glob("targets_*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return TARGETS


_NUMBERS = [struct.pack(f, v) for f in ("<i", "<q") for v in (-1, 0, 1, 2**31 - 1, -(2**31))]
_NUMBERS += [struct.pack("<q", v) for v in (2**62, -(2**63))] + [
    b"\x00",
    b"\xff",
    b"nan",
    b"1e999",
    b"[[[[",
    b"{",
    b"\n",
]


def damage(content: bytes, rng: random.Random) -> bytes:
    """One to four changes that know nothing of the format."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 8, 64, 1024))
        # Headers are small and matter most.
        at = at % 400 if rng.random() < 0.4 else at
        match rng.randrange(7):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = rng.randbytes(length)
            case 4:
                changed[at:at] = changed[at : at + length]
            case 5:
                number = rng.choice(_NUMBERS)
                changed[at : at + len(number)] = number
            case _:
                changed[at : at + length] = bytes(min(length, max(0, len(changed) - at)))
    return bytes(changed)


def damage_json(value: Any, rng: random.Random) -> Any:
    """The same JSON with one value replaced, removed, renamed or nested: for headers."""
    strange: list[Any] = [
        None,
        True,
        -1,
        0,
        2**31,
        2**62,
        -(2**70),
        1e308,
        float("nan"),
        "",
        "x" * 1000,
        [],
        {},
        [[]],
        {"name": 3},
    ]
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        deep: Any = rng.choice(strange)
        for _ in range(rng.choice((0, 0, 0, 1, 200))):
            deep = [deep]
        return deep
    if isinstance(value, list):
        place = rng.randrange(len(value))
        return [damage_json(v, rng) if i == place else v for i, v in enumerate(value)]
    key = rng.choice(list(value))
    match rng.randrange(5):
        case 0:
            return {k: v for k, v in value.items() if k != key}
        case 1:
            return {(f"{k}x" if k == key else k): v for k, v in value.items()}
        case _:
            return {k: damage_json(v, rng) if k == key else v for k, v in value.items()}


@dataclass(frozen=True)
class Failure:
    """What a target did wrong, and with what."""

    target: str
    what: str
    content: bytes


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def attempt(door: Target, content: bytes, folder: Path) -> Failure | None:
    """One input; None where all is well. Errors of ours are well; warnings too."""
    path = folder / f"input{door.suffix}"
    path.write_bytes(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    previous = signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    what = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            door.attempt(path)
    except RegardError as error:
        if len(str(error)) > 2000:
            what = f"a message of {len(str(error))} characters"
    except BaseException:
        what = traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if what is None and grown > BYTES:
        what = f"{grown / 2**30:.1f} GiB more memory"
    if what is None and time.perf_counter() - began > SECONDS:
        what = f"{time.perf_counter() - began:.1f} s"
    return None if what is None else Failure(door.name, what, content)


def inputs(door: Target, n: int, seed: int, folder: Path) -> Iterator[bytes]:
    """The corpus of what once failed, the seeds, and n damaged ones; the same for the same seed."""
    for file in sorted((CORPUS / door.name).glob("*")):
        yield file.read_bytes()
    folder.mkdir(exist_ok=True)
    seeds = door.seeds(folder)
    yield from seeds
    for i in range(n):
        rng = random.Random(f"{door.name} {seed} {i}")
        mutate = door.mutate if door.mutate is not None and rng.random() < 0.5 else damage
        yield mutate(rng.choice(seeds), rng)
