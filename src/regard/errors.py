"""A small tree of errors. Each is also a builtin, so `except ValueError` keeps working.

A message says three things: what was expected, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RegardError(Exception):
    """The root of everything that Regard raises on purpose."""


class EpisodeError(RegardError, ValueError):
    """A support set, a query set or an episode that cannot be what it claims."""


class DataError(RegardError, ValueError):
    """A data set, a file or a folder that cannot be turned into episodes."""


class ConfigError(RegardError, ValueError):
    """A setting that does not exist or cannot have that value."""


class BodyError(ConfigError):
    """A pretrained body that is not there, cannot be used, or is not the one that weights were trained on."""


class CheckpointError(RegardError, ValueError):
    """A checkpoint that is truncated, foreign, or of another version."""


class ExportError(RegardError, ValueError):
    """A learner that cannot leave Python as it is; the message says why in one line."""


class StorageError(RegardError, OSError):
    """A file that could not be written or a folder that cannot hold it."""


class DivergenceError(RegardError, ArithmeticError):
    """A loss that stopped being a number.

    Attributes:
        task: which task of the batch, where that is known.
    """

    def __init__(self, message: str, *, task: int | None = None) -> None:
        super().__init__(message)
        self.task = task


class LawError(RegardError, AssertionError):
    """A learner that breaks a law it claims to keep; see `regard.testing`."""


class MissingExtraError(RegardError, ImportError):
    """An optional part that is not installed; the message names the extra."""


class ColumnWarning(UserWarning):
    """Columns of a table that were read otherwise than written: dates, units, words among numbers."""


class SizeWarning(UserWarning):
    """A task far beyond the sizes that the model was trained on, or one that will take long."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """The tail of an error message: a close name if there is one, else the list of all names."""
    known = sorted(options)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known)}."
