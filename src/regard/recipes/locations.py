"""Where trained learners are: a file, the folder of a run, or the name of a model that ships. Needs no PyTorch."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from regard.errors import ConfigError, did_you_mean
from regard.training.file_format import BEST, LAST


@cache
def shipped_models() -> tuple[str, ...]:
    """Names of the trained learners in the package."""
    folder = files("regard") / "models"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted(name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")))


def checkpoint_file(name_or_path: str | Path) -> Path:
    """The file that is meant: a shipped model's, or itself, or of a folder what quickstart chose, the best, the last.

    A folder of your own that is called like a model that ships has to be named by its whole path.

    Raises:
        ConfigError: neither a model that ships nor anything on this disk.
    """
    shipped = shipped_models()
    if str(name_or_path) in shipped:
        return _shipped_file(str(name_or_path))
    path = Path(name_or_path)
    if path.is_dir():
        names = ("checkpoint.safetensors", BEST, LAST)
        return next((path / name for name in names if (path / name).exists()), path / names[1])
    if not path.exists():
        raise ConfigError(
            f"{str(name_or_path)!r} was named, expected a trained learner: no file, and no model that ships; "
            f"{did_you_mean(str(name_or_path), shipped)}"
        )
    return path


@cache
def _shipped_file(name: str) -> Path:
    return Path(str(files("regard") / "models" / f"{name}.safetensors"))
